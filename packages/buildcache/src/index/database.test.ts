import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseManifest } from '../index.js';
import { parseSpecDocument } from '../spec-document.js';
import { madeHash } from '../testing.js';
import { databaseBatches, entryState, parseEntry } from './database.js';

const read = async (text: string | Buffer, step = 1 << 20) => {
  const bytes = Buffer.from(text);
  const source = (async function* () {
    for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
  })();
  const found: { hash: string; text: string }[] = [];
  for await (const entries of databaseBatches(source, 'index')) {
    for (const entry of entries) {
      found.push({ hash: entry.hash, text: entry.bytes.toString('utf8') });
      const { refCount, inBuildcache } = parseEntry(entry, 'index');
      expect(entryState(entry, 'index')).toMatchObject({ refCount, inBuildcache });
    }
  }
  return found;
};
const note = 'a "quoted" } { \\ brace é,"ref_count":7,"in_buildcache":false},';
const entry = (name: string) => ({
  spec: { name, version: '1.0', parameters: { note }, hash: madeHash(name) },
  ref_count: name.length,
  in_buildcache: name.length < 4,
});
const database = (names: readonly string[], extra: object = {}) => ({
  database: {
    version: '8',
    ...extra,
    installs: Object.fromEntries(names.map((one) => [madeHash(one), entry(one)])),
  },
});

describe('the entries of an index', () => {
  it('come as the bytes that they are, however the stream is cut and the JSON is spaced', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.stringMatching(/^\w[\w-]{0,5}$/), { maxLength: 8, selector: madeHash }),
        fc.integer({ min: 1, max: 700 }),
        fc.constantFrom(undefined, 2),
        async (names, step, indent) => {
          const found = await read(
            JSON.stringify(database(names, { other: { installs: [{}, '}'] } }), null, indent),
            step,
          );
          expect(found.map((one) => one.hash).sort()).toEqual(names.map(madeHash).sort());
          for (const one of found) expect(JSON.parse(one.text).spec.hash).toBe(one.hash);
        },
      ),
      { numRuns: 60 },
    );
  });

  const good = JSON.stringify(database(['a', 'b']));
  it.each<[string, string]>([
    ['empty', ''],
    ['no JSON', 'hello'],
    ['a list', '[]'],
    ['another document', '{"keys":{}}'],
    ['cut off', good.slice(0, -40)],
    ['without its end', good.slice(0, -1)],
    ['with more after its end', `${good}{}`],
    ['with too many brackets', `${good}}`],
    ['a hash that is none', good.replace(madeHash('a'), '../../etc/passwd')],
    ['an entry that is no object', good.replace(/\{"spec".*?true\}/, '["x"]')],
    ['an entry without a spec', good.replace(/"spec":\{.*?\}\s*,"hash".*?\}/, '"spec":null')],
  ])('%s: refused as a broken index', async (_, text) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'index', kind: 'input' });
  });

  it('any bytes at all: entries or an error of ours', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), fc.nat(good.length), async (noise, at) => {
        const text = good.slice(0, at) + noise + good.slice(at);
        await read(text).catch((error: unknown) => expect((error as Error).name).toBe('BuildcacheError'));
      }),
      { numRuns: 300 },
    );
  });
});

describe('a forged manifest', () => {
  const record = {
    contentLength: 1,
    mediaType: 'x',
    compression: 'gzip',
    checksumAlgorithm: 'sha256',
    checksum: 'a'.repeat(64),
  };
  it.each<[string, unknown]>([
    ['no object', []],
    ['another version', { version: 4, data: [record] }],
    ['no blobs', { version: 3, data: [] }],
    ['a blob that is no object', { version: 3, data: ['x'] }],
    ['a negative length', { version: 3, data: [{ ...record, contentLength: -1 }] }],
    ['a fractional length', { version: 3, data: [{ ...record, contentLength: 1.5 }] }],
    ['a length as text', { version: 3, data: [{ ...record, contentLength: '1' }] }],
    ['another hash', { version: 3, data: [{ ...record, checksumAlgorithm: 'md5' }] }],
    ['a checksum that is a path', { version: 3, data: [{ ...record, checksum: '../../../../etc/passwd' }] }],
    ['another compression', { version: 3, data: [{ ...record, compression: 'lzma' }] }],
    ['no media type', { version: 3, data: [{ ...record, mediaType: undefined }] }],
  ])('%s: refused, saying where', (_, json) => {
    expect(() => parseManifest(JSON.stringify(json), 'hello@2.0')).toThrow(/^hello@2\.0: /);
  });

  it('any JSON at all: a manifest or an error of ours', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        for (const parse of [parseManifest, parseSpecDocument]) {
          try {
            parse(text, 'x');
          } catch (error) {
            expect((error as Error).name).toBe('BuildcacheError');
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
