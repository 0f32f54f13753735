import { digestOf, type ImageIndex, mediaTypes, referrersTag } from '@stackwright/oci';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  formatPublicKey,
  KeySigner,
  OciMirror,
  openV3Mirror,
  presentPackages,
  pullPackage,
  readPublicKeys,
  type SignaturePolicy,
  Trust,
  tagOf,
  verifyMirror,
} from '../src/index.js';
import { madePackage, removeTemporaryFolders, temporaryFolder } from '../src/testing.js';

const missing = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';
const beta = madePackage('beta', { specVersion: 5 });
const alpha = madePackage('alpha', { specVersion: 5, needs: ['beta'] });
const both = [alpha, beta];

// Debian's registry has no referrers API: its referrers are listed by a tag.
describe.skipIf(missing !== '')(`signed packages in a registry${missing}`, () => {
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let signer: KeySigner;
  let stranger: KeySigner;
  let trusted: SignaturePolicy;
  let count = 0;
  const fresh = () => OciMirror.open(`oci+http://${registry.host}/signed/cache-${++count}`);
  const imageOf = async (mirror: OciMirror, ref = alpha) =>
    (await mirror.repository.head(tagOf(ref)))!.digest;
  const referrersTagged = async (mirror: OciMirror, digest: `sha256:${string}`): Promise<ImageIndex> =>
    JSON.parse((await mirror.repository.manifest(referrersTag(digest)))!.bytes.toString());

  beforeAll(async () => {
    registry = await startRegistry();
    const key = await createKey({ name: 'Signer' });
    signer = new KeySigner(key);
    stranger = new KeySigner(await createKey({ name: 'Stranger' }));
    trusted = { kind: 'trusted', trust: new Trust(await readPublicKeys(formatPublicKey(key), 'key')) };
  });
  afterAll(async () => {
    await registry?.stop();
    removeTemporaryFolders();
  });

  it('are verified like those of other mirrors, and carry their statement', async () => {
    const mirror = fresh();
    expect((await mirror.pushAll(both, { signer })).failed).toEqual([]);
    await mirror.updateIndex();
    const reader = mirror.withPolicy(trusted);
    expect(await verifyMirror(reader)).toEqual({ packages: 2, findings: [] });
    expect((await reader.package(alpha)).manifest).toMatchObject({
      signed: true,
      signedBy: signer.fingerprint,
      statement: { package: { name: 'alpha', hash: alpha.hash } },
    });
    expect((await mirror.pushAll(both, { signer })).pushed.map((one) => one.outcome)).toEqual([
      'present',
      'present',
    ]);
    const { manifests } = await referrersTagged(mirror, await imageOf(mirror));
    expect(manifests).toMatchObject([{ artifactType: 'application/vnd.stackwright.package.v1' }]);
    // Neither packages nor anything that a listing shows.
    expect([...(await presentPackages(mirror)).keys()].sort()).toEqual([alpha.hash, beta.hash].sort());
  });

  it('keep their signatures from mirror to mirror', async () => {
    const folder = await openV3Mirror(temporaryFolder());
    await folder.pushAll(both, { signer });
    const [one, two] = [fresh(), fresh()];
    await one.copyFrom(folder.withPolicy(trusted), both);
    await two.copyFrom(one.withPolicy(trusted), both);
    const back = await openV3Mirror(temporaryFolder());
    await back.copyFrom(two.withPolicy(trusted), both);
    for (const mirror of [one, two, back])
      expect((await mirror.withPolicy(trusted).package(alpha)).manifest.text).toBe(
        (await folder.package(alpha)).manifest.text,
      );
    expect([...(await two.copyFrom(one.withPolicy(trusted), both)).outcomes.values()]).toEqual([
      'present',
      'present',
    ]);
  });

  it('are missing, untrusted or signed anew', async () => {
    const mirror = fresh();
    await mirror.pushAll(both);
    const reader = mirror.withPolicy(trusted);
    await expect(reader.package(alpha)).rejects.toMatchObject({ code: 'signature-missing' });
    await mirror.sign(both, stranger);
    await expect(reader.package(alpha)).rejects.toMatchObject({ code: 'signature-untrusted' });
    expect((await reader.sign(both, signer)).failed).toMatchObject([
      { error: { code: 'signature-untrusted' } },
      { error: { code: 'signature-untrusted' } },
    ]);
    expect(await mirror.sign(both, signer)).toMatchObject({ failed: [], signed: [{}, {}] });
    // One that counts is enough.
    expect((await reader.package(alpha)).manifest.signedBy).toBe(signer.fingerprint);
    expect(await reader.sign(both, signer)).toMatchObject({ signed: [], present: [{}, {}] });
  });

  it('are gone when somebody takes the list of signatures away', async () => {
    const mirror = fresh();
    await mirror.pushAll(both, { signer });
    const tag = referrersTag(await imageOf(mirror));
    await mirror.repository.deleteManifest((await mirror.repository.head(tag))!.digest);
    await expect(mirror.withPolicy(trusted).package(alpha)).rejects.toMatchObject({
      code: 'signature-missing',
    });
  });

  it('are not what somebody put in their place', async () => {
    const mirror = fresh();
    await mirror.pushAll(both, { signer });
    const signed = await imageOf(mirror);
    const { manifests } = await referrersTagged(mirror, signed);
    const forged = madePackage('alpha', {
      specVersion: 5,
      needs: ['beta'],
      content: Buffer.from('forged\n'),
    });
    await mirror.push(forged, { force: true });
    const image = await imageOf(mirror);
    expect(image).not.toBe(signed);
    const reader = mirror.withPolicy(trusted);
    await expect(reader.package(alpha)).rejects.toMatchObject({ code: 'signature-missing' });
    // The signature of the other image, and that of another package.
    const index = { schemaVersion: 2, mediaType: mediaTypes.index };
    const put = (list: unknown) =>
      mirror.repository.putManifest(
        referrersTag(image),
        Buffer.from(JSON.stringify({ ...index, manifests: list })),
        mediaTypes.index,
      );
    await put(manifests);
    await expect(reader.package(alpha)).rejects.toMatchObject({ code: 'checksum' });
    await put((await referrersTagged(mirror, await imageOf(mirror, beta))).manifests);
    await expect(reader.package(alpha)).rejects.toMatchObject({ code: 'wrong-package' });
    const to = temporaryFolder();
    await expect(pullPackage(reader, alpha, { to })).rejects.toMatchObject({ code: 'wrong-package' });
    // Who signs a package of his own does not sign what lies there.
    expect((await mirror.pushAll([alpha], { signer })).pushed).toMatchObject([{ outcome: 'pushed' }]);
    const { manifest } = await reader.package(alpha);
    const { digest } = (await (await ofOwn()).package(alpha)).manifest.tarball;
    expect(manifest.tarball.digest).toBe(digest);
  });
  const ofOwn = async () => {
    const mirror = await openV3Mirror(temporaryFolder());
    await mirror.push(alpha);
    return mirror;
  };

  it('keep their signatures when an image is completed', async () => {
    const mirror = fresh();
    await mirror.pushAll([alpha], { signer });
    const before = await imageOf(mirror);
    await mirror.pushAll(both, { signer });
    // Its image lacked a layer, and is another one now.
    expect(await imageOf(mirror)).not.toBe(before);
    expect((await mirror.withPolicy(trusted).package(alpha)).manifest.signedBy).toBe(signer.fingerprint);
    expect((await mirror.withPolicy(trusted).package(beta)).manifest.signedBy).toBe(signer.fingerprint);
    // Also by somebody without the key.
    const other = fresh();
    await other.pushAll([alpha], { signer });
    await other.pushAll(both);
    expect((await other.withPolicy(trusted).package(alpha)).manifest.signedBy).toBe(signer.fingerprint);
  });

  it('go with their package', async () => {
    const mirror = fresh();
    await mirror.pushAll(both, { signer });
    const tag = referrersTag(await imageOf(mirror));
    await mirror.prune(await mirror.planPrune({ keep: new Set([beta.hash]) }));
    expect(await mirror.repository.head(tag)).toBeUndefined();
    expect((await mirror.withPolicy(trusted).package(beta)).manifest.signed).toBe(true);
  });

  it.each([
    ['no index', Buffer.from('[]')],
    ['a manifest that is none', undefined],
  ])('are refused where the list names %s', async (_, bytes) => {
    const mirror = fresh();
    await mirror.pushAll(both);
    const image = await imageOf(mirror);
    const artifact = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config: 7 }),
    );
    const descriptor = {
      mediaType: mediaTypes.manifest,
      digest: digestOf(artifact),
      size: artifact.length,
      artifactType: 'application/vnd.stackwright.package.v1',
    };
    const list = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [descriptor] };
    // A registry takes neither; it may be one that somebody made.
    const faulty = Object.assign(Object.create(mirror.repository), {
      manifest: async (tag: string, signal?: AbortSignal) => {
        if (tag === referrersTag(image))
          return { descriptor, bytes: bytes ?? Buffer.from(JSON.stringify(list)) };
        return tag === descriptor.digest
          ? { descriptor, bytes: artifact }
          : mirror.repository.manifest(tag, signal);
      },
      head: (tag: string) => mirror.repository.head(tag),
      blob: (one: never) => mirror.repository.blob(one),
      referrers: async () => undefined,
    });
    const reader = new OciMirror(faulty, mirror.url, trusted);
    await expect(reader.package(alpha)).rejects.toMatchObject({
      kind: expect.stringMatching(/input|failed/),
    });
  });
});
