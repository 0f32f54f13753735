import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './s3.js';

/** Starts Versity's S3 gateway on 127.0.0.1: a server that writes although a condition does not hold. */
export async function startVersitygw(
  buckets: readonly string[],
): Promise<{ endpoint: string; env: NodeJS.ProcessEnv; stop: () => Promise<void> }> {
  const base = await mkdtemp(join(tmpdir(), 'stackwright-versitygw-'));
  for (const bucket of buckets) await mkdir(join(base, bucket));
  const port = await freePort();
  const env = { AWS_ACCESS_KEY_ID: 'AKIALOCALTEST', AWS_SECRET_ACCESS_KEY: 'local-test-secret' };
  const login = ['--access', env.AWS_ACCESS_KEY_ID, '--secret', env.AWS_SECRET_ACCESS_KEY];
  const child = spawn('versitygw', [...login, '--port', `127.0.0.1:${port}`, '--quiet', 'posix', base], {
    stdio: 'ignore',
  });
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
    await rm(base, { recursive: true, force: true });
  };
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await until(() => fetch(endpoint));
  } catch (error) {
    await stop();
    throw error;
  }
  return { endpoint, env: { ...env, S3_ENDPOINT_URL: endpoint }, stop };
}
