import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '@stackwright/storage';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  KeySigner,
  migrateV2,
  openToRead,
  openV3Mirror,
  pullPackage,
  type Trust,
  trustOf,
  type V3Mirror,
  v3,
  verifyMirror,
} from './index.js';
import {
  copyOf,
  madeHash,
  madePackage,
  quickstartKey,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
  v2Mirror,
} from './testing.js';

afterEach(removeTemporaryFolders);
const hello = { name: 'hello', version: '2.0', hash: 'hocoygzxdt3joeunr4qllim24bqkuvhh' };
const chorus = { name: 'chorus', version: '1.1', hash: 'mzh2ynzh3ivdka4mxqegobftgfw65dp4' };
const refused = {
  name: 'BuildcacheError',
  kind: 'input',
  code: 'wrong-package',
  message: expect.stringMatching(/hello@2\.0\/hocoygz.*chorus@1\.1\/mzh2ynz/),
};
const filesOf = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => [file, readFileSync(file).toString('base64')] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));

describe("the signed manifest of one package at another's key", () => {
  let trust: Trust;
  beforeAll(async () => {
    trust = await trustOf({ keys: [{ text: quickstartKey(), from: 'quickstart.pub' }] });
  });
  const swapped = async (): Promise<{ folder: string; mirror: V3Mirror }> => {
    const folder = copyOf(quickstartMirror);
    copyFileSync(join(folder, v3.spec(chorus)), join(folder, v3.spec(hello)));
    return { folder, mirror: (await openV3Mirror(folder)).withPolicy({ kind: 'trusted', trust }) };
  };

  it('is not read', async () => {
    const { mirror } = await swapped();
    await expect(mirror.package(hello)).rejects.toMatchObject(refused);
    expect((await mirror.package(chorus)).document.root).toMatchObject(chorus);
  });

  it('is not pulled', async () => {
    const { mirror } = await swapped();
    const to = temporaryFolder();
    await expect(pullPackage(mirror, hello, { to })).rejects.toMatchObject(refused);
    expect(readdirSync(to)).toEqual([]);
  });

  it('is not copied', async () => {
    const { mirror } = await swapped();
    const folder = temporaryFolder();
    const { outcomes, failed } = await (await openV3Mirror(folder)).copyFrom(mirror, [hello]);
    expect([outcomes.size, failed]).toEqual([
      0,
      [{ package: hello, error: expect.objectContaining(refused) }],
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('does not count as there when the right one is copied over it', async () => {
    const { mirror } = await swapped();
    const from = await openV3Mirror(quickstartMirror);
    const { outcomes } = await mirror.copyFrom(from, [hello]);
    expect(outcomes.get(hello.hash)).toBe('copied');
    expect((await mirror.package(hello)).document.root).toMatchObject(hello);
  });

  it('is not signed', async () => {
    const { folder, mirror } = await swapped();
    const text = readFileSync(join(folder, v3.spec(hello)), 'utf8');
    const notary = new KeySigner(await createKey({ name: 'Notary' }));
    const { signed, failed } = await mirror.sign([hello], notary);
    expect([signed, failed]).toEqual([[], [{ package: hello, error: expect.objectContaining(refused) }]]);
    expect(readFileSync(join(folder, v3.spec(hello)), 'utf8')).toBe(text);
  });

  it('is not indexed', async () => {
    const { folder, mirror } = await swapped();
    const before = filesOf(folder);
    await expect(mirror.updateIndex({ full: true })).rejects.toMatchObject({
      code: 'wrong-package',
      message: expect.stringContaining('chorus@1.1/mzh2ynz'),
    });
    expect(filesOf(folder)).toEqual(before);
  });

  it('is found by a verification', async () => {
    const { mirror } = await swapped();
    expect((await verifyMirror(mirror)).findings).toMatchObject([
      { what: 'hello@2.0/hocoygz', code: 'wrong-package' },
    ]);
  });

  it('keeps a pruning from deciding what it needs', async () => {
    const { mirror } = await swapped();
    await expect(mirror.planPrune({ keep: new Set([hello.hash]) })).rejects.toMatchObject(refused);
  });

  it('is replaced by a push of the right one', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(folder);
    for (const name of ['a', 'b']) await mirror.push(madePackage(name));
    const [a, b] = ['a', 'b'].map((name) => ({ name, version: '1.0', hash: madeHash(name) })) as [
      typeof hello,
      typeof hello,
    ];
    copyFileSync(join(folder, v3.spec(a)), join(folder, v3.spec(b)));
    expect((await mirror.push(madePackage('b'))).outcome).toBe('pushed');
    expect((await mirror.package(b)).document.root.name).toBe('b');
  });
});

describe("a v2 package at another's key", () => {
  const swapped = () => {
    const folder = copyOf(v2Mirror);
    const specs = readdirSync(join(folder, 'build_cache')).filter((name) => name.endsWith('.sig'));
    const of = (name: string) =>
      join(folder, 'build_cache', specs.find((file) => file.includes(name)) as string);
    copyFileSync(of('-libgreet-'), of('-hello-'));
    return folder;
  };
  const wrong = {
    code: 'wrong-package',
    message: expect.stringMatching(/hello-2\.0-hocoygz.*libgreet@1\.2\.0\/lxymk2z/),
  };

  it('is not read', async () => {
    const mirror = await openToRead(swapped());
    await expect(mirror.package(hello)).rejects.toMatchObject(wrong);
  });

  it('is not migrated', async () => {
    const to = await openV3Mirror(temporaryFolder());
    const { failed } = await migrateV2(await openStore(swapped()), to, { policy: { kind: 'unsigned' } });
    expect(failed).toMatchObject([{ error: wrong }]);
    expect(await to.has(hello)).toBe(false);
  });

  it('is not read under another name', async () => {
    const mirror = await openToRead(v2Mirror);
    await expect(mirror.package({ ...chorus, hash: hello.hash })).rejects.toMatchObject({
      code: 'wrong-package',
    });
  });
});
