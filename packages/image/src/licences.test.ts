import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { licenceOf } from './licences.js';

const repository = mkdtempSync(join(tmpdir(), 'recipes-'));
afterAll(() => rmSync(repository, { recursive: true, force: true }));
const recipe = (folder: string, ...lines: string[]) => {
  mkdirSync(join(repository, 'packages', folder), { recursive: true });
  writeFileSync(
    join(repository, 'packages', folder, 'package.py'),
    `class A(Package):\n    ${lines.join('\n    ')}\n`,
  );
};

describe('the licence of a recipe', () => {
  it.each([
    ['MIT', ['license("MIT")']],
    ['GPL-3.0-or-later WITH GCC-exception-3.1', ['license("GPL-3.0-or-later WITH GCC-exception-3.1")']],
    ['Apache-2.0 OR MIT', ['license("Apache-2.0 OR MIT", checked_by="somebody")']],
    [undefined, ['license("MIT", when="@2:")']],
    [undefined, ['license("MIT", when="@2:")', 'license("BSD-3-Clause", when="@:1")']],
    [undefined, ['license("UNKNOWN, see the file")']],
    [undefined, ['# license("MIT")']],
    [undefined, ['version("1")']],
  ])('is %s', async (expected, lines) => {
    recipe('made_package', ...lines);
    expect(await licenceOf([repository], 'made-package')).toBe(expected);
  });

  it('is looked for under the names that Spack gives folders, in the first repository that has the package', async () => {
    recipe('_7zip', 'license("LGPL-2.1-only")');
    recipe('old-name', 'license("Zlib")');
    expect(await licenceOf(['/nowhere', repository], '7zip')).toBe('LGPL-2.1-only');
    expect(await licenceOf([repository], 'old-name')).toBe('Zlib');
    expect(await licenceOf([repository], 'none')).toBeUndefined();
  });
});
