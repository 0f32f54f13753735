import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A server on 127.0.0.1 until the test ends. @returns its address without a slash at the end */
export async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await opened(createServer(listener))}`;
}

/** A TCP server on 127.0.0.1 until the test ends. @returns `127.0.0.1:PORT` */
export async function listen(connection: (socket: Socket) => void): Promise<string> {
  return `127.0.0.1:${await opened(createNetServer(connection))}`;
}

/** A TLS server with a certificate of its own authority. @param authority file of the authority's certificate */
export async function serveTls(listener: RequestListener): Promise<{ url: string; authority: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'stackwright-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
      .concat(['-keyout', key, '-out', cert, '-subj', '/CN=stackwright test'])
      .concat(['-addext', 'subjectAltName=IP:127.0.0.1']),
    { stdio: 'ignore' },
  );
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, listener);
  return { url: `https://127.0.0.1:${await opened(server)}`, authority: cert };
}

async function opened(server: Server | NetServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** Sends bytes without an end, as fast as they are taken. @returns how many were sent so far */
export function endless(response: ServerResponse, chunk = Buffer.alloc(64 * 1024, '{"a":[')): () => number {
  let sent = 0;
  const more = () => {
    while (!response.destroyed) {
      sent += chunk.length;
      if (!response.write(chunk)) return;
    }
  };
  response.on('drain', more);
  more();
  return () => sent;
}

/** Sends one byte after the other, some milliseconds apart. */
export function drip(response: ServerResponse, milliseconds = 5): void {
  const timer = setInterval(() => response.write(' '), milliseconds);
  response.on('close', () => clearInterval(timer));
}
