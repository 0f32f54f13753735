import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RegistryRepository, readImage } from '@stackwright/oci';
import { Spack } from '@stackwright/spack';
import { has, htpasswd, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseImage } from '../../../packages/buildcache/test/base-image.js';
import { hostBase, runImage } from '../../../packages/image/test/quickstart.js';
import { recordInstalled } from '../src/testing.js';
import { call } from './call.js';

const missing = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const hello = 'hocoygzxdt3joeunr4qllim24bqkuvhh';
const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const mirror = join(quickstart, 'mirror');
const trust = ['--trust', join(quickstart, 'keys', 'quickstart.pub')];

describe.skipIf(missing !== '')(`stackwright mirror with a registry${missing}`, () => {
  const cwd = mkdtempSync(join(tmpdir(), 'oci-mirror-'));
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let count = 0;
  const fresh = () => `oci+http://${registry.host}/cache-${++count}`;
  const repository = (url: string) => new RegistryRepository(registry.host, url.split('/').at(-1)!);
  const run = async (...args: string[]) => {
    const result = await call(['mirror', ...args], { cwd, env: { HOME: cwd } });
    process.exitCode = undefined;
    return result;
  };
  const done = { code: 0 };

  beforeAll(async () => {
    registry = await startRegistry();
    await installTree();
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(cwd, { recursive: true, force: true });
  });

  /** The quickstart's packages as if Spack had installed them in the folder `tree`. */
  async function installTree() {
    const pulled = await run('pull', mirror, '--to', 'tree', ...trust, '--json');
    const { packages } = JSON.parse(pulled.stdout);
    await recordInstalled(join(cwd, 'tree'), mirror, packages, (prefix) => /\/hello-2/.test(prefix));
  }

  it('copies, lists, verifies, pulls, indexes, signs on the way back', async () => {
    const url = fresh();
    expect(await run('copy', mirror, url, ...trust)).toMatchObject(done);
    expect((await run('list', url)).stdout).toMatch(/^chorus@1\.1 +\/mzh2ynz\n/);
    expect((await run('list', url, 'hello@2:', '--long')).stdout).toMatch(
      /^hocoygz.* hello@2\.0 .*arch=linux/,
    );
    expect(await run('verify', url, '--unsigned')).toMatchObject({ code: 0, stdout: '' });
    expect(await run('verify', url, ...trust)).toMatchObject({ code: 0, stdout: '' });
    const pulled = await run('pull', url, 'hello', '--to', 'pulled', ...trust, '--json');
    expect(JSON.parse(pulled.stdout).packages).toHaveLength(3);
    expect((await run('index', url)).stderr).toContain('9 packages in the index, 0 new');
    await call(['key', 'create', 'Notary', '-o', 'secret', '--public', 'notary.pub'], { cwd });
    expect(await run('copy', url, 'as-it-was', ...trust)).toMatchObject(done);
    expect(await run('verify', 'as-it-was', ...trust)).toMatchObject({ code: 0, stdout: '' });
    expect(await run('copy', url, 'back', '--unsigned', '--sign', '--key', 'secret')).toMatchObject(done);
    expect(await run('verify', 'back', '--trust', 'notary.pub')).toMatchObject({ code: 0, stdout: '' });
    expect(await run('copy', url, fresh(), '--unsigned')).toMatchObject(done);
  });

  it('signs what lacks a signature, and publishes what has one', async () => {
    const url = fresh();
    await call(['key', 'create', 'Second', '-o', 'second-key', '--public', 'second.pub'], { cwd });
    const notary = ['--trust', 'second.pub'];
    await run('push', url, '--unsigned', '--tree', 'tree');
    expect(await run('verify', url, ...notary)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/libgreet\S+ is not signed/),
    });
    const signed = await run('sign', url, '--unsigned', '--key', 'second-key', '--json');
    expect(JSON.parse(signed.stdout)).toMatchObject({ signed: Array(9).fill({}), failed: [] });
    expect(await run('verify', url, ...notary)).toMatchObject({ code: 0, stdout: '' });
    expect((await run('sign', url, ...notary, '--key', 'second-key')).stderr).toContain('0 packages signed');
    expect(await run('publish', url, 'published', ...notary)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('9 packages copied'),
    });
    expect(await run('verify', 'published', ...notary)).toMatchObject({ code: 0, stdout: '' });
  });

  it('pushes what it signs, in the place of what nobody signed', async () => {
    const url = fresh();
    await run('push', url, '--unsigned', '--tree', 'tree');
    await call(['key', 'create', 'Builder', '-o', 'builder-key', '--public', 'builder.pub'], { cwd });
    const push = () => run('push', url, '--tree', 'tree', '--key', 'builder-key');
    expect(await push()).toMatchObject({ code: 0, stderr: expect.stringContaining('9 packages pushed') });
    expect(await run('verify', url, '--trust', 'builder.pub')).toMatchObject({ code: 0, stdout: '' });
    expect((await push()).stderr).toContain('9 there before');
    expect(await run('push', url, '--tree', 'tree')).toMatchObject({ code: 3 });
  });

  it('serves a stack whose packages are signed, or that says that its mirror is not', async () => {
    const url = fresh();
    await run('push', url, '--unsigned', '--tree', 'tree');
    const stack = join(cwd, 'stack');
    cpSync(quickstart, stack, { recursive: true });
    const own = readFileSync(join(stack, 'spack.yaml'), 'utf8').replace('url: ./mirror', `url: ${url}`);
    const rebuild = (...more: string[]) =>
      call(['rebuild', stack, '--hash', hello, ...more], { cwd, env: { HOME: cwd, PATH: '/usr/bin' } });
    writeFileSync(join(stack, 'spack.yaml'), own);
    expect(await rebuild()).toMatchObject({ code: 2, stderr: expect.stringContaining('not signed') });
    writeFileSync(join(stack, 'spack.yaml'), own.replace('signed: true', 'signed: false'));
    expect(await rebuild()).toMatchObject({ code: 0, stdout: expect.stringContaining('up to date on oci') });
    writeFileSync(join(stack, 'spack.yaml'), own);
    await run('sign', url, '--unsigned', '--key', 'second-key');
    expect(await rebuild('--trust', 'second.pub')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('up to date on oci'),
    });
  });

  it('copy brings the index up to date although nothing was left to copy', async () => {
    const url = fresh();
    await run('copy', mirror, url, ...trust, '--no-index');
    expect((await run('copy', mirror, url, ...trust)).stderr).toContain('0 packages copied, 9 there before');
    expect(await run('verify', url, '--unsigned')).toMatchObject({ code: 0, stdout: '' });
  });

  it('sync and prune delete what is not wanted, and publish leaves out what is not trusted', async () => {
    const url = fresh();
    expect(await run('publish', mirror, url, ...trust)).toMatchObject(done);
    writeFileSync(join(cwd, 'keep'), `/${hello}\n`);
    expect((await run('prune', url, '--keep', 'keep')).stderr).toContain('Would delete 6 packages');
    expect((await run('list', url)).stderr).toContain('9 packages');
    expect((await run('prune', url, '--keep', 'keep', '--delete')).stderr).toContain('kept 3 packages');
    expect((await run('list', url)).stderr).toContain('3 packages');
    expect(await run('verify', url, '--unsigned')).toMatchObject({ code: 0, stdout: '' });
    const synced = await run('sync', mirror, url, 'libgreet', ...trust, '--json');
    expect(JSON.parse(synced.stdout)).toMatchObject({ deleted: 1 });
    expect((await run('list', url)).stdout).toMatch(/^gcc-runtime.*\nlibgreet.*\n$/);
  });

  it('push makes images of packages, on a base image, and one of all together', async () => {
    const url = fresh();
    const bases = new RegistryRepository(registry.host, 'bases/small');
    const { layer, config } = baseImage();
    for (const blob of [layer, config]) await bases.putBlob(blob, () => blob.open());
    const manifest = { schemaVersion: 2, config: config.descriptor, layers: [layer.descriptor] };
    await bases.putManifest(
      '1',
      Buffer.from(JSON.stringify(manifest)),
      'application/vnd.oci.image.manifest.v1+json',
    );
    const push = [
      'push',
      url,
      '--unsigned',
      '--tree',
      'tree',
      '--tag',
      'everything',
      '--base-image',
      `${registry.host}/bases/small:1`,
    ];
    expect((await run(...push)).stderr).toContain('9 packages pushed');
    expect((await run(...push)).stderr).toContain('0 packages pushed, 9 there before');
    expect(await run('verify', url, '--unsigned')).toMatchObject({ code: 0, stdout: '' });
    const image = await readImage(repository(url), 'everything');
    // The base, and what the one package that users asked for needs.
    expect(image.manifest.layers).toHaveLength(4);
    expect(image.config.history).toHaveLength(4);
    expect(image.config.config?.Env?.[0]).toMatch(/^PATH=\S+\/hello-2\.0-\w+\/bin:.*:?\/usr\/bin:\/bin$/);
  });

  const tools = ['skopeo', 'umoci', 'runc'].filter((program) => !has(program));
  it.skipIf(tools.length > 0)(
    `push makes images that run (skipped without skopeo, umoci and runc: apt-get install skopeo umoci runc)`,
    async () => {
      const url = fresh();
      await hostBase(join(cwd, 'base'));
      const push = [
        'push',
        url,
        '--unsigned',
        '--tree',
        'tree',
        '--base-image',
        'oci:base',
        '--tag',
        'everything',
      ];
      expect(await run(...push)).toMatchObject(done);
      const tags = ['everything', `hello-2.0-${hello}.spack`];
      for (const [at, tag] of tags.entries()) {
        const name = `docker://${url.replace('oci+http://', '')}:${tag}`;
        execFileSync('skopeo', ['copy', '--src-tls-verify=false', name, `oci:${join(cwd, 'from')}:${at}`]);
        expect(runImage(join(cwd, 'from'), String(at), ['hello', 'you'])).toContain('hello');
      }
    },
  );

  it.each([
    ['a base image that is not there', ['--base-image', 'REGISTRY/bases/none:1'], /has no image "1"/],
    ['a tag that is none', ['--tag', 'no tag'], /is not a tag/],
    ['the tag of a package', ['--tag', 'index.spack'], /Give another/],
  ])('push refuses %s before it sends anything', async (_what, args, message) => {
    const url = fresh();
    const { code, stderr } = await run(
      ...['push', url, '--unsigned', '--tree', 'tree'],
      ...args.map((arg) => arg.replace('REGISTRY', registry.host)),
    );
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    expect((await run('list', url)).code).toBe(3);
  });

  it('says when a registry has no TLS', async () => {
    const plain = await run('list', fresh().replace('oci+http:', 'oci:'));
    expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining('Write oci+http://')]);
  });

  it('gives the credentials that docker login left, and says when there are none', async () => {
    const locked = await startRegistry(htpasswd);
    try {
      const url = `oci+http://${locked.host}/locked`;
      const copy = (HOME: string) =>
        call(['mirror', 'copy', mirror, url, 'libgreet', ...trust], { cwd, env: { HOME } });
      const refused = await copy(cwd);
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('docker login')]);
      const home = mkdtempSync(join(cwd, 'home-'));
      const auth = Buffer.from('robot:secret').toString('base64');
      mkdirSync(join(home, '.docker'));
      writeFileSync(
        join(home, '.docker', 'config.json'),
        JSON.stringify({ auths: { [locked.host]: { auth } } }),
      );
      expect(await copy(home)).toMatchObject(done);
    } finally {
      await locked.stop();
    }
  });

  it.each([
    ['prune', ['prune', 'URL'], 2, /Say which packages are to be kept/],
    ['index', ['index', 'URL', '--keys'], 2, /Leave --keys out/],
    ['migrate', ['migrate', 'URL'], 2, /mirror copy/],
    ['migrate', ['migrate', mirror, 'URL'], 2, /mirror copy/],
    ['push', ['push', 'folder', '--tree', 'tree', '--unsigned', '--tag', 'x'], 2, /Leave --tag out/],
    ['list', ['list', 'NOWHERE'], 3, /is no mirror: it has no package/],
  ])('%s where it makes no sense says what to do instead', async (_name, args, expected, message) => {
    const url = fresh();
    await run('copy', mirror, url, ...trust, 'libgreet');
    await call(['key', 'create', 'Notary', '-o', 'secret'], { cwd });
    const { code, stderr } = await run(
      ...args.map((arg) => arg.replace('URL', url).replace('NOWHERE', `${url}/typo`)),
    );
    expect([code, stderr]).toEqual([expected, expect.stringMatching(message)]);
  });
});

