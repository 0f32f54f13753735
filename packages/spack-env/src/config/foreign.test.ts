import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatFinding, SpackEnvError } from '../error.js';
import { loadEnvironment } from './environment.js';
import { readStackSettings } from './stack-settings.js';

let root: string;
let stack: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'foreign-'));
  stack = join(root, 'stack');
  mkdirSync(stack);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What is said of a stack that includes `path`. */
async function said(path: string): Promise<string> {
  writeFileSync(join(stack, 'spack.yaml'), `spack:\n  include: [${JSON.stringify(path)}]\n  specs: []\n`);
  const { findings } = await loadEnvironment(stack, { env: {}, home: root });
  return findings.map(formatFinding).join('\n');
}

describe('an include reads no', () => {
  it('pipe, and does not wait for one', async () => {
    execFileSync('mkfifo', [join(stack, 'pipe.yaml')]);
    expect(await said('pipe.yaml')).toMatch(/spack\.yaml:2:13: The included pipe\.yaml .* is no plain file/);
  });

  it('pipe in a folder', async () => {
    mkdirSync(join(stack, 'scope'));
    execFileSync('mkfifo', [join(stack, 'scope/config.yaml')]);
    expect(await said('scope')).toMatch(/scope\/config\.yaml is no plain file/);
  });

  it.each(['/dev/zero', '/proc/self/environ', '/proc/self/cmdline', '/sys/kernel/uevent_seqnum'])(
    '%s',
    async (path) => {
      expect(await said(path)).toMatch(/is no plain file or folder that can be read\. Pipes, devices/);
      symlinkSync(path, join(stack, 'link.yaml'));
      expect(await said('link.yaml')).toMatch(/is no plain file or folder/);
    },
  );

  it('socket', async () => {
    const server = createServer().listen(join(stack, 'socket'));
    await new Promise((done) => server.once('listening', done));
    expect(await said('socket')).toMatch(/is no plain file/);
    await new Promise((done) => server.close(done));
  });

  it('file that is too large', async () => {
    writeFileSync(join(stack, 'large.yaml'), '');
    truncateSync(join(stack, 'large.yaml'), 17 * 1024 * 1024);
    expect(await said('large.yaml')).toMatch(/large\.yaml has 17825792 bytes; at most 16777216 are read/);
  });
});

describe('messages quote no text of a file outside of the stack:', () => {
  it.each([
    ['broken YAML', 'api: [hidden-text\n', /:2:1: Broken YAML\. The text is not shown/],
    ['an unknown key', 'hidden-text: 1\n', /:1:1: Unknown key\. The text/],
    ['a text that is no mapping', 'hidden-text\n', /:1:1: A value of the wrong type\. The text/],
    ['a wrong value', 'config: {build_jobs: hidden-text}\n', /:1:22: A value of the wrong type\./],
    [
      'a wrong condition',
      'definitions: [{x: [a], when: "hidden-text"}]\n',
      /This is not what Spack expects here/,
    ],
    ['a key that is there twice', 'hidden-text: 1\nhidden-text: 2\n', /A key is there twice|Unknown key/],
  ])('%s', async (_what, text, expected) => {
    writeFileSync(join(root, 'elsewhere'), text);
    const message = await said('../elsewhere');
    expect(message).toMatch(expected);
    expect(message).not.toMatch(/hidden/);
    // Through a link, too.
    symlinkSync(join(root, 'elsewhere'), join(stack, 'inside.yaml'));
    expect(await said('inside.yaml')).not.toMatch(/hidden/);
  });

  it('a manifest or settings that are links', async () => {
    writeFileSync(join(root, 'elsewhere'), 'hidden-text: [\n');
    symlinkSync(join(root, 'elsewhere'), join(stack, 'spack.yaml'));
    symlinkSync(join(root, 'elsewhere'), join(stack, 'stackwright.yaml'));
    for (const read of [
      () => loadEnvironment(stack, { env: {}, home: root }),
      () => readStackSettings(stack),
    ]) {
      const error = await read().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(SpackEnvError);
      expect(JSON.stringify([(error as Error).message, (error as SpackEnvError).findings])).not.toMatch(
        /hidden/,
      );
    }
  });

  it('but they do quote what is in the working copy of the stack', async () => {
    mkdirSync(join(root, 'copy/.git'), { recursive: true });
    mkdirSync(join(root, 'copy/stack'));
    stack = join(root, 'copy/stack');
    writeFileSync(join(root, 'copy/common.yaml'), 'plain-text: 1\n');
    expect(await said('../common.yaml')).toMatch(/Unknown key "plain-text"/);
  });
});

it('a variable that is withheld is no part of a path, and naming it is an error', async () => {
  writeFileSync(
    join(stack, 'spack.yaml'),
    'spack:\n  specs: []\n  mirrors: {m: "https://h/$HIDDEN/BRACED/$OPEN"}\n  ci: {pipeline-gen: [{any-job: {script: ["$HIDDEN"]}}]}\n'.replace(
      'BRACED',
      ['$', '{HIDDEN}'].join(''),
    ),
  );
  const env = { HIDDEN: 'secret', OPEN: 'open' };
  const { findings, mirrors } = await loadEnvironment(stack, { env, withheld: (name) => name === 'HIDDEN' });
  expect(mirrors[0]?.fetch.url).toBe(['https://h/$HIDDEN/$', '{HIDDEN}/open'].join(''));
  expect(findings.map(({ code, position }) => [code, position?.line, position?.column])).toEqual([
    ['secret-variable', 3, 17],
    ['secret-variable', 3, 17],
  ]);
});
