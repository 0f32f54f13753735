import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { noticesOf } from '../notices.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const runner = join(root, 'apps/runner');
const published = ['packages', 'apps']
  .flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(folder, name)))
  .filter((folder) => !JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).private);

/** What npm would put into a package's tarball. */
function packed(folder: string): string[] {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: join(root, folder),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(out)[0].files.map(({ path }: { path: string }) => path);
}

describe('the tarball of', () => {
  it.each(published)('%s has its licence', (folder) => {
    expect(packed(folder)).toContain('LICENSE');
    expect(readFileSync(join(root, folder, 'LICENSE'), 'utf8')).toMatch(/MIT[\s\S]*Apache License/);
  });
});

const built = existsSync(join(runner, 'THIRD-PARTY-NOTICES.txt'));
describe.skipIf(!built)(`the bundle${built ? '' : ' (skipped: not built; run "npm run build")'}`, () => {
  it('brings the notices of all that it holds', () => {
    expect(packed('apps/runner')).toContain('THIRD-PARTY-NOTICES.txt');
    const text = readFileSync(join(runner, 'THIRD-PARTY-NOTICES.txt'), 'utf8');
    for (const name of ['undici', 'yaml', 'commander', '@aws-sdk/client-s3'])
      expect(text).toMatch(new RegExp(`^${name}@\\d.*\nLicence: `, 'm'));
    expect(text).not.toMatch(/^Licence: .*GPL/m);
  });

  it('does not hold OpenPGP.js, which whoever has it may replace (LGPL)', () => {
    const texts = readdirSync(join(runner, 'bundle')).map((name) =>
      readFileSync(join(runner, 'bundle', name), 'utf8'),
    );
    expect(texts.join('\n')).toMatch(/import\("openpgp"\)/);
    expect(texts.join('\n')).not.toMatch(/LGPL|GNU Lesser General Public/i);
    const { dependencies } = JSON.parse(readFileSync(join(runner, 'package.json'), 'utf8'));
    const library = JSON.parse(readFileSync(join(root, 'packages/buildcache/package.json'), 'utf8'));
    expect(dependencies.openpgp).toBe(library.dependencies.openpgp);
  });
});

it.each(['LGPL-3.0+', 'GPL-2.0-only', 'MIT AND GPL-3.0', undefined])(
  'a package with the licence %s cannot be bundled',
  (license) => {
    const folder = mkdtempSync(join(tmpdir(), 'notices-'));
    const at = join(folder, 'node_modules/x');
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, 'package.json'), JSON.stringify({ name: 'x', version: '1.0.0', license }));
    expect(() => noticesOf([join(at, 'index.js')])).toThrow(
      /x@1\.0\.0 has the licence .*outside of the bundle/,
    );
    writeFileSync(
      join(at, 'package.json'),
      JSON.stringify({ name: 'x', version: '1.0.0', license: '(MIT OR GPL-3.0)' }),
    );
    expect(noticesOf([join(at, 'index.js')])).toContain('x@1.0.0\nLicence: (MIT OR GPL-3.0)');
    rmSync(folder, { recursive: true });
  },
);
