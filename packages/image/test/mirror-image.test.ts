import { cpSync, createReadStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  openV3Mirror,
  readKeyFiles,
  trustOf,
  type V3Mirror,
  v3,
  verifyMirror,
} from '@stackwright/buildcache';
import { extract } from 'tar-stream';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AssembledImage,
  assembleMirrorImage,
  openBase,
  packagesOf,
  Staging,
  writeLayout,
} from '../src/index.js';
import { lock, stack } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'mirror-image-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const staging = () => Staging.open(mkdtempSync(join(work, 'staging-')));
const nodes = [...lock.nodes.values()].filter((node) => !node.external);
const policy = async () => ({
  kind: 'trusted' as const,
  trust: await trustOf({ keys: await readKeyFiles([join(stack, 'keys/quickstart.pub')]) }),
});
type Over = Partial<Parameters<typeof assembleMirrorImage>[0]> & { mirror?: V3Mirror; nodes?: typeof nodes };
const assemble = async ({ mirror, nodes: wanted = nodes, ...over }: Over = {}) => {
  const from = mirror ?? (await openV3Mirror(join(stack, 'mirror'), { policy: await policy() }));
  return assembleMirrorImage({
    packages: wanted.map((node) => ({ node, mirror: from })),
    root: '/srv/mirror',
    staging: await staging(),
    ...over,
  });
};

/** The files of all layers in a folder, as a container would see them. */
async function unpack(image: AssembledImage): Promise<string> {
  const folder = mkdtempSync(join(work, 'rootfs-'));
  for (const { path, descriptor } of image.layers) {
    expect(descriptor.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
    for await (const entry of createReadStream(path).pipe(extract())) {
      const { name, type, mode, uid, mtime } = entry.header;
      expect({ name, mode, uid, time: mtime!.getTime() }).toEqual({
        name,
        mode: type === 'directory' ? 0o755 : 0o644,
        uid: 0,
        time: 0,
      });
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      if (type === 'directory') continue;
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), Buffer.concat(chunks));
    }
  }
  return folder;
}

describe('an image that holds a mirror', () => {
  it('has all of the stack, signed, with keys and index, and nothing else', async () => {
    const rootfs = await unpack(await assemble());
    const mirror = await openV3Mirror(join(rootfs, 'srv/mirror'), { policy: await policy() });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
    expect([...(await mirror.index()).hashes].sort()).toEqual(nodes.map((node) => node.hash).sort());
    const published = await mirror.publishedKeys();
    expect(published).toHaveLength(1);
    const beside = await trustOf({ keys: await readKeyFiles([join(rootfs, 'srv/mirror/public.key')]) });
    expect(beside.keys.map((key) => key.getFingerprint())).toEqual(
      published.map((key) => key.getFingerprint()),
    );
  });

  it('is the same each time, and shares the layers of packages that stay', async () => {
    const [first, again, fewer] = [
      await assemble(),
      await assemble(),
      await assemble({ nodes: nodes.slice(1) }),
    ];
    expect(again.manifest.descriptor).toEqual(first.manifest.descriptor);
    const digests = new Set(first.layers.map((layer) => layer.descriptor.digest));
    const shared = fewer.layers.filter((layer) => digests.has(layer.descriptor.digest));
    expect([fewer.layers.length, shared.length]).toEqual([nodes.length, nodes.length - 1]);
  });

  it('has few layers where many are not allowed', async () => {
    const image = await assemble({ mostLayers: 4 });
    expect(image.layers).toHaveLength(4);
    const mirror = await openV3Mirror(join(await unpack(image), 'srv/mirror'), { policy: await policy() });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });

  it('stands on a base, whose environment stays', async () => {
    const below = await assemble({ settings: { env: { LANG: 'C' }, command: ['bash'] } });
    await writeLayout(below, join(work, 'base'), 'latest');
    const base = await openBase('oci:base', { cwd: work, env: {} });
    const image = await assemble({ base, root: '/mirror' });
    expect(image.layers.slice(0, below.layers.length).map(({ descriptor }) => descriptor.digest)).toEqual(
      below.layers.map(({ descriptor }) => descriptor.digest),
    );
    expect(JSON.parse(image.config.bytes.toString()).config).toMatchObject({
      Env: ['LANG=C'],
      Cmd: ['bash'],
    });
  });

  it('is not made when the mirror lacks a package, or has one that nobody trusts', async () => {
    const folder = join(work, 'poor');
    cpSync(join(stack, 'mirror'), folder, { recursive: true });
    rmSync(join(folder, 'v3/manifests/spec/hello'), { recursive: true });
    const poor = await openV3Mirror(folder, { policy: await policy() });
    await expect(assemble({ mirror: poor })).rejects.toMatchObject({
      kind: 'missing',
      message: expect.stringMatching(/lacks 1 of the stack's 9 packages: hello@2\.0/),
    });
    const nobody = { kind: 'trusted' as const, trust: await trustOf({}) };
    await expect(assemble({ mirror: poor.withPolicy(nobody) })).rejects.toMatchObject({
      code: 'signature-untrusted',
    });
  });

  it("is not made of one package at another's key", async () => {
    const folder = join(work, 'swapped');
    cpSync(join(stack, 'mirror'), folder, { recursive: true });
    const key = (name: string) => {
      const node = nodes.find((one) => one.name === name)!;
      return join(folder, v3.spec(node));
    };
    cpSync(key('chorus'), key('hello'));
    const mirror = await openV3Mirror(folder, { policy: await policy() });
    const wrong = { code: 'wrong-package', message: expect.stringMatching(/hello@2\.0\/.*chorus@1\.1\//) };
    await expect(assemble({ mirror })).rejects.toMatchObject(wrong);
    await expect(packagesOf(mirror, lock)).rejects.toMatchObject(wrong);
  });

  it('takes packages from several mirrors, with the keys of each', async () => {
    const [first, second] = [join(work, 'first'), join(work, 'second')];
    const half = (folder: string, names: readonly string[]) => {
      cpSync(join(stack, 'mirror'), folder, { recursive: true });
      for (const name of names) rmSync(join(folder, 'v3/manifests/spec', name), { recursive: true });
      return openV3Mirror(folder);
    };
    const names = [...new Set(nodes.map((node) => node.name))];
    const [one, other] = [await half(first, names.slice(4)), await half(second, names.slice(0, 4))];
    const packages = nodes.map((node) => ({ node, mirror: names.indexOf(node.name) < 4 ? one : other }));
    const whole = await assemble();
    expect((await assemble({ packages })).manifest.descriptor).toEqual(whole.manifest.descriptor);
  });
});
