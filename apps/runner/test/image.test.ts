import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageLayout, readImage } from '@stackwright/oci';
import { has, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';
import { oneLayerImage } from './one-layer-image.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'image-command-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const registryMissing = !has('docker-registry');
const build = (...more: string[]) =>
  call(['image', 'build', quickstart, '--work', join(folder, 'work'), ...more], {
    env: { HOME: folder },
    cwd: folder,
  });

/** A base with nothing but a file at `/bin/sh`. */
async function hostShell(to: string): Promise<string> {
  const tar = execFileSync('tar', ['--dereference', '-cPf', '-', '--transform=s,^/,,', '/bin/sh']);
  await oneLayerImage(to, 'amd64', tar);
  return to;
}

describe('stackwright image', () => {
  it('builds several outputs of one image, with its bill of materials', async () => {
    const { code, stdout } = await build(
      '-o',
      'oci:layout:v1',
      '-o',
      'docker-archive:image.tar',
      '--sbom',
      'sbom.json',
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(existsSync(join(folder, 'image.tar'))).toBe(true);
    expect(JSON.parse(readFileSync(join(folder, 'sbom.json'), 'utf8')).packages).toHaveLength(9);
    const shown = await call(['image', 'inspect', 'oci:layout:v1', '--json'], { cwd: folder });
    expect(JSON.parse(shown.stdout).digest).toBe(stdout.trim());
  });

  it.skipIf(!existsSync(cli))(
    'is whole after three processes built it at once, in each of four rounds (skipped where nothing is built: tsc --build)',
    async () => {
      const stacks = ['one', 'two', 'three'];
      for (let round = 0; round < 4; round += 1) {
        const label = `round=${round}`;
        const codes = stacks.map((tag) => {
          const args = [cli, 'image', 'build', quickstart, '-o', `oci:busy:${tag}`, '--label', label];
          const work = ['--work', join(folder, `work-${tag}`), '--label', `of=${tag}`];
          const child = spawn(process.execPath, [...args, ...work], { cwd: folder, stdio: 'ignore' });
          return new Promise((done) => child.on('close', done));
        });
        expect(await Promise.all(codes)).toEqual([0, 0, 0]);
        const layout = await ImageLayout.open(join(folder, 'busy'));
        expect((await layout.tags()).sort()).toEqual([...stacks].sort());
        for (const tag of stacks) {
          const { manifest, config } = await readImage(layout, tag);
          expect(config.config?.Labels).toMatchObject({ of: tag, round: String(round) });
          for (const layer of manifest.layers) for await (const _ of await layout.blob(layer));
        }
      }
    },
    120_000,
  );

  it('takes command and labels from the command line', async () => {
    await build('-o', 'oci:named', '--command', 'hello-static you', '--label', 'a=b');
    const { config } = JSON.parse(
      (await call(['image', 'inspect', 'oci:named', '--json'], { cwd: folder })).stdout,
    );
    expect(config.config.Cmd).toEqual(['hello-static', 'you']);
    expect(config.config.Labels).toMatchObject({
      a: 'b',
      'org.opencontainers.image.title': 'Stackwright quickstart',
    });
  });

  it('has a view of the programs, or none', async () => {
    const envOf = async (name: string, ...more: string[]) => {
      expect((await build('-o', `oci:${name}`, ...more)).code).toBe(0);
      const { stdout } = await call(['image', 'inspect', `oci:${name}`, '--json'], { cwd: folder });
      return JSON.parse(stdout).config.config.Env as string[];
    };
    const base = ['--base', `oci:${await hostShell(join(folder, 'shell'))}`];
    expect(await envOf('viewed', ...base)).toContainEqual(
      expect.stringMatching(/^PATH=\/opt\/view\/bin:\/usr/),
    );
    expect(await envOf('elsewhere', '--view', '/view')).toContainEqual(
      expect.stringMatching(/^PATH=\/view\/bin:/),
    );
    expect(await envOf('plain', '--no-view', ...base)).toContainEqual(
      expect.stringMatching(/^PATH=\/opt\/quickstart/),
    );
  });

  it('says what it was built on and when, and so does its bill of materials', async () => {
    const base = await hostShell(join(folder, 'shell'));
    const made = await call(
      ['image', 'build', quickstart, '-o', 'oci:told', '--base', `oci:${base}`, '--sbom', 'told.json'],
      { env: { HOME: folder, SOURCE_DATE_EPOCH: '1700000000' }, cwd: folder },
    );
    const shown = await call(['image', 'inspect', 'oci:told', '--json'], { cwd: folder });
    const { config } = JSON.parse(shown.stdout);
    const digest = (await (await ImageLayout.open(base)).manifest('latest'))?.descriptor.digest;
    expect(config.created).toBe('2023-11-14T22:13:20Z');
    expect(config.config.Labels['org.opencontainers.image.base.digest']).toBe(digest);
    const bill = JSON.parse(readFileSync(join(folder, 'told.json'), 'utf8'));
    expect(bill.creationInfo.created).toBe(config.created);
    const [image, below] = bill.packages;
    expect([`sha256:${image.checksums[0].checksumValue}`, below.versionInfo]).toEqual([
      made.stdout.trim(),
      digest,
    ]);
    const wrong = await call(['image', 'build', quickstart], {
      env: { SOURCE_DATE_EPOCH: 'now' },
      cwd: folder,
    });
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('SOURCE_DATE_EPOCH is "now"') });
  });

  it('of a mirror has no command of the software', async () => {
    expect((await build('-o', 'oci:of-mirror', '--kind', 'mirror')).code).toBe(0);
    const shown = await call(['image', 'inspect', 'oci:of-mirror', '--json'], { cwd: folder });
    expect(JSON.parse(shown.stdout).config.config.Cmd).toBeUndefined();
  });

  it('starts a shell where neither stack nor base say what to run', async () => {
    const base = await hostShell(join(folder, 'shell'));
    const args = ['--kind', 'mirror', '--base', `oci:${base}`];
    expect((await build('-o', 'oci:with-shell', ...args)).code).toBe(0);
    const shown = await call(['image', 'inspect', 'oci:with-shell', '--json'], { cwd: folder });
    expect(JSON.parse(shown.stdout).config.config.Cmd).toEqual(['/bin/sh']);
  });

  it.each([
    ['an output that is none', ['-o', 'BAD/x'], /not an image reference/],
    ['a base that is not there', ['--base', 'oci:nowhere'], /not an OCI image layout/],
    ['a label without a value', ['--label', 'x'], /is no label/],
    ['a mirror that is empty', ['--mirror', 'empty'], /lacks 8 of the image's 8 packages/],
  ])('refuses %s and writes nothing', async (_name, args, message) => {
    const { code, stderr } = await build('-o', 'oci:refused', ...args);
    expect([2, 3]).toContain(code);
    expect(stderr).toMatch(message);
    expect(existsSync(join(folder, 'refused'))).toBe(false);
  });
});

describe('an image whose programs could not start', () => {
  const strict = join(folder, 'strict');
  beforeAll(() => {
    cpSync(quickstart, strict, { recursive: true });
    const file = join(strict, 'stackwright.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace('check: false', 'check: true'));
  });
  const make = (...more: string[]) =>
    call(['image', 'build', strict, '--work', join(folder, 'work'), '-o', 'oci:strict-image', ...more], {
      env: { HOME: folder },
      cwd: folder,
    });

  it('is refused, and nothing is written', async () => {
    const { code, stderr } = await make();
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /chorus@\S+: \S+\/bin\/chorus needs the library libc\.so\.6, which the image lacks/,
    );
    expect(stderr).toContain('--no-check');
    expect(existsSync(join(folder, 'strict-image'))).toBe(false);
  });

  it('is made with --no-check, and found by image test', async () => {
    expect((await make('--no-check')).code).toBe(0);
    const test = (...more: string[]) =>
      call(['image', 'test', 'oci:strict-image', ...more], { env: { HOME: folder }, cwd: folder });
    const { code, stderr } = await test();
    expect([code, stderr]).toEqual([2, expect.stringContaining('needs the library libc.so.6')]);
    const { missing } = JSON.parse((await test('--json')).stdout);
    const names = [...new Set<string>(missing.map(({ name }: { name: string }) => name))];
    const given = await test(...names.flatMap((name) => ['--host-provides', name]));
    expect([given.code, given.stdout]).toEqual([0, expect.stringContaining('nothing is missing')]);
  });
});

describe.skipIf(registryMissing)(
  'stackwright image push (skipped without docker-registry: apt-get install docker-registry)',
  () => {
    let registry: Awaited<ReturnType<typeof startRegistry>>;
    let host: string;
    beforeAll(async () => {
      registry = await startRegistry();
      host = registry.host;
    });
    afterAll(() => registry?.stop());

    it('sends each layer once, and an image that is there already costs nothing', async () => {
      const push = (tag: string, scheme = '') =>
        call(
          [
            'image',
            'push',
            quickstart,
            `${scheme}${host}/stacks/quickstart:${tag}`,
            '--work',
            join(folder, 'work'),
          ],
          { env: { HOME: folder }, cwd: folder },
        );
      const first = await push('one');
      expect(first.stderr).toContain('8 of 8 layers sent');
      expect((await push('two')).stderr).toContain('0 of 8 layers sent');
      expect((await push('three', 'oci+http://')).stderr).toContain('0 of 8 layers sent');
      const secure = await push('four', 'oci://');
      expect(secure).toMatchObject({ code: 3, stderr: expect.stringContaining('Write oci+http://') });
      const shown = await call(['image', 'inspect', `${host}/stacks/quickstart:two`], {
        env: { HOME: folder },
        cwd: folder,
      });
      expect(shown.stdout).toContain(first.stdout.trim());
      expect(shown.stdout).toMatch(/^command {2}hello-static$/m);
    });
  },
);
