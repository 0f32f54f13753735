import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { cephMissing, nginxMissing, type S3Server, startNginx, startS3 } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  formatPublicKey,
  installedPackage,
  KeySigner,
  openV3Mirror,
  presentPackages,
  readInstallTree,
  Trust,
  v3,
  verifyMirror,
} from '../src/index.js';
import { copyOf, quickstartMirror, removeTemporaryFolders, temporaryFolder } from '../src/testing.js';
import { RealSpack, spackMissing } from './real-spack.js';

const noHttp = nginxMissing();
const noS3 =
  cephMissing() ??
  (() => {
    try {
      execFileSync('python3', ['-c', 'import boto3'], { stdio: 'ignore' });
      return undefined;
    } catch {
      return 'Spack needs boto3: apt-get install python3-boto3';
    }
  })();

describe.skipIf(spackMissing)(
  `real Spack (${spackMissing ?? 'the one on PATH'})`,
  { timeout: 600_000 },
  () => {
    let base: string;
    let mirror: string;
    /** Addresses of the mirror that we pushed, by scheme. */
    const urls: Record<string, string> = {};
    let s3: S3Server | undefined;
    let nginx: Awaited<ReturnType<typeof startNginx>> | undefined;
    let key: Awaited<ReturnType<typeof createKey>>;

    let real: RealSpack;
    const spack = (env: string, ...args: string[]) => real.run(env, ...args);

    beforeAll(async () => {
      base = temporaryFolder();
      mirror = join(base, 'mirror');
      real = new RealSpack(base);
      key = await createKey({ name: 'Stackwright test' });
      writeFileSync(join(base, 'key.pub'), formatPublicKey(key));
      writeFileSync(join(base, 'key.secret'), key.armor());
      const from = await openV3Mirror(quickstartMirror);
      const push = async (url: string, env?: NodeJS.ProcessEnv) => {
        const to = await openV3Mirror(url, { env });
        const refs = [...(await presentPackages(from)).values()];
        const signer = new KeySigner(key);
        await to.copyFrom(from, refs, { signer });
        // Spack reads a clear-signed manifest of an index, too.
        expect(await to.updateIndex({ signer, signNew: true })).toMatchObject({ signed: true });
        await to.close();
      };
      await push(mirror);
      urls['file'] = `file://${mirror}`;
      if (!noHttp) {
        nginx = await startNginx({ root: mirror });
        urls['http'] = nginx.url;
      }
      if (!noS3) {
        s3 = await startS3();
        Object.assign(real.variables, s3.env);
        await s3.createBucket('mirror');
        urls['s3'] = 's3://mirror/of/ours';
        await push(urls['s3'], s3.env);
      }
      await spack(real.environment('keys', urls['file']), 'gpg', 'trust', join(base, 'key.secret'));
    }, 600_000);
    afterAll(async () => {
      await nginx?.stop();
      await s3?.stop();
      removeTemporaryFolders();
    });

    it.each([
      ['file', undefined],
      ['http', noHttp],
      ['s3', noS3],
    ])(
      'lists and installs, signatures verified, from a mirror that we pushed, over %s',
      async (scheme, lacking) => {
        if (lacking) return console.warn(`skipped over ${scheme}: ${lacking}`);
        const env = real.environment(scheme, urls[scheme]!);
        const ours = await openV3Mirror(mirror);
        // What Spack has to put up with: every manifest says more than Spack would write.
        for await (const ref of ours.packages())
          expect((await ours.package(ref)).manifest.statement).toMatchObject({ version: 1 });
        const listed = await spack(env, 'buildcache', 'list', '-aL');
        for await (const { hash } of (await openV3Mirror(mirror)).packages()) expect(listed).toContain(hash);
        await spack(env, 'install', '--cache-only');
        const tree = await readInstallTree(real.treeOf(scheme));
        expect(tree.installed.size).toBeGreaterThanOrEqual(7);
        const hello = [...tree.prefixes.values()].find((prefix) => /\/hello-2\.0-/.test(prefix));
        expect(execFileSync(join(hello!, 'bin', 'hello')).toString()).toContain('hello');
      },
    );

    it('signs manifests that gpg accepts', async () => {
      const home = ['--homedir', join(base, 'gpg'), '--batch', '--verify'];
      for await (const { info } of (await openV3Mirror(mirror)).packages())
        execFileSync('gpg', [...home, join(mirror, info.key)], { stdio: 'ignore' });
    });

    it('does not install what somebody else has signed', async () => {
      const folder = copyOf(mirror);
      const other = new KeySigner(await createKey({ name: 'Somebody else' }));
      const own = await openV3Mirror(folder);
      await own.copyFrom(await openV3Mirror(mirror), [...(await presentPackages(own)).values()], {
        signer: other,
        force: true,
      });
      const env = real.environment('other', `file://${folder}`);
      await expect(spack(env, 'install', '--cache-only')).rejects.toThrow();
    });

    it('takes what we pushed into account when it concretizes', async () => {
      const env = real.environment('reuse', urls['http'] ?? urls['file']!);
      const file = join(env, 'spack.yaml');
      rmSync(join(env, 'spack.lock'));
      // Anew it would be for this machine's own target; for plain x86_64 only because the mirror has it.
      const text = readFileSync(file, 'utf8')
        .replace(/specs:\n(?: {4}- .*\n)+/, 'specs:\n    - hello\n')
        .replace('reuse: false', 'reuse:\n      from:\n        - type: buildcache')
        .replace(/ {4}all:\n {6}require:\n {8}- target=x86_64\n/, '');
      expect(text).not.toContain('target=');
      writeFileSync(file, text);
      await spack(env, 'concretize');
      const lock = JSON.parse(readFileSync(join(env, 'spack.lock'), 'utf8')) as {
        roots: { hash: string }[];
        concrete_specs: Record<string, object>;
      };
      const { hashes } = await (await openV3Mirror(mirror)).index();
      expect(hashes).toContain(lock.roots[0]!.hash);
    });

    it('packs the same tar and spec that we pack', async () => {
      const tree = await readInstallTree(real.treeOf('file'));
      const theirs = join(base, 'theirs');
      await spack(join(base, 'file'), 'buildcache', 'push', '--without-build-dependencies', theirs);
      const spackRoot = (await spack(join(base, 'file'), 'location', '--spack-root')).trim();
      const ours = await openV3Mirror(join(base, 'ours'));
      const sources = [...tree.installed].map((hash) =>
        installedPackage(tree.prefixes.get(hash)!, tree, spackRoot),
      );
      expect((await ours.pushAll(sources)).failed).toEqual([]);
      const other = await openV3Mirror(theirs);
      // Signed by Spack with the same key, through gpg.
      const { packages, findings } = await verifyMirror(
        other.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) }),
      );
      expect(packages).toBeGreaterThanOrEqual(7);
      expect(findings.filter((one) => one.code !== 'missing-index')).toEqual([]);
      const unpacked = (folder: string, checksum: string) =>
        gunzipSync(readFileSync(join(folder, v3.blob(checksum))));
      let compared = 0;
      for await (const ref of other.packages()) {
        const [a, b] = await (await Promise.all([ours.package(ref), other.package(ref)])).map(
          (one) => one.manifest,
        );
        expect(
          unpacked(join(base, 'ours'), a.tarball.digest).equals(unpacked(theirs, b.tarball.digest)),
        ).toBe(true);
        expect(unpacked(join(base, 'ours'), a.spec.digest).equals(unpacked(theirs, b.spec.digest))).toBe(
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
        for await (const { node, refCount, inBuildcache } of (await openV3Mirror(folder)).indexEntries())
          all[node.hash] = `${refCount} ${inBuildcache}`;
        return all;
      };
      await (await openV3Mirror(folder)).updateIndex({ full: true });
      const ours = await entries();
      await spack(join(base, 'file'), 'buildcache', 'update-index', folder);
      expect(await entries()).toEqual(ours);
    });
  },
);
