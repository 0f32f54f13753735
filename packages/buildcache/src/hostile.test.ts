import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { digestOf, hexOf } from '@stackwright/oci';
import { openStore } from '@stackwright/storage';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  formatManifest,
  mediaType,
  migrateV2,
  openV3Mirror,
  parseManifest,
  parseSpecDocument,
  pullPackage,
  trustOf,
  v3,
  verifyMirror,
} from './index.js';
import {
  copyOf,
  quickstartKey,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
  v2Mirror,
} from './testing.js';
import { databaseType } from './v3/layout.js';

afterEach(removeTemporaryFolders);
const hello = { name: 'hello', version: '2.0', hash: 'hocoygzxdt3joeunr4qllim24bqkuvhh' };
const manifestText = (() => {
  const text = readFileSync(join(quickstartMirror, v3.spec(hello)), 'utf8');
  return text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
})();
const manifest = parseManifest(manifestText, 'hello');
const specText = gunzipSync(
  readFileSync(join(quickstartMirror, v3.blob(`sha256:${manifest.data[1]!.checksum}`))),
).toString();

type Json = { [key: string]: unknown };
interface ManifestJson {
  version: unknown;
  data: Json[];
}
/** The manifest's JSON with something else in it. */
function edited(change: (json: ManifestJson) => unknown): () => string {
  return () => {
    const json: ManifestJson = JSON.parse(manifestText);
    return JSON.stringify(change(json) ?? json);
  };
}
function record(change: Json): () => string {
  return edited((json) => void Object.assign(json.data[0]!, change));
}
/** A mirror whose `hello` has another spec, its checksum and length as they should be. */
const withSpec =
  (bytes: Buffer, more: Json = {}) =>
  (folder: string) => {
    writeBlob(folder, bytes);
    const spec = {
      ...manifest.data[1]!,
      checksum: hexOf(digestOf(bytes)),
      contentLength: bytes.length,
      ...more,
    };
    writeFileSync(
      join(folder, v3.spec(hello)),
      formatManifest({ version: 3, data: [manifest.data[0]!, spec as never] }),
    );
  };
const spec = (change: (nodes: Json[]) => unknown) => {
  const json = JSON.parse(specText) as { spec: { nodes: Json[] } };
  json.spec.nodes = (change(json.spec.nodes) as Json[] | undefined) ?? json.spec.nodes;
  return withSpec(gzipSync(JSON.stringify(json)));
};
const typeless = record({ mediaType: 'text/plain' });
function writeBlob(folder: string, bytes: Buffer): string {
  const file = join(folder, v3.blob(digestOf(bytes)));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return hexOf(digestOf(bytes));
}

describe('a forged manifest is refused: ', () => {
  const forged: readonly (readonly [what: string, text: () => string, message: RegExp])[] = [
    ['no JSON', () => 'hello', /not JSON/],
    ['half of it', () => manifestText.slice(0, 100), /not JSON/],
    ['nothing but brackets', () => '['.repeat(500_000), /not JSON|no JSON object/],
    ['a list', () => '[]', /layout version/],
    ['null', () => 'null', /no JSON object/],
    ['no blobs', edited((json) => void (json.data = [])), /lists no blobs/],
    ['blobs that are none', edited((json) => ({ ...json, data: [null] })), /blob 0 .* no object/],
    ['a negative length', record({ contentLength: -1 }), /no valid contentLength/],
    ['a length that is no whole number', record({ contentLength: 1.5 }), /no valid contentLength/],
    ['a length beyond all numbers', record({ contentLength: 1e300 }), /no valid contentLength/],
    ['a checksum that is a path', record({ checksum: '../../../etc/passwd' }), /no valid sha256/],
    ['a checksum in upper case', record({ checksum: 'A'.repeat(64) }), /no valid sha256/],
    ['another algorithm', record({ checksumAlgorithm: 'md5' }), /unknown checksum algorithm "md5"/],
    ['another compression', record({ compression: 'zstd' }), /unknown compression "zstd"/],
    ['no media type', record({ mediaType: 7 }), /no mediaType/],
    ['no tarball', typeless, /no blob of type/],
    ['a megabyte of it', () => `${manifestText}${' '.repeat(1 << 20)}`, /larger than/],
  ];
  it.each(forged)('%s', async (_, text, message) => {
    const folder = copyOf(quickstartMirror);
    writeFileSync(join(folder, v3.spec(hello)), text());
    const mirror = await openV3Mirror(folder);
    await expect(mirror.package(hello)).rejects.toMatchObject({
      name: 'BuildcacheError',
      code: 'manifest',
      kind: 'input',
      message: expect.stringMatching(message),
    });
    // One bad package keeps nobody from looking at the others, but from deleting what it may name.
    const { packages, findings } = await verifyMirror(mirror);
    expect([packages, findings.map((one) => one.code)]).toEqual([9, ['manifest']]);
    const pruned = await mirror.planPrune({ grace: 0 }).then(
      (plan) => plan.blobs.length,
      (error: { code: string }) => error.code,
    );
    // What it says that it names stays, where that can be read at all.
    expect(pruned).toBe(text === typeless ? 0 : 'manifest');
  });
});

