import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createKey,
  formatSigningKey,
  KeySigner,
  openV3Mirror,
  presentPackages,
} from '@stackwright/buildcache';
import { Spack } from '@stackwright/spack';
import { has } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Document, parse, parseDocument } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// A PATH without Spack, whatever this machine has.
const plain = { PATH: '/usr/bin:/bin', HOME: folder };
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const runtime = ['skopeo', 'umoci', 'runc'].every(has);

describe('stackwright run on the quickstart stack, without Spack', () => {
  const work = join(folder, 'work');
  let result: Awaited<ReturnType<typeof call>>;
  beforeAll(async () => {
    result = await call(['run', quickstart, '--work', work], { env: plain });
  });

  it('is done and says where everything is', () => {
    expect(result.stderr).toContain('has 9 of 9');
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^image +oci:.*image:latest$/m);
  });

  it.skipIf(!runtime)(
    'leaves an image that runs (skipped without skopeo, umoci and runc: apt-get install skopeo umoci runc)',
    () => {
      const layout = join(work, 'image');
      expect(
        JSON.parse(execFileSync('skopeo', ['inspect', `oci:${layout}:latest`], { encoding: 'utf8' })).Os,
      ).toBe('linux');
      const bundle = join(folder, 'bundle');
      execFileSync('umoci', ['unpack', '--image', `${layout}:latest`, bundle], { stdio: 'ignore' });
      const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
      config.process.terminal = false;
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
      expect(
        execFileSync('runc', ['run', '-b', bundle, `run-test-${process.pid}`], { encoding: 'utf8' }),
      ).toMatch(/^hello from /);
    },
  );

  it('gives layers that are blobs of the mirror', () => {
    const digest = /^digest +sha256:(.*)$/m.exec(result.stdout)![1]!;
    const { layers } = JSON.parse(readFileSync(join(work, 'image/blobs/sha256', digest), 'utf8'));
    for (const { digest: layer } of layers) {
      const hex = layer.slice('sha256:'.length);
      expect(existsSync(join(quickstart, 'mirror/blobs/sha256', hex.slice(0, 2), hex))).toBe(true);
    }
  });

  it('gives the same digest the second time, and in another folder', async () => {
    const again = await call(['run', quickstart, '--work', work], { env: plain });
    const elsewhere = await call(['run', quickstart, '--work', join(folder, 'elsewhere')], { env: plain });
    const digest = (text: string) => /^digest .*$/m.exec(text)![0];
    expect(digest(again.stdout)).toBe(digest(result.stdout));
    expect(digest(elsewhere.stdout)).toBe(digest(result.stdout));
  });

  it('writes the pipeline of the whole graph', () => {
    const pipeline = parse(readFileSync(join(work, 'pipeline.gitlab-ci.yml'), 'utf8'));
    const builds = Object.keys(pipeline).filter((name) => name.includes(' /'));
    expect(builds).toHaveLength(9);
    const chorus = pipeline[builds.find((name) => name.startsWith('chorus@'))!];
    expect(chorus.needs.map((need: { job: string }) => need.job.split('@')[0])).toContain('libchorus');
    expect(chorus.script).toEqual(['stackwright rebuild']);
  });

  it('writes a page with every job, layer and time', () => {
    const page = readFileSync(join(work, 'report.html'), 'utf8');
    for (const text of ['libgreet', 'Check the mirror', 'Assemble the image', 'hello-static@1.0'])
      expect(page).toContain(text);
  });

  it('writes a bill of materials of its packages and itself', () => {
    expect(JSON.parse(readFileSync(join(work, 'image.spdx.json'), 'utf8')).packages).toHaveLength(8 + 1);
  });

  it('leaves the mirror of the stack as it is', () => {
    const status = execFileSync('git', ['status', '--porcelain', '--', 'stacks/quickstart/mirror'], {
      cwd: join(quickstart, '../..'),
      encoding: 'utf8',
    });
    expect(status).toBe('');
  });

  it('prints one JSON document with --json', async () => {
    const { stdout, stderr, code } = await call(['run', quickstart, '--work', work, '--json'], {
      env: plain,
    });
    expect([code, stderr]).toEqual([0, '']);
    const summary = JSON.parse(stdout);
    expect(summary.jobs.filter((job: { state: string }) => job.state === 'reused')).toHaveLength(9);
    expect(summary.image.digest).toMatch(/^sha256:/);
  });
});

