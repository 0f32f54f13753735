import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
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
} from '../src/index.js';
import { copyOf, quickstartMirror, removeTemporaryFolders, temporaryFolder } from '../src/testing.js';
import { RealSpack, spackMissing } from './real-spack.js';

describe.skipIf(spackMissing)(
  `real Spack (${spackMissing ?? 'the one on PATH'})`,
  { timeout: 600_000 },
  () => {
    let base: string;
    let mirror: string;
    let server: Server;
    let root = '';
    let key: Awaited<ReturnType<typeof createKey>>;

    let real: RealSpack;
    const spack = (env: string, ...args: string[]) => real.run(env, ...args);

    beforeAll(async () => {
      base = temporaryFolder();
      mirror = join(base, 'mirror');
      real = new RealSpack(base);
      key = await createKey({ name: 'Stackwright test' });
      writeFileSync(join(base, 'key.pub'), formatPublicKey(key));
      const [from, to] = [await openMirror(quickstartMirror), await openMirror(mirror)];
      await copyPackages(from, to, [...(await presentPackages(from)).values()], {
        signer: new KeySigner(key),
      });
      await updateIndex(to);
      server = createServer((request, response) => {
        const file = join(mirror, normalize(decodeURIComponent(request.url!)));
        if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return void response.writeHead(404).end();
        response.end(request.method === 'HEAD' ? undefined : readFileSync(file));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await spack(real.environment('keys', `file://${mirror}`), 'gpg', 'trust', join(base, 'key.pub'));
    }, 600_000);
    afterAll(() => {
      server?.close();
      removeTemporaryFolders();
    });

    it.each(['file', 'http'])(
      'lists and installs, signatures verified, from a mirror that we pushed, over %s',
      async (scheme) => {
        const env = real.environment(scheme, scheme === 'file' ? `file://${mirror}` : root);
        const listed = await spack(env, 'buildcache', 'list', '-aL');
        for await (const { hash } of (await openMirror(mirror)).packages()) expect(listed).toContain(hash);
        await spack(env, 'install', '--cache-only');
        const tree = await readInstallTree(real.treeOf(scheme));
        expect(tree.installed.size).toBeGreaterThanOrEqual(7);
        const hello = [...tree.prefixes.values()].find((prefix) => /\/hello-2\.0-/.test(prefix));
        expect(execFileSync(join(hello!, 'bin', 'hello')).toString()).toContain('hello');
      },
    );

    it('packs the same tar and spec that we pack', async () => {
      const tree = await readInstallTree(real.treeOf('file'));
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
  },
);
