import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readStackSettings } from './stack-settings.js';

const folder = mkdtempSync(join(tmpdir(), 'settings-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const read = (text: string) => {
  writeFileSync(join(folder, 'stackwright.yaml'), text);
  return readStackSettings(folder);
};

describe('stackwright.yaml', () => {
  it('need not be there', async () => {
    expect(await readStackSettings(join(folder, 'nowhere'))).toEqual({
      trust: [],
      image: {},
      failures: {},
    });
  });
  it('gives keys and the image', async () => {
    const settings = await read('trust: [a.pub]\nimage:\n  base: scratch\n  command: [hello]\n');
    expect(settings).toEqual({
      trust: ['a.pub'],
      image: { base: 'scratch', command: ['hello'] },
      failures: {},
    });
  });
  it('gives kinds of failures', async () => {
    const text =
      'failures:\n  licence: { match: "FLEXlm|no licence", retries: 3 }\n  fetch: { retries: 9 }\n';
    expect((await read(text)).failures).toEqual({
      licence: { match: 'FLEXlm|no licence', retries: 3 },
      fetch: { retries: 9 },
    });
  });
  it.each([
    ['an unknown key', 'trust: []\nimgae: {}\n', /stackwright\.yaml:2:1: the file knows no "imgae"/],
    [
      'a wrong type',
      'image:\n  command: hello\n',
      /stackwright\.yaml:2:12: command has to be a list of texts/,
    ],
    [
      'an unknown kind',
      'image:\n  kind: mirrors\n',
      /stackwright\.yaml:2:9: kind has to be software or mirror/,
    ],
    ['a pattern that is none', 'failures:\n  a: { match: "(" }\n', /:2:15: match has to be a regular/],
    ['a count that is none', 'failures:\n  a: { retries: -1 }\n', /:2:17: retries has to be a whole/],
    ['a flag that is none', 'failures:\n  a: { fewerJobs: 1 }\n', /:2:19: fewerJobs has to be true/],
    [
      'a flag that is none',
      'image:\n  check: maybe\n',
      /stackwright\.yaml:2:10: check has to be true or false/,
    ],
    ['a view that is none', 'image:\n  view: 1\n', /:2:9: view has to be a text, true or false/],
    ['files that are no list', 'image:\n  files: {}\n', /:2:10: files has to be a list/],
    [
      'an unknown key of a file',
      'image:\n  files:\n    - paht: /x\n',
      /:3:7: an item of files knows no "paht"; did you mean "path"/,
    ],
    ['a number in words', 'image:\n  users: [{ name: a, uid: one }]\n', /uid has to be a number/],
    ['broken YAML', 'trust: [\n', /stackwright\.yaml:\d+:\d+: /],
    ['a name of Object', 'constructor: 1\n', /knows no "constructor"/],
  ])('refuses %s with its position', async (_name, text, message) => {
    await expect(read(text)).rejects.toThrow(message);
  });
  it('names every wrong place at once', async () => {
    await expect(read('a: 1\nb: 2\n')).rejects.toThrow(/:1:1: .*\n.*:2:1: /);
  });
});