describe('stackwright run on a stack whose own mirror changes', () => {
  const own = join(folder, 'own');
  const work = join(folder, 'own-work');
  const run = () => call(['run', own, '--work', work], { env: plain });
  const manifests = join(own, 'mirror/v3/manifests/spec/chorus');
  beforeAll(() => {
    cpSync(quickstart, own, { recursive: true });
    cpSync(manifests, join(folder, 'aside'), { recursive: true });
    rmSync(manifests, { recursive: true });
  });

  it('takes over what is new in it', async () => {
    expect((await run()).code).toBe(3);
    cpSync(join(folder, 'aside'), manifests, { recursive: true });
    const { code, stderr } = await run();
    expect(stderr).toContain('has 9 of 9');
    expect(code).toBe(0);
  });

  it('notices what was damaged in it after an earlier run', async () => {
    const file = join(manifests, readdirSync(manifests)[0]!);
    writeFileSync(file, readFileSync(file, 'utf8').replace('"version":3', '"version": 3'));
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([2, expect.stringMatching(/chorus@1\.1.*signature/)]);
  });
});

describe('stackwright run with a mirror that is not as it should be', () => {
  let mirror: string;
  const work = () => mkdtempSync(join(folder, 'bad-'));
  const manifest = (name: string) => {
    const at = join(mirror, 'v3/manifests/spec', name);
    return join(at, readdirSync(at)[0]!);
  };
  const run = async (target = work()) => {
    const result = await call(['run', quickstart, '--mirror', mirror, '--work', target], { env: plain });
    return { ...result, image: existsSync(join(target, 'image')) };
  };
  const fresh = () => {
    mirror = mkdtempSync(join(folder, 'mirror-'));
    cpSync(join(quickstart, 'mirror'), mirror, { recursive: true });
  };

  it.each(['hello-static', 'libgreet', 'compiler-wrapper'])(
    'stops at one flipped byte in the blob of %s',
    async (name) => {
      fresh();
      const checksum =
        /"contentLength":\d+,\s+"mediaType":"[^"]*tar\+gzip",[\s\S]*?"checksum":"([0-9a-f]+)"/.exec(
          readFileSync(manifest(name), 'utf8'),
        )![1]!;
      const blob = join(mirror, 'blobs/sha256', checksum.slice(0, 2), checksum);
      const bytes = readFileSync(blob);
      bytes[bytes.length >> 1]! ^= 1;
      writeFileSync(blob, bytes);
      const { code, stderr, image } = await run();
      expect(stderr).toMatch(new RegExp(`^Error: .*${name}@.*${checksum.slice(0, 8)}`, 'm'));
      expect(stderr).toMatch(/digest|checksum/);
      expect([code, image]).toEqual([2, false]);
    },
  );

  it('stops at a manifest that was changed after it was signed', async () => {
    fresh();
    const file = manifest('chorus');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace(
        /"contentLength":(\d)/,
        (_, digit) => `"contentLength":${(Number(digit) % 9) + 1}`,
      ),
    );
    const { code, stderr, image } = await run();
    expect(stderr).toMatch(/^Error: chorus@1\.1.*spec\.manifest\.json.*signature/m);
    expect([code, image]).toEqual([2, false]);
  });

  it('stops at a manifest that another key signed', async () => {
    fresh();
    const file = manifest('libchorus');
    const signed = readFileSync(file, 'utf8');
    const text = signed.slice(signed.indexOf('{'), signed.lastIndexOf('}') + 1);
    const stranger = new KeySigner(await createKey({ name: 'Stranger' }));
    writeFileSync(file, await stranger.sign(text));
    const { code, stderr, image } = await run();
    expect(stderr).toMatch(/^Error: libchorus@0\.3\.1.*not trusted/m);
    expect(stderr).toContain(stranger.fingerprint.slice(-16));
    expect([code, image]).toEqual([2, false]);
  });

  it('stops at a manifest without a signature', async () => {
    fresh();
    const file = manifest('hello');
    const signed = readFileSync(file, 'utf8');
    writeFileSync(file, signed.slice(signed.indexOf('{'), signed.lastIndexOf('}') + 1));
    const { code, stderr, image } = await run();
    expect(stderr).toMatch(/^Error: hello@2\.0.*not signed/m);
    expect([code, image]).toEqual([2, false]);
  });

  it('keeps the image of an earlier run', async () => {
    fresh();
    const target = work();
    expect((await run(target)).code).toBe(0);
    const before = readFileSync(join(target, 'image/index.json'), 'utf8');
    const file = manifest('hello');
    writeFileSync(file, 'nonsense');
    expect((await run(target)).code).toBe(2);
    expect(readFileSync(join(target, 'image/index.json'), 'utf8')).toBe(before);
  });

  it('says that it needs Spack, and how to get it, when the mirror lacks something', async () => {
    mirror = mkdtempSync(join(folder, 'empty-'));
    const { code, stderr, image } = await run();
    expect(stderr).toMatch(/Spack is needed to build the 9 packages.*\n.*git clone/);
    expect([code, image]).toEqual([3, false]);
  });
});

