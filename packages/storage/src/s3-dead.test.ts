import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freePort } from '@stackwright/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openStore, type StorageEvent } from './index.js';

const keys = { AWS_ACCESS_KEY_ID: 'AKIALOCALTEST', AWS_SECRET_ACCESS_KEY: 'local-test-secret' };

async function open(endpoint: string, events: StorageEvent[] = []) {
  const store = await openStore('s3://bucket', {
    env: { ...keys, S3_ENDPOINT_URL: endpoint },
    retry: { attempts: 7, first: 1, longest: 5 },
    limits: { idle: 200 },
    onEvent: (event) => events.push(event),
  });
  onTestFinished(() => store.close());
  return store;
}

describe('an S3 server that', () => {
  it('is not there is tried three times', async () => {
    const store = await open(`http://127.0.0.1:${await freePort()}`);
    await expect(store.head('x')).rejects.toMatchObject({
      code: 'unavailable',
      kind: 'missing',
      details: { attempts: 3 },
      message: expect.stringMatching(/ECONNREFUSED.*Tried 3 times\.$/),
    });
  });

  it('never answers ends after three attempts', async () => {
    let asked = 0;
    const server = createServer(() => asked++);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const store = await open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await expect(store.head('x')).rejects.toMatchObject({ code: 'unavailable', details: { attempts: 3 } });
    expect(asked).toBe(3);
  });

  it('goes away after it has answered is waited for', async () => {
    const events: StorageEvent[] = [];
    const server = createServer((_, response) => response.setHeader('connection', 'close').end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const store = await open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, events);
    await store.head('x');
    await new Promise((resolve) => server.close(resolve));
    await expect(store.head('x')).rejects.toMatchObject({ details: { attempts: 7 } });
    expect(events).toHaveLength(6);
  });
});
