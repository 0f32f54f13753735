import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OciCache, openMirror, presentPackages, tagOf, verifyMirror } from './index.js';
import { golden, quickstartMirror, removeTemporaryFolders, temporaryFolder } from './testing.js';

const missing = (() => {
  try {
    execFileSync('which', ['docker-registry'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs docker-registry: apt-get install docker-registry';
  }
})();

describe.skipIf(missing)(`a build cache in a registry (${missing ?? 'docker-registry on 127.0.0.1'})`, () => {
  let registry: ChildProcess;
  let url: string;

  beforeAll(async () => {
    const folder = temporaryFolder();
    const port = await new Promise<number>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const address = server.address();
        server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
      });
    });
    mkdirSync(join(folder, 'data'));
    writeFileSync(
      join(folder, 'config.yml'),
      `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:${port}\n`,
    );
    registry = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
    for (let attempt = 0; attempt < 100; attempt++) {
      if (
        await fetch(`http://127.0.0.1:${port}/v2/`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        break;
      await sleep(50);
    }
    url = `oci+http://127.0.0.1:${port}/spack/cache`;
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => registry?.once('exit', resolve));
    registry?.kill('SIGKILL');
    await ended;
    removeTemporaryFolders();
  });

  it('takes packages of a mirror, indexes them, and gives them back', async () => {
    const mirror = await openMirror(quickstartMirror);
    const refs = [...(await presentPackages(mirror)).values()];
    const cache = OciCache.open(url);
    expect((await cache.copyFrom(mirror, refs)).copied).toHaveLength(9);
    expect((await cache.copyFrom(mirror, refs)).present).toHaveLength(9);
    expect(await cache.updateIndex()).toEqual({ packages: 9, added: 9 });
    expect(await cache.updateIndex()).toEqual({ packages: 9, added: 0 });
    const index = await cache.index();
    expect([...index.hashes].sort()).toEqual(refs.map((ref) => ref.hash).sort());
    const there = await openMirror(join(temporaryFolder(), 'back'));
    expect((await cache.copyTo(there)).copied).toHaveLength(9);
    expect((await verifyMirror(there)).findings.filter((one) => one.severity === 'error')).toEqual([]);
    for (const ref of refs) {
      const [a, b] = await Promise.all([mirror.manifest(ref), there.manifest(ref)]);
      expect(b.tarball).toEqual(a.tarball);
    }
  });

  it('writes the same manifests each time', async () => {
    const mirror = await openMirror(quickstartMirror);
    const refs = [...(await presentPackages(mirror)).values()];
    const cache = OciCache.open(url);
    const digests = async () =>
      Promise.all(refs.map(async (ref) => (await cache.repository.head(tagOf(ref)))?.digest));
    const before = await digests();
    await cache.copyFrom(mirror, refs, { force: true });
    expect(await digests()).toEqual(before);
  });

  it.skipIf(!golden)(
    'has the layers, in the order, and the diff ids that Spack writes (needs ../shared)',
    async () => {
      const { readFileSync, readdirSync } = await import('node:fs');
      const mirror = await openMirror(`${golden}/mirror-v3-signed`);
      const refs = [...(await presentPackages(mirror)).values()];
      const cache = OciCache.open(url.replace('cache', 'golden'));
      await cache.copyFrom(mirror, refs);
      for (const file of readdirSync(`${golden}/oci/cache`).filter((name) =>
        /-.*\.spack\.manifest\.json$/.test(name),
      )) {
        const tag = file.replace('.manifest.json', '');
        const theirs = JSON.parse(readFileSync(`${golden}/oci/cache/${file}`, 'utf8'));
        const config = JSON.parse(readFileSync(`${golden}/oci/cache/${tag}.config.json`, 'utf8'));
        const ours = JSON.parse((await cache.repository.manifest(tag))!.bytes.toString());
        expect(ours.layers).toEqual(theirs.layers);
        expect(ours.annotations).toEqual(theirs.annotations);
        expect((await cache.package(tag))?.diffId).toBe(config.rootfs.diff_ids.at(-1));
      }
    },
  );
});
