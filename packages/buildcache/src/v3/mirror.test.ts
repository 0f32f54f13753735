import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  formatPublicKey,
  KeySigner,
  openV3Mirror,
  type Trust,
  trustOf,
  type V3Mirror,
  v3,
} from '../index.js';
import {
  copyOf,
  golden,
  quickstartKey,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
  v2Mirror,
} from '../testing.js';

afterEach(removeTemporaryFolders);

const hello = { name: 'hello', version: '2.0', hash: 'hocoygzxdt3joeunr4qllim24bqkuvhh' };
let trust: Trust;
beforeAll(async () => {
  trust = await trustOf({ keys: [{ text: quickstartKey(), from: 'quickstart.pub' }] });
});
const open = async (folder: string): Promise<V3Mirror> =>
  openV3Mirror(folder, { policy: { kind: 'trusted', trust } });

describe('a mirror that Spack wrote', () => {
  it.each([
    ['of the quickstart', quickstartMirror, 9],
    ...(golden ? [['of the golden stack', `${golden}/mirror-v3-signed`, 8] as const] : []),
  ] as const)('%s is read and verified whole', async (_, folder, count) => {
    const unsigned = await openV3Mirror(folder);
    const mirror = unsigned.withPolicy({ kind: 'trusted', trust: await trustOf({ published: unsigned }) });
    const { hashes, nodes } = await mirror.index();
    const found: string[] = [];
    for await (const ref of mirror.packages()) {
      const { manifest, document } = await mirror.package(ref);
      const { root } = document;
      expect(nodes.get(root.hash)?.raw).toEqual(root.raw);
      let size = 0;
      for await (const chunk of await mirror.tarball(manifest)) size += (chunk as Buffer).length;
      expect(size).toBe(manifest.tarball.size);
      found.push(ref.hash);
    }
    expect(found).toHaveLength(count);
    expect(new Set(found)).toEqual(hashes);
  });

  it('publishes the key that signed it', async () => {
    const mirror = await openV3Mirror(quickstartMirror);
    const keys = await mirror.publishedKeys();
    expect(keys.map((key) => key.getFingerprint())).toEqual(trust.keys.map((key) => key.getFingerprint()));
  });
});

describe('a package of a mirror that was tampered with', () => {
  const manifestFile = (folder: string) => join(folder, v3.spec(hello));
  const edit = (file: string, change: (text: string) => string) =>
    writeFileSync(file, change(readFileSync(file, 'latin1')), 'latin1');

  it.each([
    ['changed checksum', (text: string) => text.replace(/"checksum":"./, '"checksum":"0'), 'signature-wrong'],
    [
      'changed length',
      (text: string) => text.replace(/"contentLength":\d+/, '"contentLength":1'),
      'signature-wrong',
    ],
    [
      'no signature',
      (text: string) => text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1),
      'signature-missing',
    ],
    ['half a signature', (text: string) => text.slice(0, -200), 'signature-wrong'],
    ['text before', (text: string) => `{"version":3}\n${text}`, 'signature-missing'],
    ['other hash header', (text: string) => text.replace(/Hash: SHA\d+/, 'Hash: MD5'), 'signature-wrong'],
    ['empty', () => '', 'signature-missing'],
  ] as const)('%s: its signature does not count', async (_, change, code) => {
    const folder = copyOf(quickstartMirror);
    edit(manifestFile(folder), change);
    await expect((await open(folder)).package(hello)).rejects.toMatchObject({ code, kind: 'input' });
  });

  it('signed by a key that is not trusted: names the key', async () => {
    const folder = copyOf(quickstartMirror);
    const other = await createKey({ name: 'Somebody' });
    const text = readFileSync(manifestFile(folder), 'utf8');
    const json = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
    writeFileSync(manifestFile(folder), await new KeySigner(other).sign(json));
    await expect((await open(folder)).package(hello)).rejects.toMatchObject({
      code: 'signature-untrusted',
      message: expect.stringContaining(other.getKeyID().toHex().toUpperCase()),
    });
  });

  it.each([
    ['cut off', (text: string) => text.slice(0, -1), 'length'],
    ['longer', (text: string) => `${text}x`, 'length'],
    ['changed', (text: string) => `${text.slice(0, -1)}${text.endsWith('x') ? 'y' : 'x'}`, 'checksum'],
  ] as const)('a blob that is %s', async (_, change, code) => {
    const folder = copyOf(quickstartMirror);
    const mirror = await open(folder);
    const { manifest } = await mirror.package(hello);
    edit(join(folder, v3.blob(manifest.tarball.digest)), change);
    const stream = await mirror.tarball(manifest);
    await expect(stream.toArray()).rejects.toMatchObject({
      code,
      message: expect.stringContaining('hello@2.0'),
    });
  });

  it('a manifest of another package under its name', async () => {
    const folder = copyOf(quickstartMirror);
    const other = { name: 'libgreet', version: '1.2.0', hash: 'lxymk2z6d2wwfnlqcpxtqd2vynx2ohhv' };
    writeFileSync(manifestFile(folder), readFileSync(join(folder, v3.spec(other))));
    const mirror = await open(folder);
    await expect(mirror.package(hello)).rejects.toMatchObject({ code: 'wrong-package' });
  });

  it('a package that is not there', async () => {
    const mirror = await open(quickstartMirror);
    await expect(mirror.package({ ...hello, version: '9' })).rejects.toMatchObject({
      code: 'missing-package',
      kind: 'missing',
    });
  });
});

describe('trust', () => {
  it('takes only the fingerprints that are named', async () => {
    const [key] = trust.keys;
    const other = await createKey({ name: 'Other' });
    const both = [{ text: quickstartKey() + formatPublicKey(other), from: 'keys' }];
    const fingerprint = key!.getFingerprint().toUpperCase();
    expect((await trustOf({ keys: both })).fingerprints).toHaveLength(2);
    expect((await trustOf({ keys: both, fingerprints: [fingerprint.slice(-16)] })).fingerprints).toEqual([
      fingerprint,
    ]);
  });

  it.each([1, 4, 8, 15])(
    'takes no fingerprint of %d digits: others can make a key that ends so',
    async (digits) => {
      const fingerprint = trust.keys[0]!.getFingerprint().toUpperCase();
      const keys = [{ text: quickstartKey(), from: 'keys' }];
      expect((await trustOf({ keys, fingerprints: [fingerprint.slice(-digits)] })).keys).toEqual([]);
    },
  );

  it('refuses a file without a key', async () => {
    await expect(trustOf({ keys: [{ text: 'hello', from: 'x.pub' }] })).rejects.toMatchObject({
      code: 'key',
      kind: 'input',
      message: expect.stringContaining('x.pub'),
    });
  });
});

describe('opening a mirror', () => {
  it('takes a folder that is not there yet for an empty mirror', async () => {
    const mirror = await openV3Mirror(join(temporaryFolder(), 'new'));
    await expect(mirror.index()).rejects.toMatchObject({ code: 'missing-index' });
  });

  it('says how to go on with a mirror of layout v2', async () => {
    await expect(openV3Mirror(v2Mirror)).rejects.toMatchObject({
      code: 'layout',
      hint: expect.stringContaining('mirror migrate'),
    });
  });
});
