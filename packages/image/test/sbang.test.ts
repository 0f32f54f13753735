import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleImage, type PackageBlob, Staging, writeLayout } from '../src/index.js';
import { sbang } from '../src/sbang.js';
import { MadeTree } from './made.js';
import { has, hostBase, runImage } from './quickstart.js';

const work = mkdtempSync(join(tmpdir(), 'sbang-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const tree = new MadeTree(work);
const staging = () => Staging.open(mkdtempSync(join(work, 'staging-')));

/** Interpreters of this machine that scripts of the test are written in, and what a script prints with each. */
const languages = [
  { name: 'sh', file: '/bin/sh', options: '-e', text: 'echo "sh says $1"\n' },
  { name: 'perl', file: '/usr/bin/perl', options: '-w', text: 'print "perl says $ARGV[0]\\n";\n' },
  {
    name: 'python3',
    file: '/usr/bin/python3',
    options: '-S',
    text: 'import sys\nprint("python3 says", sys.argv[1])\n',
  },
].filter(({ file }) => existsSync(file));

describe('sbang', () => {
  const script = (second: string, body: string) => {
    const path = join(work, `script-${Math.random().toString(36).slice(2)}`);
    writeFileSync(path, `#!/bin/sh ${join(work, 'sbang')}\n${second}\n${body}`);
    return path;
  };
  const run = (path: string, ...args: string[]) =>
    execFileSync('/bin/sh', [join(work, 'sbang'), path, ...args], { encoding: 'utf8' });
  beforeAll(() => writeFileSync(join(work, 'sbang'), sbang));

  it('starts the interpreter of the second line with the arguments as they are', () => {
    const path = script('#!/bin/sh -e', 'printf "%s|" "$@"');
    expect(run(path, 'a b', '*', '', '-x')).toBe('a b|*||-x|');
  });

  it.each([
    ['env', '#!/usr/bin/env sh'],
    ['spaces', '#!  /bin/sh'],
    ["Lua's comment", '--!/bin/cat'],
    ["Node's comment", '//!/bin/cat'],
    ["PHP's first line", '<?php #!/bin/cat ?>'],
  ])('understands %s', (_, second) => expect(run(script(second, 'echo works\n'))).toContain('works'));

  it.skipIf(!existsSync('/usr/bin/perl'))('does not come back from Perl', () =>
    expect(run(script('#!/usr/bin/perl -w', 'print "perl @ARGV\\n"'), 'a')).toBe('perl a\n'),
  );

  it.each(['', 'no interpreter', '#!', '#! -x'])('refuses a second line %j', (second) => {
    expect(() => run(script(second, ''))).toThrow(/names no interpreter/);
  });

  it('refuses what is no file', () => expect(() => run(join(work, 'nowhere'))).toThrow(/no script/));
});

/** Where Python's own modules are, without which it does not start. */
const pythonFolder = () =>
  execFileSync('/usr/bin/python3', ['-c', 'import os; print(os.path.dirname(os.__file__))'], {
    encoding: 'utf8',
  }).trim();

describe('scripts under sbang', () => {
  let packages: PackageBlob[];
  beforeAll(async () => {
    const at = (name: string) => `${tree.prefix('interpreters')}/bin/${name}`;
    packages = await tree.push([
      {
        name: 'interpreters',
        files: Object.fromEntries(
          languages.map(({ name, file }) => [`bin/${name}`, { program: readFileSync(file) }]),
        ),
      },
      {
        name: 'scripts',
        needs: ['interpreters'],
        files: Object.fromEntries(
          languages.map(({ name, options, text }) => [
            `bin/say-${name}`,
            { program: `#!/bin/sh ${tree.sbang}\n#!${at(name)} ${options}\n${text}` },
          ]),
        ),
      },
      { name: 'plain', files: { 'bin/plain': { program: '#!/bin/sh\n' } } },
    ]);
  });

  it('bring sbang into the image in one small layer; others do not', async () => {
    const image = await assembleImage({ packages, staging: await staging() });
    expect(image.layers).toHaveLength(packages.length + 1);
    expect(image.layers.at(-1)?.descriptor.size).toBeLessThan(2000);
    const without = await assembleImage({ packages: packages.slice(2), staging: await staging() });
    expect(without.layers).toHaveLength(1);
  });

  it.skipIf(!has('runc', 'umoci'))(
    'run in a container, in a padded tree and moved (skipped without runc and umoci: apt-get install runc umoci)',
    async () => {
      const base = await hostBase(join(work, 'base'), {
        more: languages.map(({ file }) => file),
        folders: languages.some(({ name }) => name === 'python3') ? [pythonFolder()] : [],
      });
      for (const installRoot of [undefined, '/opt/sw']) {
        const image = await assembleImage({
          packages,
          base,
          installRoot,
          staging: await staging(),
          settings: { env: { PYTHONHOME: '/usr' } },
        });
        const layout = join(work, `layout-${installRoot ? 'moved' : 'padded'}`);
        await writeLayout(image, layout, 'latest');
        for (const { name } of languages)
          expect(runImage(layout, 'latest', [`say-${name}`, 'hello'])).toBe(`${name} says hello\n`);
      }
    },
    120_000,
  );
});
