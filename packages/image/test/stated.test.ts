import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { createKey, KeySigner, openV3Mirror, presentPackages, Trust } from '@stackwright/buildcache';
import { ImageLayout, readImage } from '@stackwright/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  assembleImage,
  type PackageBlob,
  packagesOf,
  Staging,
  searchOrder,
  writeLayout,
} from '../src/index.js';
import { lock, stack } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'stated-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const fresh = () => mkdtempSync(join(work, 'staging-'));
const searched = searchOrder(lock);

/** The same packages, counting how often a blob is opened. */
function counted(packages: readonly PackageBlob[]) {
  let opened = 0;
  const counting = packages.map((blob) => ({
    ...blob,
    open: (signal?: AbortSignal) => {
      opened += 1;
      return blob.open(signal);
    },
  }));
  return { packages: counting, opens: () => opened };
}

describe('packages whose signed manifests say what is in them', () => {
  const mirrorFolder = join(work, 'mirror');
  /** With statements that a trusted key has signed. */
  let stated: PackageBlob[];
  /** As Spack wrote them. */
  let plain: PackageBlob[];

  beforeAll(async () => {
    const key = await createKey({ name: 'Stated' });
    const from = await openV3Mirror(join(stack, 'mirror'));
    const to = await openV3Mirror(mirrorFolder);
    await to.copyFrom(from, [...(await presentPackages(from)).values()], { signer: new KeySigner(key) });
    stated = await packagesOf(to.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) }), lock);
    plain = await packagesOf(from, lock);
  });

  it('become the same image as any others, and no blob is opened', async () => {
    const { packages, opens } = counted(stated);
    expect(packages.length).toBeGreaterThanOrEqual(8);
    const image = await assembleImage({ packages, searched, staging: await Staging.open(fresh()) });
    await writeLayout(image, join(work, 'layout'), 'latest');
    expect(opens()).toBe(0);
    const read = await assembleImage({ packages: plain, searched, staging: await Staging.open(fresh()) });
    expect(image.manifest.descriptor).toEqual(read.manifest.descriptor);
    expect(image.config.bytes.toString()).toBe(read.config.bytes.toString());
    // Linked, not copied.
    const [layer] = image.layers;
    const layout = await ImageLayout.open(join(work, 'layout'));
    expect(statSync(layout.path(layer!.descriptor)).ino).toBe(statSync(layer!.path).ino);
  });

  it('are read once where they are to be checked, or where nobody trusted has signed what they say', async () => {
    const checked = counted(stated);
    const staging = await Staging.open(fresh());
    await assembleImage({ packages: checked.packages, staging, check: true });
    expect(checked.opens()).toBe(stated.length);
    const unsigned = counted(stated.map((blob) => ({ ...blob, vouched: false })));
    await assembleImage({ packages: unsigned.packages, staging: await Staging.open(fresh()) });
    expect(unsigned.opens()).toBe(stated.length);
  });

  it('are read once by a run that checks them first and assembles them then', async () => {
    for (const blobs of [stated, plain]) {
      const { packages, opens } = counted(blobs);
      const staging = await Staging.open(fresh());
      await Promise.all(packages.map((blob) => staging.stage(blob)));
      await Promise.all(packages.map((blob) => staging.stage(blob)));
      await assembleImage({ packages, staging });
      expect(opens()).toBe(blobs.length);
    }
  });

  it('are read where they are moved to another root, and become the same as those that were read before', async () => {
    const move = async (packages: readonly PackageBlob[]) =>
      assembleImage({ packages, installRoot: '/opt/sw', staging: await Staging.open(fresh()) });
    const [image, other] = [await move(stated), await move(plain)];
    expect(image.packages.every(({ origin }) => origin === 'relocated')).toBe(true);
    expect(image.manifest.descriptor).toEqual(other.manifest.descriptor);
  });

  it('are refused when a blob is missing, cut off, or not what was signed', async () => {
    const [first, ...rest] = stated as [PackageBlob, ...PackageBlob[]];
    const path = join(work, 'blob');
    const assemble = async (check: boolean) =>
      assembleImage({ packages: [{ ...first, path }, ...rest], check, staging: await Staging.open(fresh()) });
    await expect(assemble(false)).rejects.toMatchObject({ code: 'missing-blob' });
    cpSync(first.path!, path);
    truncateSync(path, first.descriptor.size - 1);
    await expect(assemble(false)).rejects.toMatchObject({ code: 'length' });
    const bytes = readFileSync(first.path!);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(path, bytes);
    // Not read here, but by everybody who copies or changes it.
    const image = await assemble(false);
    await expect(
      assembleImage({
        packages: [{ ...first, path }, ...rest],
        mostLayers: 1,
        staging: await Staging.open(fresh()),
      }),
    ).rejects.toThrow();
    await writeLayout(image, join(work, 'damaged'), 'latest');
    const layout = await ImageLayout.open(join(work, 'damaged'));
    const { manifest } = await readImage(layout, 'latest');
    const reading = async () => {
      for (const layer of manifest.layers) for await (const _ of await layout.blob(layer));
    };
    await expect(reading()).rejects.toMatchObject({ code: 'mismatch' });
    const unsure = { ...first, open: async () => (await import('node:fs')).createReadStream(path), path };
    await expect(
      assembleImage({ packages: [unsure, ...rest], check: true, staging: await Staging.open(fresh()) }),
    ).rejects.toMatchObject({ code: 'mismatch' });
  });

  it('are refused when the tarball contradicts the statement', async () => {
    const [first] = stated as [PackageBlob];
    const statement = structuredClone(first.statement!);
    Object.assign(statement.tarball, { folders: ['.', 'share/man'] });
    const staging = await Staging.open(fresh());
    await expect(staging.stage({ ...first, statement })).rejects.toMatchObject({ code: 'statement' });
  });
});

