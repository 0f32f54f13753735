import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageConfig, type Manifest, mediaTypes, RegistryRepository, readImage } from '@stackwright/oci';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  KeySigner,
  type MirrorReader,
  OciMirror,
  openToRead,
  openV3Mirror,
  presentPackages,
  pullPackage,
  Trust,
  tagOf,
  trustOf,
  verifyMirror,
} from '../src/index.js';
import {
  golden,
  madeHash,
  madePackage,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from '../src/testing.js';

const missing = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';

describe.skipIf(missing !== '')(`a build cache in a registry${missing}`, () => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let count = 0;
  /** An empty one of its own for each test. */
  const fresh = () => OciMirror.open(`oci+http://${registry.host}/spack/cache-${++count}`);
  const all = async (mirror: MirrorReader) => [...(await presentPackages(mirror)).values()];
  const manifestOf = async (mirror: OciMirror, tag: string): Promise<Manifest & { annotations: object }> =>
    JSON.parse((await mirror.repository.manifest(tag))!.bytes.toString());
  const configOf = async (mirror: OciMirror, tag: string): Promise<ImageConfig> =>
    (await readImage(mirror.repository, tag)).config;

  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(async () => {
    await registry?.stop();
    removeTemporaryFolders();
  });

  it('takes packages of a mirror, indexes them, and gives them back', async () => {
    const mirror = await openV3Mirror(quickstartMirror);
    const refs = await all(mirror);
    const cache = fresh();
    const outcomes = async () => [...new Set((await cache.copyFrom(mirror, refs)).outcomes.values())];
    expect(await outcomes()).toEqual(['copied']);
    expect(await outcomes()).toEqual(['present']);
    expect(await cache.updateIndex()).toMatchObject({ packages: 9, added: 9, kept: 0, outcome: 'written' });
    expect(await cache.updateIndex()).toMatchObject({
      packages: 9,
      added: 0,
      kept: 9,
      outcome: 'unchanged',
    });
    const index = await cache.index();
    expect([...index.hashes].sort()).toEqual(refs.map((ref) => ref.hash).sort());
    expect(await verifyMirror(cache)).toEqual({ packages: 9, findings: [] });

    const there = await openV3Mirror(join(temporaryFolder(), 'back'));
    const back = await there.copyFrom(cache, await all(cache));
    expect([...back.outcomes.values()]).toEqual(refs.map(() => 'copied'));
    await there.updateIndex();
    expect((await verifyMirror(there)).findings).toEqual([]);
    for (const ref of refs) {
      const [a, b] = await Promise.all([mirror.package(ref), there.package(ref)]);
      expect(b.manifest.tarball).toEqual(a.manifest.tarball);
    }
  });

  it('gives packages to a mirror that wants them signed, and those that are there unsigned are signed then', async () => {
    const [cache, there] = [fresh(), await openV3Mirror(join(temporaryFolder(), 'signed'))];
    await cache.pushAll([madePackage('one')]);
    const refs = await all(cache);
    await there.copyFrom(cache, refs);
    const key = await createKey({ name: 'Test' });
    const { outcomes } = await there.copyFrom(cache, refs, { signer: new KeySigner(key) });
    expect([...outcomes.values()]).toEqual(['copied']);
    const trusting = there.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    expect((await trusting.package(refs[0]!)).manifest.signed).toBe(true);
  });

  it('has no package that a signature is wanted of', async () => {
    const key = await createKey({ name: 'Test' });
    const cache = fresh().withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    await cache.pushAll([madePackage('one')]);
    await expect(cache.package(madePackage('one'))).rejects.toMatchObject({ code: 'signature-missing' });
  });

  it('copies from registry to registry', async () => {
    const [a, b] = [fresh(), fresh()];
    await a.pushAll([madePackage('one', { needs: ['two'] }), madePackage('two')]);
    const { outcomes } = await b.copyFrom(a, await all(a));
    expect([...outcomes.values()]).toEqual(['copied', 'copied']);
    for (const name of ['one', 'two'])
      expect(await manifestOf(b, tagOf(madePackage(name)))).toEqual(
        await manifestOf(a, tagOf(madePackage(name))),
      );
  });

  it.skipIf(!golden)(
    'takes packages of a mirror of layout v2, signatures verified (needs ../shared)',
    async () => {
      const v2 = await openToRead(`${golden}/mirror-v2/signed`);
      const trust = await trustOf({ published: v2 });
      const cache = fresh();
      const refs = await all(v2);
      const { outcomes, failed } = await cache.copyFrom(v2.withPolicy({ kind: 'trusted', trust }), refs);
      expect([[...outcomes.values()], failed]).toEqual([refs.map(() => 'copied'), []]);
      expect(refs.map((ref) => ref.name)).toContain('libgreet');
      expect(await verifyMirror(cache)).toMatchObject({ packages: 7 });
      expect(await verifyMirror(v2)).toMatchObject({ packages: 7, findings: [] });
      const there = await openV3Mirror(join(temporaryFolder(), 'v3'));
      expect((await there.copyFrom(v2, refs)).failed).toEqual([]);
      const stranger = new Trust([(await createKey({ name: 'Stranger' })).toPublic()]);
      const refused = await fresh().copyFrom(v2.withPolicy({ kind: 'trusted', trust: stranger }), refs);
      expect(refused.failed).toHaveLength(7);
    },
  );

  it('writes the same manifests each time', async () => {
    const mirror = await openV3Mirror(quickstartMirror);
    const refs = await all(mirror);
    const [a, b] = [fresh(), fresh()];
    const digests = async (cache: OciMirror) => {
      await cache.copyFrom(mirror, refs);
      return Promise.all(refs.map(async (ref) => (await cache.repository.head(tagOf(ref)))?.digest));
    };
    expect(await digests(b)).toEqual(await digests(a));
  });

  it('puts the layers of all that a package needs below it, also of what was there before', async () => {
    const cache = fresh();
    await cache.pushAll([madePackage('two')]);
    await cache.pushAll([madePackage('one', { needs: ['two'] })]);
    const [one, two] = [madePackage('one'), madePackage('two')].map(tagOf);
    const { layers } = await manifestOf(cache, one!);
    expect(layers.map((layer) => layer.digest)).toEqual([
      (await manifestOf(cache, two!)).layers[0]!.digest,
      layers[1]!.digest,
    ]);
    const { config, rootfs, history } = await configOf(cache, one!);
    expect([rootfs.diff_ids.length, history?.length]).toEqual([2, 2]);
    const prefix = (name: string) => `/opt/made/${name}-1.0-${madeHash(name)}`;
    expect(config?.Env).toContain(`CMAKE_PREFIX_PATH=${prefix('one')}:${prefix('two')}`);
  });

  it('completes the image of a package whose dependency came later', async () => {
    const cache = fresh();
    const sources = [madePackage('one', { needs: ['two'] }), madePackage('two')];
    const layers = async () => (await manifestOf(cache, tagOf(sources[0]!))).layers.length;
    await cache.pushAll(sources.slice(0, 1));
    expect(await layers()).toBe(1);
    const { pushed } = await cache.pushAll(sources);
    expect(pushed.map(({ name, outcome }) => [name, outcome])).toEqual([
      ['one', 'pushed'],
      ['two', 'pushed'],
    ]);
    expect(await layers()).toBe(2);
  });

  it('goes on after a package that cannot be packed, and names it', async () => {
    const cache = fresh();
    const broken = {
      ...madePackage('two'),
      items: async function* () {
        yield* [];
        throw new Error('the disk is gone');
      },
    };
    const { pushed, failed } = await cache.pushAll([madePackage('one', { needs: ['two'] }), broken]);
    expect(pushed).toMatchObject([{ name: 'one', outcome: 'pushed' }]);
    expect(failed).toMatchObject([{ package: { name: 'two' }, error: { message: 'the disk is gone' } }]);
  });

  describe('on a base image', () => {
    const base = async (name: string) => {
      const repository = new RegistryRepository(registry.host, name);
      const { layer, config } = await import('./base-image.js').then((made) => made.baseImage());
      for (const blob of [layer, config]) await repository.putBlob(blob, () => blob.open());
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: config.descriptor,
        layers: [layer.descriptor],
      };
      await repository.putManifest('1', Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest);
      return { source: repository, image: await readImage(repository, '1') };
    };

    it('keeps what the base says, puts its layers lowest, and tells of every layer', async () => {
      const cache = fresh();
      const image = await base('bases/one');
      await cache.pushAll([madePackage('one', { needs: ['two'] }), madePackage('two')], {
        base: async () => image,
      });
      const { layers } = await manifestOf(cache, tagOf(madePackage('one')));
      expect(layers[0]!.digest).toBe(image.image.manifest.layers[0]!.digest);
      const config = await configOf(cache, tagOf(madePackage('one')));
      expect(config.config).toMatchObject({ Cmd: ['bash'], WorkingDir: '/' });
      expect(config.config?.Env).toEqual(
        expect.arrayContaining([
          'PATH=/usr/bin:/bin',
          'BASEVAR=1',
          expect.stringMatching(/^CMAKE_PREFIX_PATH=/),
        ]),
      );
      expect([layers.length, config.rootfs.diff_ids.length, config.history?.length]).toEqual([3, 3, 3]);
      expect(await verifyMirror(cache, { packages: await all(cache) })).toMatchObject({ findings: [] });
    });

    it('sends nothing when the base cannot be had', async () => {
      const cache = fresh();
      const pushing = cache.pushAll([madePackage('one')], {
        base: async () => {
          throw new Error('no such image');
        },
      });
      await expect(pushing).rejects.toThrow('no such image');
      expect(await all(cache)).toEqual([]);
    });
  });

  it('makes one image of several packages', async () => {
    const cache = fresh();
    const sources = [
      madePackage('one', { needs: ['three'] }),
      madePackage('two', { needs: ['three'] }),
      madePackage('three'),
    ];
    const combined = { tag: 'everything', roots: [madeHash('one'), madeHash('two')] };
    await cache.pushAll(sources, { combined });
    const config = await configOf(cache, 'everything');
    expect(config.rootfs.diff_ids).toHaveLength(3);
    expect(config).not.toHaveProperty('spec');
    expect((await all(cache)).map((ref) => ref.name).sort()).toEqual(['one', 'three', 'two']);
    const partly = fresh().pushAll(sources.slice(0, 1), {
      combined: { ...combined, roots: combined.roots.slice(0, 1) },
    });
    await expect(partly).rejects.toThrow(/everything would lack three@1.0/);
  });

  it('has an index of all packages, however many write it at the same time', async () => {
    const cache = fresh();
    const names = Array.from({ length: 24 }, (_, number) => `made-${number}`);
    await Promise.all(
      names.map(async (name) => {
        await cache.pushAll([madePackage(name)]);
        await cache.updateIndex();
      }),
    );
    expect([...(await cache.index()).hashes].sort()).toEqual(names.map((name) => madeHash(name)).sort());
  });

  it('finds what is wrong with packages', async () => {
    const cache = fresh();
    const sources = [madePackage('one'), madePackage('two')];
    await cache.pushAll(sources);
    const { config, layers } = await manifestOf(cache, tagOf(sources[0]!));
    const other = await manifestOf(cache, tagOf(sources[1]!));
    const put = (tag: string, manifest: object) =>
      cache.repository.putManifest(tag, Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest);
    const whole = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers };
    await put(tagOf(sources[0]!), { ...whole, layers: [{ ...layers[0], size: layers[0]!.size - 1 }] });
    await put(tagOf(sources[1]!), { ...whole, config: other.config, layers: [...layers, ...layers] });
    const { findings } = await verifyMirror(cache, { packages: sources });
    expect(findings.map(({ what, code }) => [what.slice(0, 3), code]).sort()).toEqual([
      ['one', 'checksum'],
      ['two', 'spec'],
    ]);
  });

  it("refuses one package at another's tag, whoever takes it", async () => {
    const cache = fresh();
    const [one, two] = [madePackage('one'), madePackage('two')];
    await cache.pushAll([one, two]);
    const { bytes } = (await cache.repository.manifest(tagOf(two)))!;
    await cache.repository.putManifest(tagOf(one), bytes, mediaTypes.manifest);
    const wrong = { code: 'wrong-package', message: expect.stringMatching(/one-1\.0.*two@1\.0/) };
    await expect(cache.package(one)).rejects.toMatchObject(wrong);
    await expect(cache.updateIndex({ full: true })).rejects.toMatchObject(wrong);
    const [folder, to] = [join(temporaryFolder(), 'v3'), join(temporaryFolder(), 'tree')];
    expect((await (await openV3Mirror(folder)).copyFrom(cache, [one])).failed).toMatchObject([
      { error: wrong },
    ]);
    await expect(pullPackage(cache, one, { to })).rejects.toMatchObject(wrong);
    expect([folder, to].filter((path) => existsSync(path))).toEqual([]);
    const other = fresh();
    expect((await other.copyFrom(cache, [one])).failed).toMatchObject([{ error: wrong }]);
    expect(await other.has(one)).toBe(false);
    expect((await verifyMirror(cache, { packages: [one] })).findings).toMatchObject([
      { code: 'wrong-package' },
    ]);
    // A push of the right one mends it.
    expect((await cache.pushAll([one])).pushed).toMatchObject([{ outcome: 'pushed' }]);
    expect((await cache.package(one)).document.root.name).toBe('one');
  });

  it.skipIf(!golden)(
    'writes the layers, in the order, and the diff ids that Spack writes (needs ../shared)',
    async () => {
      const mirror = await openV3Mirror(`${golden}/mirror-v3-signed`);
      const cache = fresh();
      await cache.copyFrom(mirror, await all(mirror));
      const files = readdirSync(`${golden}/oci/plain`).filter((name) =>
        /-.*\.spack\.manifest\.json$/.test(name),
      );
      for (const file of files) {
        const tag = file.replace('.manifest.json', '');
        const theirs = JSON.parse(readFileSync(`${golden}/oci/plain/${file}`, 'utf8'));
        const config: ImageConfig = JSON.parse(
          readFileSync(`${golden}/oci/plain/${tag}.config.json`, 'utf8'),
        );
        const ours = await manifestOf(cache, tag);
        expect(ours.layers).toEqual(theirs.layers);
        expect(ours.annotations).toEqual(theirs.annotations);
        const own = await configOf(cache, tag);
        expect(own.rootfs).toEqual(config.rootfs);
        // The golden mirror and images were made in different places.
        const prefixes = (env: readonly string[] = []) =>
          env.find((entry) => entry.startsWith('CMAKE_PREFIX_PATH='))?.match(/-[a-z2-7]{32}(?=:|$)/g);
        expect(prefixes(own.config?.Env)).toEqual(prefixes(config.config?.Env));
      }
      expect(files.length).toBeGreaterThan(5);
    },
  );
});

describe('the address of a build cache in a registry', () => {
  it.each([
    ['oci://ghcr.io/Org/Cache', 'oci://ghcr.io/org/cache'],
    ['oci+http://localhost:5000/cache/', 'oci+http://localhost:5000/cache'],
  ])('%s', (text, url) => expect(OciMirror.open(text).url).toBe(url));
  it.each(['oci:ghcr.io/org/cache', 'oci://ghcr.io/org/cache:tag', 'https://ghcr.io/org'])(
    'refuses %s',
    (text) =>
      expect(() => OciMirror.open(text)).toThrowError(
        expect.objectContaining({ code: 'unsupported', hint: expect.stringContaining('Write oci://') }),
      ),
  );
});
