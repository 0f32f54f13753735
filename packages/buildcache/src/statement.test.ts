import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { digestOf } from '@stackwright/oci';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  KeySigner,
  openV3Mirror,
  presentPackages,
  pullPackage,
  readPublicKeys,
  type Statement,
  Trust,
  v3,
  verifyMirror,
} from './index.js';
import { signedText } from './sign/signature.js';
import {
  copyOf,
  forge,
  madePackage,
  quickstartKey,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from './testing.js';

afterEach(removeTemporaryFolders);
const time = new Date('2026-01-02T03:04:05.678Z');
const made = madePackage('made', { specVersion: 5 });
const other = madePackage('other', { specVersion: 5 });
const fileOf = (folder: string, ref: { name: string; version: string; hash: string }) =>
  join(folder, v3.spec(ref));
const jsonOf = (folder: string, ref: { name: string; version: string; hash: string }) =>
  JSON.parse(signedText(readFileSync(fileOf(folder, ref), 'utf8'), 'it'));

let signer: KeySigner;
let trust: Trust;
beforeAll(async () => {
  const key = await createKey({ name: 'Stated' });
  signer = new KeySigner(key);
  trust = new Trust([key.toPublic()]);
});

describe('the statement in a manifest', () => {
  it('says what a reader needs, and is the same each time but for the time', async () => {
    const texts: string[] = [];
    for (const at of [time, time, new Date(0)]) {
      const folder = temporaryFolder();
      await (await openV3Mirror(folder)).push(made, { time: at });
      texts.push(readFileSync(fileOf(folder, made), 'utf8'));
      const { data, stackwright } = jsonOf(folder, made);
      const tar = gunzipSync(readFileSync(join(folder, v3.blob(`sha256:${data[0].checksum}`))));
      expect(stackwright).toEqual({
        version: 1,
        package: { name: 'made', version: '1.0', hash: made.hash },
        time: at === time ? '2026-01-02T03:04:05Z' : '1970-01-01T00:00:00Z',
        tarball: {
          digest: digestOf(tar),
          size: tar.length,
          root: '/opt/made',
          prefix: `/opt/made/made-1.0-${made.hash}`,
          prefixes: { [made.hash]: `made-1.0-${made.hash}` },
          folders: ['.'],
          interpreters: [],
          needed: [],
          provided: [],
          contents: { shebangs: [], entries: {} },
        },
      });
    }
    expect(texts[0]).toBe(texts[1]);
    expect(texts[2]).toBe(texts[0]!.replace('2026-01-02T03:04:05Z', '1970-01-01T00:00:00Z'));
  });

  it('is added by signing to what Spack wrote, and tells the libraries of its files', async () => {
    const folder = copyOf(quickstartMirror);
    const mirror = (await openV3Mirror(folder)).withPolicy({
      kind: 'trusted',
      trust: new Trust(await readPublicKeys(quickstartKey(), 'the quickstart')),
    });
    const refs = [...(await presentPackages(mirror)).values()];
    const before = new Map(refs.map((ref) => [ref.hash, jsonOf(folder, ref)]));
    expect(await mirror.sign(refs, signer, { time })).toMatchObject({ failed: [], present: [] });
    const stated = new Map<string, Statement>();
    for (const ref of refs) {
      const { stackwright, ...rest } = jsonOf(folder, ref);
      expect(rest).toEqual(before.get(ref.hash));
      stated.set(ref.name, stackwright);
    }
    expect(stated.get('hello')?.tarball).toMatchObject({
      interpreters: [expect.stringContaining('ld-linux')],
      needed: expect.arrayContaining(['libc.so.6', 'libgreet.so.1']),
      folders: expect.arrayContaining(['.', 'bin']),
      provided: [],
    });
    expect(stated.get('libgreet')?.tarball.provided).toEqual(['libgreet.so.1']);
    const { root, prefix } = stated.get('hello')!.tarball;
    expect(prefix.startsWith(`${root}/`)).toBe(true);
    const trusting = mirror.withPolicy({ kind: 'trusted', trust });
    expect((await verifyMirror(trusting)).findings.filter((one) => one.severity === 'error')).toEqual([]);
    // Nothing is left to do; and the tarball of what is stated already is not read again.
    expect(await trusting.sign(refs, signer)).toMatchObject({ signed: [], failed: [] });
    const second = new KeySigner(await createKey({ name: 'Second' }));
    for (const blob of readdirSync(join(folder, 'blobs/sha256'), { recursive: true, withFileTypes: true }))
      if (blob.isFile() && blob.name === jsonOf(folder, refs[0]!).data[0].checksum)
        writeFileSync(join(blob.parentPath, blob.name), 'damaged');
    expect(await trusting.sign([refs[0]!], second)).toMatchObject({ failed: [] });
    await expect(
      (await trusting.withPolicy({ kind: 'unsigned' }).sign([refs[0]!], signer)).failed[0]?.error,
    ).toMatchObject({ code: 'length' });
  });

  it('travels with a copy as it is, and is added to a copy that is signed anew', async () => {
    const from = await openV3Mirror(temporaryFolder());
    await from.push(made, { signer, time });
    const plain = await openV3Mirror(quickstartMirror);
    const folder = temporaryFolder();
    const to = await openV3Mirror(folder);
    await to.copyFrom(from, [made]);
    expect(jsonOf(folder, made).stackwright.time).toBe('2026-01-02T03:04:05Z');
    const [first] = [...(await presentPackages(plain)).values()];
    await to.copyFrom(plain, [first!]);
    expect(jsonOf(folder, first!).stackwright).toBeUndefined();
    expect((await to.copyFrom(plain, [first!], { signer, time })).outcomes.get(first!.hash)).toBe('copied');
    expect(jsonOf(folder, first!).stackwright).toMatchObject({ package: { name: first!.name } });
    expect((await to.copyFrom(plain, [first!], { signer })).outcomes.get(first!.hash)).toBe('present');
  });

  it('is accepted by gpg, whatever stands in it', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    const long = madePackage('long', { specVersion: 5 });
    const deep = `${'é'.repeat(40)}/`.repeat(60);
    await mirror.push(
      {
        ...long,
        items: async function* () {
          for await (const { entry, content } of long.items()) {
            const name = entry.name.replace(/^opt\/made/, `opt/${deep}made`);
            const bytes = Buffer.concat([...(content as Buffer[])]);
            const text = bytes.toString().replaceAll('/opt/made', `/opt/${deep}made`);
            if (entry.name === 'opt/made') {
              const parts = `opt/${deep}made`.split('/');
              for (let at = 2; at < parts.length; at++)
                yield { entry: { ...entry, name: parts.slice(0, at).join('/') }, content };
            }
            const moved = entry.name.endsWith('binary_distribution') ? Buffer.from(text) : bytes;
            yield { entry: { ...entry, name, size: moved.length }, content: [moved] };
          }
        },
      },
      { signer },
    );
    const home = join(temporaryFolder(), 'gpg');
    mkdirSync(home, { mode: 0o700 });
    const key = await signer.publicKey();
    const gpg = (args: string[], input?: string) =>
      execFileSync('gpg', ['--homedir', home, '--batch', ...args], {
        input,
        stdio: ['pipe', 'pipe', 'pipe'],
      });
    gpg(['--import'], key);
    gpg(['--verify', fileOf(folder, long)]);
    expect(
      (await mirror.withPolicy({ kind: 'trusted', trust }).package(long)).manifest.statement,
    ).toMatchObject({
      tarball: { root: `/opt/${deep}made` },
    });
  });
});

