import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  copyPackages,
  createKey,
  formatPublicKey,
  installedPackage,
  KeySigner,
  openMirror,
  presentPackages,
  pushPackages,
  readInstallTree,
  updateIndex,
  v3,
} from './index.js';
import { copyOf, quickstart, quickstartMirror, removeTemporaryFolders, temporaryFolder } from './testing.js';

const missing = (() => {
  try {
    execFileSync('which', ['spack', 'gpg'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs spack and gpg on PATH: git clone https://github.com/spack/spack';
  }
})();

describe.skipIf(missing)(`real Spack (${missing ?? 'the one on PATH'})`, { timeout: 600_000 }, () => {
  let base: string;
  let mirror: string;
  let server: Server;
  let root = '';
  let key: Awaited<ReturnType<typeof createKey>>;

  const spack = async (env: string, ...args: string[]) => {
    const { stdout } = await promisify(execFile)('spack', ['-e', env, ...args], {
      env: { ...process.env, SPACK_GNUPGHOME: join(base, 'gpg'), SPACK_DISABLE_LOCAL_CONFIG: '1' },
      maxBuffer: 1 << 26,
    });
    return stdout;
  };
  /** An environment of the quickstart stack with its own install tree and one mirror. */
  const environment = (name: string, url: string) => {
    const folder = join(base, name);
    cpSync(join(quickstart, 'spack_repo'), join(folder, 'spack_repo'), { recursive: true });
    cpSync(join(quickstart, 'spack.lock'), join(folder, 'spack.lock'));
    const text = readFileSync(join(quickstart, 'spack.yaml'), 'utf8')
      .replace('root: /opt/quickstart', `root: ${base}/tree-${name}`)
      .replace('url: ./mirror', `url: ${url}`)
      .replace(/\n {2}ci:[\s\S]*$/, '\n  bootstrap:\n    enable: true\n    sources:: []\n');
    writeFileSync(join(folder, 'spack.yaml'), text);
    return folder;
  };
  const treeOf = (name: string) => {
    let at = join(base, `tree-${name}`);
    while (!readdirSync(at).includes('.spack-db'))
      at = join(at, readdirSync(at).find((one) => one.startsWith('__spack'))!);
    return at;
  };

  beforeAll(async () => {
    base = temporaryFolder();
    mirror = join(base, 'mirror');
    mkdirSync(join(base, 'gpg'), { mode: 0o700 });
    key = await createKey({ name: 'Stackwright test' });
    writeFileSync(join(base, 'key.pub'), formatPublicKey(key));
    const [from, to] = [await openMirror(quickstartMirror), await openMirror(mirror)];
    await copyPackages(from, to, [...(await presentPackages(from)).values()], { signer: new KeySigner(key) });
    await updateIndex(to);
    server = createServer((request, response) => {
      const file = join(mirror, normalize(decodeURIComponent(request.url!)));
      if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return void response.writeHead(404).end();
      response.end(request.method === 'HEAD' ? undefined : readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await spack(environment('keys', `file://${mirror}`), 'gpg', 'trust', join(base, 'key.pub'));
  }, 600_000);
  afterAll(() => {
    server?.close();
    removeTemporaryFolders();
  });

  it.each(['file', 'http'])(
    'lists and installs, signatures verified, from a mirror that we pushed, over %s',
    async (scheme) => {
      const env = environment(scheme, scheme === 'file' ? `file://${mirror}` : root);
      const listed = await spack(env, 'buildcache', 'list', '-aL');
      for await (const { hash } of (await openMirror(mirror)).packages()) expect(listed).toContain(hash);
      await spack(env, 'install', '--cache-only');
      const tree = await readInstallTree(treeOf(scheme));
      expect(tree.installed.size).toBeGreaterThanOrEqual(7);
      const hello = [...tree.prefixes.values()].find((prefix) => /\/hello-2\.0-/.test(prefix));
      expect(execFileSync(join(hello!, 'bin', 'hello')).toString()).toContain('hello');
    },
  );

  it('packs the same tar and spec that we pack', async () => {
    const tree = await readInstallTree(treeOf('file'));
    const theirs = join(base, 'theirs');
    await spack(
      join(base, 'file'),
      'buildcache',
      'push',
      '--unsigned',
      '--without-build-dependencies',
      theirs,
    );
    const spackRoot = (await spack(join(base, 'file'), 'location', '--spack-root')).trim();
    const ours = await openMirror(join(base, 'ours'));
    const sources = [...tree.installed].map((hash) =>
      installedPackage(tree.prefixes.get(hash)!, tree, spackRoot),
    );
    expect((await pushPackages(ours, sources)).failed).toEqual([]);
    const other = await openMirror(theirs);
    const unpacked = (folder: string, checksum: string) =>
      gunzipSync(readFileSync(join(folder, v3.blob(checksum))));
    let compared = 0;
    for await (const ref of other.packages()) {
      const [a, b] = await Promise.all([ours.manifest(ref), other.manifest(ref)]);
      expect(
        unpacked(join(base, 'ours'), a.tarball.checksum).equals(unpacked(theirs, b.tarball.checksum)),
      ).toBe(true);
      expect(unpacked(join(base, 'ours'), a.spec.checksum).equals(unpacked(theirs, b.spec.checksum))).toBe(
        true,
      );
      compared++;
    }
    expect(compared).toBeGreaterThanOrEqual(7);
  });

  it('writes an index of the same set, with the same counts', async () => {
    const folder = copyOf(mirror);
    const entries = async () => {
      const all: Record<string, string> = {};
      for await (const { node, refCount, inBuildcache } of (await openMirror(folder)).indexEntries())
        all[node.hash] = `${refCount} ${inBuildcache}`;
      return all;
    };
    await updateIndex(await openMirror(folder), { full: true });
    const ours = await entries();
    await spack(join(base, 'file'), 'buildcache', 'update-index', folder);
    expect(await entries()).toEqual(ours);
  });
});
