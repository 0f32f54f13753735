import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './s3.js';

/** Why there can be no web server here; undefined when there can. */
export function nginxMissing(): string | undefined {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs nginx: apt-get install nginx-light';
  }
}

/** nginx on 127.0.0.1: serves a folder, or does what these directives of its `server` say, with TLS where they name a certificate. */
export async function startNginx(
  serves: { readonly root: string } | { readonly directives: string },
): Promise<{ url: string; host: string; stop: () => Promise<void> }> {
  const directives = 'root' in serves ? `root ${serves.root};` : serves.directives;
  const ssl = directives.includes('ssl_certificate');
  const base = await mkdtemp(join(tmpdir(), 'stackwright-nginx-'));
  const port = await freePort();
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (one) => `${one}_temp_path ${base}/${one};`,
  );
  await writeFile(
    join(base, 'nginx.conf'),
    `daemon off;
master_process off;
pid ${base}/pid;
error_log ${base}/error.log;
events {}
http {
  access_log off;
  ${paths.join('\n  ')}
  server {
    listen 127.0.0.1:${port}${ssl ? ' ssl' : ''};
    ${directives}
  }
}
`,
  );
  const child = spawn('nginx', ['-p', base, '-c', join(base, 'nginx.conf'), '-e', join(base, 'error.log')], {
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const host = `127.0.0.1:${port}`;
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(base, { recursive: true, force: true });
  };
  try {
    await until(() => reach(port));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `${ssl ? 'https' : 'http'}://${host}`, host, stop };
}

function reach(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve();
    }).once('error', reject);
  });
}
