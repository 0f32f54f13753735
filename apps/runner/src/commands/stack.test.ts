import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../main.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stack-'));
});
afterEach(() => rm(folder, { recursive: true }));

const manifest = (text: string) => writeFile(join(folder, 'spack.yaml'), text);

/** Runs a command and keeps what it prints. */
async function run(args: readonly string[], input = '') {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const code = await main(args, { stdout, stderr, stdin: Readable.from([input]), env: { HOME: '/root' } });
  return { code, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}
const here = ['--platform', 'linux', '--os', 'debian12', '--target', 'zen2'];

describe('stackwright spec', () => {
  it('prints the canonical form of each argument', async () => {
    expect(await run(['spec', 'zlib @1.2 ~a+b', 'x os=default_os', ...here])).toEqual({
      code: 0,
      out: 'zlib@1.2~a+b\nx platform=linux os=debian12\n',
      err: '',
    });
  });

  it('reads lines, and says of each why it is refused', async () => {
    const { code, out } = await run(['spec', '--stdin', '--json'], 'zlib\n\nfoo bar\n');
    expect(code).toBe(2);
    expect(JSON.parse(out)).toEqual([
      { input: 'zlib', spec: 'zlib' },
      { input: '', spec: '' },
      { input: 'foo bar', error: { message: expect.stringContaining('Unexpected "bar"'), position: 4 } },
    ]);
  });
});

describe('stackwright specs', () => {
  it('prints the roots, all or of one group', async () => {
    await manifest('spack: {specs: [zlib, {group: a, specs: [{matrix: [[x], ["@1:", +b]]}]}]}');
    const { code, out } = await run(['specs', folder, '--json', ...here]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      specs: [
        { spec: 'zlib', group: 'default' },
        { spec: 'x@1:', group: 'a' },
        { spec: 'x+b', group: 'a' },
      ],
    });
    expect((await run(['specs', folder, '--group', 'a'])).out).toBe('x@1:\nx+b\n');
    expect((await run(['specs', folder, '--group', 'b'])).code).toBe(2);
  });

  it('prints specs as Spack 0.23 did when asked to', async () => {
    await manifest("spack: {specs: ['zlib%gcc target=zen2']}");
    expect((await run(['specs', folder, '--spack', '0.23'])).out).toBe('zlib%gcc arch=None-None-zen2\n');
    expect((await run(['specs', folder, '--spack', '1.1'])).out).toBe('zlib %gcc target=zen2\n');
  });

  it('prints nothing of a stack that is wrong', async () => {
    await manifest('spack:\n  specs:\n  - zlib\n  - $nope\n');
    const { code, out, err } = await run(['specs', folder]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(`${folder}/spack.yaml:4:5: "$nope" refers to a definition that is not there.`);
  });
});

describe('stackwright check', () => {
  it('prints all findings with their places', async () => {
    await manifest('spack:\n  specs: [zlib, $a]\n  concretization: together\n  veiw: false\n');
    const { code, out } = await run(['check', folder]);
    expect(code).toBe(2);
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => line.slice(folder.length + 1)),
    ).toEqual([
      'spack.yaml:3:3: note: "concretization: together" is now "concretizer: unify: true".',
      'spack.yaml:4:3: warning: Unknown key "veiw" in "spack". Did you mean "view"?',
      'spack.yaml:2:17: error: "$a" refers to a definition that is not there. Nothing is defined.',
    ]);
  });

  it('compares the lock beside the manifest', async () => {
    await manifest('spack: {specs: [zlib, tcl]}');
    const lock = {
      _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6 },
      roots: [
        { hash: 'a', spec: 'zlib' },
        { hash: 'a', spec: 'hdf5' },
      ],
      concrete_specs: { a: { name: 'zlib', version: '1.3' } },
    };
    await writeFile(join(folder, 'spack.lock'), JSON.stringify(lock));
    const { code, out } = await run(['check', folder]);
    expect(code).toBe(0);
    expect(out).toContain('spack.yaml:1:23: warning: "tcl" is not in spack.lock.');
    expect(out).toContain('spack.lock still has "hdf5"');
    await writeFile(join(folder, 'spack.lock'), '{');
    expect((await run(['check', folder])).code).toBe(2);
  });

  it('is content with a stack that is right, and tells of one that is not there', async () => {
    await manifest('spack: {specs: [zlib]}');
    expect((await run(['check', folder])).code).toBe(0);
    expect(JSON.parse((await run(['check', folder, '--json'])).out)).toEqual({ findings: [] });
    await mkdir(join(folder, 'empty'));
    expect((await run(['check', join(folder, 'empty')])).code).toBe(2);
  });
});

describe('stackwright upgrade', () => {
  const old = '# mine\nspack:\n  specs: [zlib]\n  concretization: together\n';

  it('prints the new form, and writes it only when told to', async () => {
    await manifest(old);
    const { code, out, err } = await run(['upgrade', folder]);
    expect(code).toBe(0);
    expect(out).toBe('# mine\nspack:\n  specs: [zlib]\n  concretizer:\n    unify: true\n');
    expect(err).toContain('spack.yaml:4:3:');
    expect(await readFile(join(folder, 'spack.yaml'), 'utf8')).toBe(old);
    await run(['upgrade', folder, '--write']);
    expect(await readFile(join(folder, 'spack.yaml'), 'utf8')).toBe(out);
    expect((await run(['upgrade', folder, '--write'])).err).toContain('is in the current form');
  });
});