describe('what is remembered of a blob', () => {
  const forged = `sha256:${'0'.repeat(64)}`;
  const assemble = async (folder: string) =>
    (
      await assembleImage({
        packages: await packagesOf(await openV3Mirror(join(stack, 'mirror')), lock),
        staging: await Staging.open(folder),
      })
    ).config.bytes.toString();
  const facts = (folder: string) =>
    readdirSync(join(folder, 'facts')).map((name) => join(folder, 'facts', name));

  it.each<[string, (text: string, other: string) => string]>([
    ['forged', (text) => text.replace(/"diffId":"sha256:[0-9a-f]{64}"/, `"diffId":"${forged}"`)],
    ['of another blob', (_, other) => other],
    ['torn', (text) => text.slice(0, 100)],
    ['empty', () => ''],
    ['no JSON', () => '{'],
  ])('is found anew when the file is %s', async (_, change) => {
    const folder = fresh();
    const config = await assemble(folder);
    expect(await assemble(folder)).toBe(config);
    const files = facts(folder);
    const texts = files.map((file) => readFileSync(file, 'utf8'));
    for (const [index, file] of files.entries())
      writeFileSync(file, change(texts[index]!, texts[(index + 1) % texts.length]!));
    const again = await assemble(folder);
    expect(again).toBe(config);
    expect(again).not.toContain(forged);
    expect(files.map((file) => readFileSync(file, 'utf8'))).toEqual(texts);
  });

  // Stryker runs tests in threads, which cannot set it.
  it.skipIf(!isMainThread)(
    'is for this user alone; what others could have written is thrown away',
    async () => {
      const before = process.umask(0);
      try {
        const folder = join(fresh(), 'new');
        await assemble(folder);
        for (const part of ['', 'facts', 'blobs'])
          expect(statSync(join(folder, part)).mode & 0o777).toBe(0o700);
        for (const file of facts(folder)) expect(statSync(file).mode & 0o777).toBe(0o600);
        chmodSync(join(folder, 'facts'), 0o777);
        await Staging.open(folder);
        expect(facts(folder)).toEqual([]);
        expect(statSync(join(folder, 'facts')).mode & 0o777).toBe(0o700);
      } finally {
        process.umask(before);
      }
    },
  );
});
