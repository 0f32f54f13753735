import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../index.js';
import { recordInstalled } from '../testing.js';

const quickstart = fileURLToPath(new URL('../../../../stacks/quickstart', import.meta.url));
const mirror = join(quickstart, 'mirror');
const trust = ['--trust', join(quickstart, 'keys', 'quickstart.pub')];
let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'stackwright-cli-'));
});
afterEach(() => {
  rmSync(cwd, { recursive: true, force: true });
  process.exitCode = undefined;
});

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const text = { out: '', err: '' };
  const into = (name: 'out' | 'err') =>
    new Writable({
      write: (chunk, _encoding, done) => {
        text[name] += chunk;
        done();
      },
    });
  process.exitCode = undefined;
  const code = await main(args, { cwd, env, stdout: into('out'), stderr: into('err') });
  return { code, ...text };
}

/** The quickstart's packages as if Spack had installed them in a folder of the working directory. */
async function installTree(name: string) {
  const root = join(cwd, name);
  const pulled = await run(['mirror', 'pull', mirror, '--to', root, ...trust, '--json']);
  await recordInstalled(root, mirror, JSON.parse(pulled.out).packages);
}

describe('stackwright mirror', () => {
  it('list prints the packages, all or those that satisfy a spec', async () => {
    expect((await run(['mirror', 'list', mirror])).out).toMatch(/^chorus@1\.1 +\/mzh2ynz\n/);
    const { out } = await run(['mirror', 'list', mirror, 'hello@2:', '--json']);
    expect(JSON.parse(out).packages).toMatchObject([
      { name: 'hello', version: '2.0', arch: { platform: 'linux' } },
    ]);
  });

  it('reads a mirror that a web server serves', async () => {
    const server = createServer((request, response) => {
      const file = join(mirror, decodeURIComponent(request.url!));
      if (request.headers.authorization !== 'Bearer s3cret-token') response.writeHead(401).end();
      else if (existsSync(file)) response.end(readFileSync(file));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      expect(await run(['mirror', 'list', url])).toMatchObject({
        code: 3,
        err: expect.stringContaining('--token-variable'),
      });
      const token = ['--token-variable', 'SITE_TOKEN'];
      expect(await run(['mirror', 'list', url, ...token])).toMatchObject({
        code: 3,
        err: expect.stringContaining('SITE_TOKEN is not set'),
      });
      const env = { SITE_TOKEN: 's3cret-token' };
      const list = await run(['mirror', 'list', url, ...token], env);
      expect(list.err).not.toContain('s3cret');
      expect(list).toMatchObject({ code: 0, err: expect.stringMatching(/^9 packages in http/m) });
      const to = ['--to', join(cwd, 'tree')];
      const pull = await run(['mirror', 'pull', url, 'libgreet', ...to, ...trust, ...token], env);
      expect(pull).toMatchObject({ code: 0 });
      expect(readdirSync(join(cwd, 'tree')).join()).toContain('linux-');
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it.each([['list'], ['verify', '--unsigned'], ['index'], ['prune']])(
    '%s says that there is no mirror, and makes none',
    async (name, ...more) => {
      expect(await run(['mirror', name, join(cwd, 'typo'), ...more])).toMatchObject({
        code: 3,
        err: expect.stringContaining('/typo is no mirror: it has no v3/layout.json.'),
      });
      expect(existsSync(join(cwd, 'typo'))).toBe(false);
    },
  );

  it('copy says what of the target is no folder', async () => {
    const target = join(cwd, 'mirror');
    mkdirSync(target);
    writeFileSync(join(target, 'blobs'), 'a file where a folder has to be');
    const { code, err } = await run(['mirror', 'copy', mirror, target, ...trust]);
    expect(code).toBe(1);
    expect(err).toContain('9 packages failed');
    expect(await run(['mirror', 'copy', mirror, join(target, 'blobs'), ...trust])).toMatchObject({
      code: 2,
      err: expect.stringContaining('blobs is a file, not a folder.'),
    });
  });

  it('list says when nothing satisfies a spec', async () => {
    expect(await run(['mirror', 'list', mirror, 'hello@7'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('no package that satisfies "hello@7"'),
    });
  });

  it('shows control characters of foreign names and messages instead of sending them', async () => {
    await run(['mirror', 'copy', mirror, 'a', ...trust]);
    const hash = 'a'.repeat(32);
    const evil = '1.0\u001b]0;title\u0007\u001b[2J\u009b31m\u202e';
    const folder = join(cwd, 'a', 'v3/manifests/spec/evil');
    mkdirSync(folder);
    writeFileSync(join(folder, `evil-${evil}-${hash}.spec.manifest.json`), '{"\u001b[31m');
    const calls = [
      ['list', 'a'],
      ['list', 'a', '--long'],
      ['verify', 'a', ...trust],
      ['verify', 'a', '--unsigned', '--json'],
      ['index', 'a'],
      ['index', 'a', '--skip-broken'],
      ['copy', 'a', 'b', '--unsigned'],
      ['pull', 'a', `/${hash}`, '--to', 'tree', '--unsigned'],
      ['prune', 'a'],
    ];
    for (const args of calls) {
      const { out, err } = await run(['mirror', ...args]);
      expect(out + err, args.join(' ')).toContain('\\u001b');
      expect(out + err, args.join(' ')).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
    }
    const { out } = await run(['mirror', 'verify', 'a', '--unsigned', '--json']);
    expect(JSON.parse(out).findings).toContainEqual(
      expect.objectContaining({ what: `evil@${evil}/aaaaaaa`, code: 'manifest' }),
    );
  });

  it('verify wants to know whom to trust', async () => {
    expect(await run(['mirror', 'verify', mirror])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--trust FILE'),
    });
  });

  it('verify tells by its exit code', async () => {
    expect((await run(['mirror', 'verify', mirror, ...trust])).code).toBe(0);
    await run(['mirror', 'copy', mirror, 'copy', '--unsigned']);
    const manifest = 'v3/manifests/spec/hello/hello-2.0-hocoygzxdt3joeunr4qllim24bqkuvhh.spec.manifest.json';
    const file = join(cwd, 'copy', manifest);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"contentLength":\d/, '"contentLength":9'));
    const { code, out } = await run(['mirror', 'verify', 'copy', ...trust, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out).findings).toMatchObject([{ what: 'hello@2.0/hocoygz', code: 'signature-wrong' }]);
  });

  it('sign, then publish what that key has signed', async () => {
    await run(['key', 'create', 'Notary', '-o', 'secret', '--public', 'notary.pub']);
    await run(['mirror', 'copy', mirror, 'stack', 'chorus', '--trust-published']);
    const signed = await run(['mirror', 'sign', 'stack', 'chorus', ...trust], {
      SPACK_SIGNING_KEY: readFileSync(join(cwd, 'secret'), 'utf8'),
    });
    expect(signed.err).toContain('1 package signed');
    const { out } = await run(['mirror', 'publish', 'stack', 'top', '--trust', 'notary.pub', '--json']);
    const outcomes = JSON.parse(out).packages.map((one: { name: string; outcome: string }) => [
      one.name,
      one.outcome,
    ]);
    expect(Object.fromEntries(outcomes)).toMatchObject({ chorus: 'copied', libchorus: 'left-out' });
  });

  it('index views are written, read, carried by copy and sync, and repaired by prune', async () => {
    await run(['mirror', 'copy', mirror, 'a', ...trust]);
    const packages = async (where: string, ...view: string[]) => {
      const { code, out, err } = await run(['mirror', 'list', where, ...view, '--json']);
      expect({ code, err }).toMatchObject({ code: 0 });
      return JSON.parse(out).packages.map((one: { name: string }) => one.name);
    };
    const small = ['--view', 'small'];
    expect(await run(['mirror', 'index', 'a', 'hello', ...small])).toMatchObject({
      code: 0,
      err: expect.stringContaining('3 packages in the index view "small", 3 new'),
    });
    expect(await packages('a', ...small)).toEqual(['gcc-runtime', 'hello', 'libgreet']);
    expect(await packages('a')).toHaveLength(9);
    expect(await run(['mirror', 'index', 'a', 'chorus', ...small])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/view "small" already[\s\S]*--append/),
    });
    await run(['mirror', 'index', 'a', 'chorus', ...small, '--append']);
    const added = await packages('a', ...small);
    expect(added).toEqual(expect.arrayContaining(['chorus', 'hello']));
    await run(['mirror', 'index', 'a', 'hello', ...small, '--force']);
    expect(await packages('a', ...small)).toEqual(['gcc-runtime', 'hello', 'libgreet']);
    expect((await run(['mirror', 'verify', 'a', ...small, ...trust])).err).toContain('3 packages verified');
    await run(['mirror', 'pull', 'a', ...small, ...trust, '--to', 'tree']);
    expect(readdirSync(join(cwd, 'tree'), { recursive: true }).join()).not.toContain('chorus');

    await run(['mirror', 'copy', 'a', 'b', ...trust]);
    expect(await packages('b', ...small)).toHaveLength(3);
    await run(['mirror', 'copy', 'a', 'c', ...small, ...trust]);
    expect(await packages('c')).toEqual(['gcc-runtime', 'hello', 'libgreet']);
    await run(['mirror', 'index', 'b', 'chorus', '--view', 'own']);
    await run(['mirror', 'sync', 'a', 'b', ...trust]);
    expect(await run(['mirror', 'list', 'b', '--view', 'own'])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/no index view "own"[\s\S]*It has: small/),
    });

    writeFileSync(
      join(cwd, 'keep'),
      `${JSON.parse((await run(['mirror', 'list', 'b', 'libgreet', '--json'])).out).packages[0].hash}\n`,
    );
    await run(['mirror', 'prune', 'b', '--keep', 'keep', '--grace', '0s', '--delete']);
    expect(await packages('b', ...small)).toEqual(await packages('b'));
    expect(await run(['mirror', 'verify', 'b', ...trust])).toMatchObject({ code: 0, out: '' });
  });

  it('index adds a stack to a view, and needs the view to be named', async () => {
    await run(['mirror', 'copy', mirror, 'a', ...trust, '--no-index']);
    const view = ['mirror', 'index', 'a', '--stack', quickstart, '--view', 'ci', '--append'];
    expect((await run(view)).err).toMatch(/9 packages in the index view "ci"/);
    expect((await run(view)).code).toBe(0);
    expect(await run(['mirror', 'index', 'a', 'hello'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--view'),
    });
    expect(await run(['mirror', 'index', 'a', '--view', 'v', '--force'])).toMatchObject({ code: 2 });
    expect((await run(['mirror', 'index', 'oci+http://127.0.0.1:1/a/b', '--view', 'v', 'x'])).code).not.toBe(
      0,
    );
  });

  it('sync makes a folder hold exactly what was asked for, and nothing is lost when it cannot', async () => {
    await run(['mirror', 'copy', mirror, 'folder', '--unsigned']);
    const { code, out } = await run(['mirror', 'sync', mirror, 'folder', 'hello', ...trust, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ deleted: 6 });
    const names = async () =>
      JSON.parse((await run(['mirror', 'list', 'folder', '--json'])).out).packages.map(
        (one: { name: string }) => one.name,
      );
    expect(await names()).toEqual(['gcc-runtime', 'hello', 'libgreet']);
    const verified = await run(['mirror', 'verify', 'folder', '--trust-published']);
    expect(verified).toMatchObject({ code: 0, out: '' });
    const blobs = readdirSync(join(cwd, 'folder', 'blobs'), { recursive: true, withFileTypes: true });
    // Two a package, the index, the public key and the index of keys.
    expect(blobs.filter((entry) => entry.isFile())).toHaveLength(9);

    await run(['key', 'create', 'Other', '-o', 'secret', '--public', 'other.pub']);
    const refused = await run(['mirror', 'sync', mirror, 'folder', '--trust', 'other.pub']);
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('not trusted') });
    expect(await names()).toHaveLength(3);
    expect((await run(['mirror', 'verify', 'folder', ...trust])).code).toBe(0);
    await run(['mirror', 'sync', mirror, 'folder', '--no-delete', ...trust]);
    expect(await names()).toHaveLength(9);
  });

  it('copy finishes what an earlier one left: nothing to copy, but the index and the keys are missing', async () => {
    await run(['mirror', 'copy', mirror, 'copy', ...trust, '--no-index']);
    rmSync(join(cwd, 'copy', 'v3/manifests/key'), { recursive: true });
    const { code, err } = await run(['mirror', 'copy', mirror, 'copy', ...trust]);
    expect({ code, err }).toMatchObject({
      code: 0,
      err: expect.stringContaining('0 packages copied, 9 there'),
    });
    expect(await run(['mirror', 'verify', 'copy', '--trust-published'])).toMatchObject({ code: 0, out: '' });
  });

  it('push finishes what an earlier one left: nothing to push, but the index is behind', async () => {
    await installTree('tree');
    const push = ['mirror', 'push', 'own', '--tree', 'tree', '--unsigned'];
    expect((await run([...push, '--no-index'])).err).toContain('9 packages pushed');
    expect(await run(push)).toMatchObject({
      code: 0,
      err: expect.stringContaining('0 packages pushed, 9 there'),
    });
    expect(await run(['mirror', 'verify', 'own', '--unsigned'])).toMatchObject({ code: 0, out: '' });
  });

  it('pull refuses packages whose dependencies are missing, copy and list name what is', async () => {
    await run(['mirror', 'copy', mirror, 'poor', 'hello', '--no-dependencies', '--unsigned']);
    const pull = ['mirror', 'pull', 'poor', 'hello', '--to', 'tree', '--unsigned'];
    expect(await run(pull)).toMatchObject({
      code: 3,
      err: expect.stringMatching(
        /poor lacks gcc-runtime@\S+, libgreet@1\.2\.0\/lxymk2z, which these packages need\.\n.*--no-dep/,
      ),
    });
    expect(existsSync(join(cwd, 'tree'))).toBe(false);
    expect(await run([...pull, '--no-dependencies'])).toMatchObject({ code: 0 });
    expect(await run(['mirror', 'copy', 'poor', 'other', 'hello', '--unsigned'])).toMatchObject({
      code: 0,
      err: expect.stringMatching(/^Warning: .*poor lacks gcc-runtime@\S+, libgreet@1\.2\.0/),
    });
    const list = await run(['mirror', 'list', 'poor', '--stack', quickstart]);
    expect(list).toMatchObject({ code: 0, err: expect.stringMatching(/^Warning: .*lacks chorus@1\.1/) });
  });

  it('prune shows what it would delete and deletes nothing', async () => {
    await run(['mirror', 'copy', mirror, 'copy', '--unsigned']);
    writeFileSync(join(cwd, 'keep'), '/hocoygzxdt3joeunr4qllim24bqkuvhh\n');
    const { out, err } = await run(['mirror', 'prune', 'copy', '--keep', 'keep', '--grace', '0s']);
    expect(out).toContain('chorus@1.1/mzh2ynz');
    expect(out).not.toContain('libgreet');
    expect(err).toContain('To delete: --delete');
    expect((await run(['mirror', 'list', 'copy'])).err).toContain('9 packages');
  });

  it('pull unpacks what was asked for, with what it needs', async () => {
    const { code, out } = await run(['mirror', 'pull', mirror, 'hello', '--to', 'tree', ...trust, '--json']);
    expect(code).toBe(0);
    const names = JSON.parse(out).packages.map((one: { name: string }) => one.name);
    expect(names.sort()).toEqual(['gcc-runtime', 'hello', 'libgreet']);
  });

  it('push without a key says how to give one', async () => {
    expect(await run(['mirror', 'push', 'm', '--tree', '.'])).toMatchObject({
      code: 3,
      err: expect.stringContaining('SPACK_SIGNING_KEY'),
    });
  });
});

describe('stackwright key', () => {
  it('create, export and list know the same key; the secret is for its owner alone', async () => {
    const { code } = await run([
      'key',
      'create',
      'Me',
      '--email',
      'me@example.org',
      '-o',
      'secret',
      '--public',
      'pub',
    ]);
    expect(code).toBe(0);
    const exported = JSON.parse((await run(['key', 'export', 'secret', '--json'])).out);
    const listed = JSON.parse((await run(['key', 'list', 'pub', '--json'])).out);
    expect(listed).toMatchObject([{ fingerprint: exported.fingerprint, userIds: ['Me <me@example.org>'] }]);
    expect(exported.signingKey).toBeUndefined();
    const { statSync } = await import('node:fs');
    expect(statSync(join(cwd, 'secret')).mode & 0o77).toBe(0);
    expect((await run(['key', 'create', 'Me', '-o', 'secret'])).code).toBe(2);
  });
});