describe.skipIf(!spack)('stackwright run with real Spack (skipped without spack on PATH)', () => {
  const env = { ...process.env, HOME: process.env.HOME };
  // A copy whose packages are installed below this test's folder, so that nothing is left behind and nothing is reused.
  const stack = join(folder, 'stack');
  const mirror = join(folder, 'built');
  beforeAll(() => {
    cpSync(quickstart, stack, { recursive: true });
    rmSync(join(stack, 'mirror'), { recursive: true });
    const file = join(stack, 'spack.yaml');
    const document = parseDocument(readFileSync(file, 'utf8'));
    document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, 'opt'));
    writeFileSync(file, String(document));
  });

  it('builds everything into an empty mirror, two at a time, and Spack installs all of it from there', {
    timeout: 600_000,
  }, async () => {
    const { code, stderr } = await call(
      ['run', stack, '--mirror', mirror, '--work', join(folder, 'w'), '--jobs', '2'],
      { env },
    );
    expect(stderr).toContain('9 built with Spack');
    expect(code).toBe(0);

    const again = await call(['run', stack, '--mirror', mirror, '--work', join(folder, 'w')], { env: plain });
    expect(again.stderr).toContain('has 9 of 9');
    expect((await (await openV3Mirror(mirror)).index()).hashes.size).toBe(9);

    const client = join(folder, 'client');
    mkdirSync(join(client, 'gpg'), { recursive: true, mode: 0o700 });
    cpSync(join(stack, 'spack.lock'), join(client, 'spack.lock'));
    const document = parseDocument(readFileSync(join(stack, 'spack.yaml'), 'utf8'));
    // Unpadded: a tree whose root is shorter than the build's.
    document.setIn(['spack', 'config', 'install_tree'], { root: join(client, 'opt') });
    document.setIn(['spack', 'mirrors', 'buildcache-destination', 'url'], mirror);
    document.setIn(['spack', 'repos', 'quickstart'], join(stack, 'spack_repo/quickstart'));
    writeFileSync(join(client, 'spack.yaml'), String(document));
    const asUser = (...args: string[]) =>
      execFileSync(spack!.executable, ['-c', 'bootstrap:enable:true', '-e', client, ...args], {
        encoding: 'utf8',
        env: { ...env, SPACK_GNUPGHOME: join(client, 'gpg') },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    asUser('buildcache', 'keys', '--install', '--trust');
    asUser('install', '--cache-only');
    const [arch = ''] = readdirSync(join(client, 'opt')).filter((name) => name.startsWith('linux-'));
    const [hello = ''] = readdirSync(join(client, 'opt', arch)).filter((name) => /^hello-2/.test(name));
    expect(execFileSync(join(client, 'opt', arch, hello, 'bin/hello'), { encoding: 'utf8' })).toContain(
      join(client, 'opt'),
    );
  });

  it("takes dependencies from the stack's second binary mirror, and sources from its own mirror", {
    timeout: 600_000,
  }, async () => {
    const site = join(folder, 'site');
    const signing = { ...env, SPACK_SIGNING_KEY: formatSigningKey(await createKey({ name: 'Site' })) };
    writeFileSync(join(folder, 'site.pub'), (await call(['key', 'export'], { env: signing })).stdout);
    const stacked = (name: string, edit: (document: Document) => void) => {
      const copy = join(folder, name);
      cpSync(stack, copy, { recursive: true });
      const document = parseDocument(readFileSync(join(copy, 'spack.yaml'), 'utf8'));
      document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, `opt-${name}`));
      edit(document);
      writeFileSync(join(copy, 'spack.yaml'), String(document));
      return copy;
    };
    const first = stacked('first', () => {});
    const hash = (name: string) =>
      Object.entries<{ name: string }>(
        JSON.parse(readFileSync(join(stack, 'spack.lock'), 'utf8')).concrete_specs,
      ).find(([, node]) => node.name === name)?.[0] ?? '';
    const built = await call(
      ['run', first, '--mirror', site, '--work', join(folder, 'w-site'), '--jobs', '2'],
      { env: signing },
    );
    expect(built.code).toBe(0);
    rmSync(join(site, 'v3/manifests/spec/chorus'), { recursive: true });

    const second = stacked('second', (document) => {
      document.setIn(['spack', 'mirrors'], {
        'buildcache-destination': join(folder, 'own'),
        site: { url: site, source: false },
        sources: { url: './source-mirror', binary: false },
      });
    });
    // Where the recipe looks for its source there is none: only the stack's source mirror has it.
    mkdirSync(join(second, 'source-mirror/chorus'), { recursive: true });
    renameSync(
      join(second, 'sources/chorus-1.1.tar.gz'),
      join(second, 'source-mirror/chorus/chorus-1.1.tar.gz'),
    );
    const work = join(folder, 'w-second');
    const { code, stderr } = await call(
      ['rebuild', second, '--hash', hash('chorus'), '--work', work, '--trust', join(folder, 'site.pub')],
      { env: signing },
    );
    expect([code, stderr]).toEqual([0, expect.stringContaining('built')]);
    const [log = ''] = readdirSync(join(work, 'logs'));
    const text = readFileSync(join(work, 'logs', log), 'utf8');
    expect(text).toMatch(/Extracting libchorus/);
    expect(text).not.toMatch(/libchorus: Executing phase/);
    expect([...(await presentPackages(await openV3Mirror(join(folder, 'own')))).keys()]).toEqual([
      hash('chorus'),
    ]);
  });

  it('leaves an index, a page and run.json when it is interrupted', { timeout: 600_000 }, async () => {
    const interrupted = join(folder, 'interrupted');
    cpSync(stack, interrupted, { recursive: true });
    const file = join(interrupted, 'spack.yaml');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace(join(folder, 'opt'), join(folder, 'opt-interrupted')),
    );
    const target = join(folder, 'interrupted-mirror');
    const work = join(folder, 'w-interrupted');
    const interrupt = new AbortController();
    const running = call(['run', interrupted, '--mirror', target, '--work', work, '--jobs', '1'], {
      env,
      signal: interrupt.signal,
    });
    const pushed = async () => {
      const mirror = await openV3Mirror(target).catch(() => undefined);
      return mirror ? (await presentPackages(mirror)).size : 0;
    };
    while ((await pushed()) < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    interrupt.abort();
    expect((await running).code).not.toBe(0);
    const { state, jobs } = JSON.parse(readFileSync(join(work, 'run.json'), 'utf8'));
    const done = jobs.filter((one: { state: string }) => one.state === 'done');
    expect(state).toBe('interrupted');
    expect(done.length).toBeGreaterThanOrEqual(2);
    expect((await (await openV3Mirror(target)).index()).hashes.size).toBe(done.length);
    expect(readFileSync(join(work, 'report.html'), 'utf8')).toContain('interrupted');
  });

  it('stops what depends on a package that fails, keeps the rest, and says where the log is', {
    timeout: 600_000,
  }, async () => {
    const broken = join(folder, 'broken');
    cpSync(stack, broken, { recursive: true });
    const file = join(broken, 'spack.yaml');
    const document = parseDocument(readFileSync(file, 'utf8'));
    document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, 'opt-broken'));
    writeFileSync(file, String(document));
    const recipe = join(broken, 'spack_repo/quickstart/packages/hello/package.py');
    writeFileSync(
      recipe,
      readFileSync(recipe, 'utf8').replace('"install", parallel', '"no-such-target", parallel'),
    );
    const target = join(folder, 'broken-mirror');
    const { code, stderr } = await call(['run', broken, '--mirror', target, '--work', join(folder, 'wb')], {
      env,
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/✗ hello@2\.0/);
    expect(stderr).toMatch(/⊘ greet-scripts@0\.9.*needs hello/);
    expect(stderr).toMatch(/✓ chorus@1\.1/);
    // The phase came to its end, and not everything in it went well.
    expect(stderr).toMatch(/^✗ Build 9 packages: 6 built with Spack .*, 1 failed/m);
    const result = JSON.parse(readFileSync(join(folder, 'wb/run.json'), 'utf8'));
    const job = (name: string) => result.jobs.find((one: { name: string }) => one.name === name);
    expect(result).toMatchObject({ state: 'failed' });
    expect(result.image).toBeUndefined();
    expect(job('hello')).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('no-such-target'),
    });
    expect(readFileSync(job('hello').log, 'utf8')).toContain('no-such-target');
    expect(job('greet-scripts')).toMatchObject({
      state: 'blocked',
      reason: expect.stringMatching(/^needs hello@2\.0\/\w+, which failed$/),
    });
    const page = readFileSync(join(folder, 'wb/report.html'), 'utf8');
    expect(page).toContain('logs/hello-');
    expect(page).toContain('which failed');
    expect((await (await openV3Mirror(target)).index()).hashes.size).toBe(6);
  });
});