describe.skipIf(missing !== '')(`a stack with a mirror in a registry${missing}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'oci-stack-'));
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let url: string;
  const plain = { PATH: '/usr/bin:/bin', HOME: folder };
  const run = (...args: string[]) => call(args, { cwd: folder, env: plain });

  beforeAll(async () => {
    registry = await startRegistry();
    url = `oci+http://${registry.host}/quickstart`;
    await run('mirror', 'copy', mirror, url, ...trust, '--no-index');
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['run', ['run', quickstart, '--work', 'work-run']],
    ['rebuild', ['rebuild', quickstart, '--hash', 'hocoygz', '--work', 'work-rebuild']],
    ['image build', ['image', 'build', quickstart, '--work', 'work-image']],
  ])(
    '%s takes its packages when they are signed, or when told that nobody has to sign',
    async (_name, args) => {
      expect(await run(...args, '--mirror', url)).toMatchObject({ code: 0 });
      const unsigned = `${url}-unsigned`;
      await run('mirror', 'copy', mirror, unsigned, '--unsigned', '--no-index');
      // A copy without a look at signatures carries those of a mirror all the same.
      expect(await run(...args, '--mirror', unsigned, '--unsigned')).toMatchObject({ code: 0 });
    },
  );

  it('generate leaves out what is there, with an index or without', async () => {
    const stack = join(folder, 'stack');
    cpSync(quickstart, stack, { recursive: true });
    const file = join(stack, 'spack.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace('url: ./mirror', `url: ${url}`));
    const generate = async (...more: string[]) => {
      const { code, stderr } = await run('generate', stack, '--output-file', 'pipeline.yml', ...more);
      expect([code, stderr]).toEqual([0, expect.anything()]);
      return readFileSync(join(folder, 'pipeline.yml'), 'utf8');
    };
    expect(await generate()).toContain('no-specs-to-rebuild');
    await run('mirror', 'index', url);
    expect(await generate('--check-index-only')).toContain('no-specs-to-rebuild');
  });

  it.skipIf(!spack)(
    'rebuild builds with Spack what the registry lacks, on top of what it has (skipped without spack on PATH)',
    { timeout: 300_000 },
    async () => {
      const stack = join(folder, 'rebuilt');
      cpSync(quickstart, stack, { recursive: true });
      const file = join(stack, 'spack.yaml');
      writeFileSync(file, readFileSync(file, 'utf8').replace('/opt/quickstart', join(folder, 'opt')));
      const target = new RegistryRepository(registry.host, 'quickstart');
      const tag = `hello-2.0-${hello}.spack`;
      await target.deleteManifest((await target.head(tag))!.digest);
      const rebuild = [
        'rebuild',
        stack,
        '--hash',
        hello,
        '--mirror',
        url,
        '--unsigned',
        '--work',
        'work-spack',
      ];
      const options = { cwd: folder, env: { ...process.env, SPACK_JOB_LOG_DIR: folder } };
      const { code, stderr } = await call(rebuild, options);
      expect([code, stderr]).toEqual([0, expect.stringContaining('built, pushed to oci+http://')]);
      expect(readFileSync(join(folder, 'stackwright-build-out.txt'), 'utf8')).toMatch(
        /libgreet.*from binary cache/,
      );
      expect(await target.head(tag)).toBeDefined();
      expect((await call(rebuild, options)).stdout).toContain('up to date');
    },
  );
});