describe('a forged spec is refused: ', () => {
  it.each([
    ['no gzip', withSpec(Buffer.from('hello')), 'compression'],
    ['a gzip bomb', withSpec(gzipSync(Buffer.alloc(100 << 20, ' '))), 'compression'],
    ['no JSON', withSpec(gzipSync('{')), 'spec'],
    ['no nodes', spec(() => []), 'spec'],
    ['nodes that are none', spec(() => [null]), 'spec'],
    ['a node without a name', spec((nodes) => void delete nodes[0]!['name']), 'spec'],
    ['a node without a version', spec((nodes) => void delete nodes[0]!['version']), 'spec'],
    ['another package', spec((nodes) => [...nodes].reverse()), 'wrong-package'],
  ] as const)('%s', async (_, forge, code) => {
    const folder = copyOf(quickstartMirror);
    forge(folder);
    const mirror = await openV3Mirror(folder);
    await expect(mirror.package(hello)).rejects.toMatchObject({
      name: 'BuildcacheError',
      code,
      kind: 'input',
    });
    expect((await verifyMirror(mirror)).findings.map((one) => one.code)).toEqual([code]);
    await expect(mirror.updateIndex({ full: true })).rejects.toMatchObject({ code });
  });
});

describe('a forged index', () => {
  const entry = (hash: string, more: Json = {}) => {
    const { nodes } = (JSON.parse(specText) as { spec: { nodes: Json[] } }).spec;
    return { [hash]: { spec: { ...nodes[0], ...more }, ref_count: 0, in_buildcache: true } };
  };
  const index = (installs: Json) => JSON.stringify({ database: { version: '8', installs } });
  it.each([
    ['no JSON', 'hello'],
    ['half of it', index(entry(hello.hash)).slice(0, 200)],
    ['something after its end', `${index(entry(hello.hash))}{}`],
    ['no database', '{}'],
    ['a hash that is a path', index(entry('../../../etc/passwd'))],
    ['an entry that is none', '{"database":{"version":"8","installs":{"x":[]}}}'],
    ['a name that is a path', index(entry(hello.hash, { name: '../../x' }))],
    ['nothing but brackets', '['.repeat(100_000)],
  ])('with %s is refused, and written anew when asked', async (_, text) => {
    const folder = copyOf(quickstartMirror);
    const bytes = Buffer.from(text);
    const data = { contentLength: bytes.length, mediaType: databaseType(8), compression: 'none' } as const;
    const checksum = writeBlob(folder, bytes);
    const forged = formatManifest({ version: 3, data: [{ ...data, checksumAlgorithm: 'sha256', checksum }] });
    writeFileSync(join(folder, v3.index), forged);
    const mirror = await openV3Mirror(folder);
    await expect(mirror.index()).rejects.toMatchObject({ name: 'BuildcacheError', kind: 'input' });
    expect((await verifyMirror(mirror)).findings).toMatchObject([{ severity: 'error' }]);
    await mirror.updateIndex({ full: true });
    expect((await verifyMirror(mirror)).findings).toEqual([]);
  });
});

