import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './s3.js';

/** The user "robot" with the password "secret", by bcrypt. */
export const htpasswd = 'robot:$2b$05$/Be4crnuX31DqaFcWdIcxejyYZEMrMIkrtonEuRS1LwMd6YFUb9PC\n';

export interface RegistryServer {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** The file of the authority that signed its certificate, where it has TLS. */
  readonly authority: string | undefined;
  stop(): Promise<void>;
}

/**
 * A real registry on 127.0.0.1 with its storage in a folder of its own.
 * @param options.tls with a certificate of an authority that only this registry has; needs openssl
 */
export async function startRegistry(
  htpasswd?: string,
  { tls = false }: { readonly tls?: boolean } = {},
): Promise<RegistryServer> {
  const folder = mkdtempSync(join(tmpdir(), 'registry-'));
  const port = await freePort();
  const auth = htpasswd ? `auth:\n  htpasswd:\n    realm: test\n    path: ${folder}/htpasswd\n` : '';
  if (htpasswd) writeFileSync(join(folder, 'htpasswd'), htpasswd);
  const authority = tls ? certify(folder) : undefined;
  const certificate = tls
    ? `  tls:\n    certificate: ${folder}/server.pem\n    key: ${folder}/server.key\n`
    : '';
  writeFileSync(
    join(folder, 'config.yml'),
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:${port}\n${certificate}${auth}`,
  );
  const server: ChildProcess = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: 'ignore',
  });
  const host = `127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries += 1) {
    if (await listens(port)) break;
    await sleep(50);
  }
  return {
    host,
    authority,
    stop: async () => {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
    socket.on('connect', () => socket.destroy());
  });
}

/** An authority of a day, and a certificate of it for 127.0.0.1. Returns the authority's file. */
function certify(folder: string): string {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  openssl('req', '-x509', ...key, '-subj', '/CN=Test authority', '-keyout', 'ca.key', '-out', 'ca.pem');
  writeFileSync(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1\n');
  openssl('req', ...key.slice(0, 5), '-subj', '/CN=127.0.0.1', '-keyout', 'server.key', '-out', 'server.csr');
  const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'server.csr', ...by, '-out', 'server.pem');
  return join(folder, 'ca.pem');
}