describe('a statement that is wrong is refused: ', () => {
  /** A mirror with `made`, whose manifest's JSON is changed and signed again by the trusted key. */
  async function changed(change: (statement: Record<string, unknown>) => unknown) {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    await mirror.push(made, { signer });
    const json = jsonOf(folder, made);
    json.stackwright = change(json.stackwright) ?? json.stackwright;
    writeFileSync(fileOf(folder, made), await signer.sign(JSON.stringify(json)));
    return mirror.withPolicy({ kind: 'trusted', trust });
  }
  const tarball = (more: object) => (statement: Record<string, unknown>) => {
    Object.assign(statement['tarball'] as object, more);
  };

  it.each<[string, (statement: Record<string, unknown>) => unknown]>([
    ['no object', () => 'nothing'],
    ['no package', () => ({ version: 1 })],
    ['no time', (statement) => ({ ...statement, time: 'soon' })],
    ['a prefix that leads elsewhere', tarball({ prefix: '/opt/../etc' })],
    ['a relative root', tarball({ root: 'opt' })],
    ['a digest of another kind', tarball({ digest: 'md5:1' })],
    ['prefixes of no package', tarball({ prefixes: { a: '/b' } })],
    ['a folder outside of the prefix', tarball({ folders: ['../../etc'] })],
    ['libraries that are no list', tarball({ needed: 'libc.so.6' })],
    ['contents without first lines', tarball({ contents: { entries: {} } })],
    ['entries of a folder outside', tarball({ contents: { shebangs: [], entries: { '../bin': ['sh'] } } })],
    ['an entry that leads elsewhere', tarball({ contents: { shebangs: [], entries: { bin: ['../sh'] } } })],
  ])('%s', async (_, change) => {
    await expect((await changed(change)).package(made)).rejects.toMatchObject({ code: 'statement' });
  });

  it('of another package, in whose place the manifest lies', async () => {
    const mirror = await changed((statement) => ({
      ...statement,
      package: { name: 'other', version: '1.0', hash: other.hash },
    }));
    await expect(mirror.package(made)).rejects.toMatchObject({
      code: 'wrong-package',
      message: expect.stringContaining('other@1.0'),
    });
    await expect(mirror.updateIndex()).rejects.toMatchObject({ code: 'wrong-package' });
  });

  it.each([
    ['another uncompressed digest', { digest: `sha256:${'0'.repeat(64)}` }, true],
    ['another prefix', { prefix: '/opt/elsewhere' }, true],
    ['another root', { root: '/opt' }, true],
    ['more folders on search paths', { folders: ['.', 'bin'] }, false],
    ['libraries that are not there', { provided: ['libc.so.6'] }, false],
    ['other programs', { contents: { shebangs: [], entries: { bin: ['sh'] } } }, false],
  ])('%s than the tarball has', async (_, more, whenPulled) => {
    const mirror = await changed(tarball(more));
    expect((await verifyMirror(mirror)).findings).toContainEqual(
      expect.objectContaining({ code: 'statement', severity: 'error' }),
    );
    const notary = new KeySigner(await createKey({ name: 'Notary' }));
    const unsigned = mirror.withPolicy({ kind: 'unsigned' });
    expect((await unsigned.sign([made], notary)).failed[0]?.error).toMatchObject({ code: 'statement' });
    const pulled = pullPackage(mirror, made, { to: temporaryFolder() });
    if (whenPulled) await expect(pulled).rejects.toMatchObject({ code: 'statement' });
    else await pulled;
  });

  it('but one of a later version of this format is left alone', async () => {
    const mirror = await changed(() => ({ version: 2, anything: true }));
    expect((await mirror.package(made)).manifest.statement).toBeUndefined();
    expect((await verifyMirror(mirror)).findings.filter((one) => one.severity === 'error')).toEqual([]);
  });

  it('and a package of somebody else has none', async () => {
    const folder = temporaryFolder();
    await forge(folder, made);
    expect((await (await openV3Mirror(folder)).package(made)).manifest.statement).toBeUndefined();
  });
});