describe('forged keys', () => {
  const publish = (folder: string, key: string, type: string, text: string) => {
    const bytes = Buffer.from(text);
    const checksum = writeBlob(folder, bytes);
    const data = { contentLength: bytes.length, mediaType: type, compression: 'none' } as const;
    mkdirSync(dirname(join(folder, key)), { recursive: true });
    writeFileSync(
      join(folder, key),
      formatManifest({ version: 3, data: [{ ...data, checksumAlgorithm: 'sha256', checksum }] }),
    );
  };
  it.each(['hello', '[]', 'null', '{"keys":7}', '{"keys":'])(
    'an index of keys that is %j is refused',
    async (text) => {
      const folder = copyOf(quickstartMirror);
      publish(folder, v3.keyIndex, mediaType.keyIndex, text);
      await expect((await openV3Mirror(folder)).publishedKeys()).rejects.toMatchObject({
        name: 'BuildcacheError',
        code: 'key',
      });
    },
  );

  it('an index of keys that names paths leads nowhere', async () => {
    const folder = copyOf(quickstartMirror);
    publish(folder, v3.keyIndex, mediaType.keyIndex, '{"keys":{"../../../etc/passwd":{},"__proto__":{}}}');
    expect(await (await openV3Mirror(folder)).publishedKeys()).toHaveLength(1);
  });

  it('a key under the name of another does not count', async () => {
    const folder = temporaryFolder();
    publish(folder, v3.key('A'.repeat(40)), mediaType.key, quickstartKey());
    expect(await (await openV3Mirror(folder)).publishedKeys()).toEqual([]);
  });

  it('a key that is none is refused', async () => {
    const folder = temporaryFolder();
    publish(folder, v3.key('A'.repeat(40)), mediaType.key, 'hello');
    await expect((await openV3Mirror(folder)).publishedKeys()).rejects.toMatchObject({ code: 'key' });
  });
});

it('a v2 spec whose name is a path is refused', async () => {
  const folder = copyOf(v2Mirror);
  const file = readdirSync(join(folder, 'build_cache')).find((name) => name.includes('hello'))!;
  const path = join(folder, 'build_cache', file);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"name":"hello"', '"name":"../../hello"'));
  const to = await openV3Mirror(temporaryFolder());
  const { failed } = await migrateV2(await openStore(folder), to, { policy: { kind: 'unsigned' } });
  expect(failed).toMatchObject([{ error: { name: 'BuildcacheError', code: 'spec' } }]);
});

describe('whatever bytes are changed', () => {
  /** A text with some of its bytes replaced, added and left out. */
  const damaged = (text: string) =>
    fc
      .array(fc.tuple(fc.nat(text.length), fc.nat(4), fc.string({ unit: 'binary', maxLength: 4 })), {
        minLength: 1,
        maxLength: 4,
      })
      .map((edits) =>
        edits.reduce((all, [at, gone, put]) => all.slice(0, at) + put + all.slice(at + gone), text),
      );
  const ours = (error: unknown) => {
    if ((error as Error).name !== 'BuildcacheError') throw error;
  };

  it('a manifest is read or refused', () => {
    fc.assert(
      fc.property(damaged(manifestText), (text) => {
        try {
          for (const { checksum } of parseManifest(text, 'x').data)
            expect(checksum).toMatch(/^[0-9a-f]{64}$/);
        } catch (error) {
          ours(error);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('a spec is read or refused', () => {
    fc.assert(
      fc.property(damaged(specText), (text) => {
        try {
          parseSpecDocument(text, 'x');
        } catch (error) {
          ours(error);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('a signed manifest is never taken for what the key has not signed', async () => {
    const folder = copyOf(quickstartMirror);
    const file = join(folder, v3.spec(hello));
    const text = readFileSync(file, 'utf8');
    const trust = await trustOf({ keys: [{ text: quickstartKey(), from: 'key' }] });
    const mirror = (await openV3Mirror(folder)).withPolicy({ kind: 'trusted', trust });
    const { tarball, spec } = (await mirror.package(hello)).manifest;
    await fc.assert(
      fc.asyncProperty(damaged(text), async (changed) => {
        writeFileSync(file, changed);
        const found = await mirror.package(hello).catch(ours);
        if (found)
          expect({ tarball: found.manifest.tarball, spec: found.manifest.spec }).toEqual({ tarball, spec });
      }),
      { numRuns: 150 },
    );
  });

  it('a tarball is unpacked as it was or not at all', async () => {
    const folder = copyOf(quickstartMirror);
    const mirror = await openV3Mirror(folder);
    const { tarball } = (await mirror.package(hello)).manifest;
    const file = join(folder, v3.blob(tarball.digest));
    const bytes = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const changed = Buffer.from(bytes);
        changed[at]! ^= by;
        writeFileSync(file, changed);
        const to = temporaryFolder();
        expect(await pullPackage(mirror, hello, { to }).catch(ours)).toBeUndefined();
        expect(readdirSync(to)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
