import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from './testing-s3.js';

/** Why there can be no web server here; undefined when there can. */
export function nginxMissing(): string | undefined {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs nginx: apt-get install nginx-light';
  }
}

/** Serves a folder with nginx on 127.0.0.1. */
export async function startNginx(root: string): Promise<{ url: string; stop: () => Promise<void> }> {
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
    listen 127.0.0.1:${port};
    root ${root};
  }
}
`,
  );
  const child = spawn('nginx', ['-p', base, '-c', join(base, 'nginx.conf'), '-e', join(base, 'error.log')], {
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(base, { recursive: true, force: true });
  };
  try {
    await until(() => fetch(url));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}
