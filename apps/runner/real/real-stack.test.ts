import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Spack } from '@stackwright/spack';
import { fillSourceMirror, findProgram, has, makeDebianRoot } from '@stackwright/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';

/**
 * A stack of real packages by the real recipes of Spack, with the sources that Debian ships as well: autotools, make
 * and CMake; C, C++, Fortran and Perl. It is concretized, built by `run` and by a GitLab pipeline, signed, pushed,
 * installed by Spack elsewhere, pulled by us, and made into an image on Debian whose programs run.
 */
const specs = [
  'bzip2@1.0.8',
  'cfitsio@4.2.0',
  'gflags@2.2.2',
  'giflib@5.2.1',
  'hiredis@0.14.1',
  'jansson@2.14',
  'jemalloc@5.3.0',
  'jsoncpp@1.9.5',
  'libdeflate@1.14',
  'libevent@2.1.12',
  'libsigsegv@2.14',
  'lz4@1.9.4',
  'mumps@5.5.1 ~mpi~float~complex',
  'ncurses@6.4',
  'perl-try-tiny@0.31',
  'pwgen@2.08',
  'tinyxml@2.6.2',
  'tree@2.1.0',
  'trexio@2.2.3 ~hdf5',
  'units@2.22',
  'utf8proc@2.8.0',
  'xxhash@0.8.1',
  'zopfli@1.0.3',
];

/** What the stack takes from Debian, by the name in Spack and the Debian package that says the version. */
const externals = {
  autoconf: 'autoconf',
  automake: 'automake',
  cmake: 'cmake',
  coreutils: 'coreutils',
  curl: 'libcurl4',
  diffutils: 'diffutils',
  gettext: 'gettext',
  gmake: 'make',
  gzip: 'gzip',
  libtool: 'libtool',
  m4: 'm4',
  'netlib-lapack': 'liblapack-dev',
  openssl: 'libssl-dev',
  perl: 'perl',
  pkgconf: 'pkgconf',
  python: 'python3',
  zlib: 'zlib1g-dev',
};

/** Debian packages that the base image needs beside a minimal system: what the externals are at run time. */
const atRunTime = [
  'libblas3',
  'libcurl4',
  'liblapack3',
  'libreadline8',
  'libssl3',
  'perl',
  'python-is-python3',
  'zlib1g',
];

/** Each is run by a shell in the image, which finds it on PATH. */
const programs: readonly (readonly [command: string, output: RegExp])[] = [
  ['bzip2 --help 2>&1', /Version 1\.0\.8/],
  ['lz4 --version', /v1\.9\.4/],
  ['xxhsum --version 2>&1', /0\.8\.1/],
  ['zopfli -h 2>&1', /Usage: zopfli/],
  ['units --terse 1km m', /^1000$/m],
  ['tree --version', /v2\.1\.0/],
  ['jemalloc-config --version', /^5\.3\.0/],
  ['infocmp -V', /ncurses 6\.4/],
  ['echo test | libdeflate-gzip -c | libdeflate-gunzip -c', /^test$/m],
  ['pwgen -s 8 1', /^\w{8}$/m],
  [
    `perl -I/opt/view/lib/perl5 -e 'use Try::Tiny; try { die "a\\n" } catch { print "caught $_" }'`,
    /^caught a$/m,
  ],
];

const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const needed = {
  'apt-get': has('apt-get'),
  spack: spack !== undefined,
  debootstrap: has('debootstrap'),
  unshare: has('unshare'),
  umoci: has('umoci'),
  runc: has('runc'),
  rsync: has('rsync'),
  'root (for debootstrap and runc)': process.getuid?.() === 0,
  ...Object.fromEntries(Object.values(externals).map((name) => [name, version(name) !== undefined])),
};
const lacking = Object.entries(needed).flatMap(([name, there]) => (there ? [] : [name]));
const reason =
  lacking.length > 0
    ? ` (skipped without ${lacking.join(', ')}: put spack on PATH and apt-get install the others)`
    : '';

const folder = mkdtempSync(join(tmpdir(), 'real-'));
const keep = process.env.STACKWRIGHT_TEST_KEEP !== undefined;
afterAll(() => (keep ? console.log(`kept: ${folder}`) : rmSync(folder, { recursive: true, force: true })));
const at = (...parts: string[]) => join(folder, ...parts);
const cli = fileURLToPath(new URL('../bundle/cli.js', import.meta.url));
const run = promisify(execFile);
/** Builds find Debian's programs only: what they take from elsewhere on this machine is missing in the image. */
const path = [findProgram('spack'), process.execPath]
  .flatMap((program) => (program ? [dirname(program)] : []))
  .concat('/usr/bin', '/bin', '/usr/sbin', '/sbin')
  .join(':');

/** Calls a program and returns what it printed. The error of one that fails holds all of that, too. */
async function call(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
) {
  const { stdout } = await run(program, args, {
    ...options,
    env: { ...process.env, PATH: path, ...options.env },
    maxBuffer: 256 * 1024 * 1024,
  }).catch((error: { message: string; stdout?: string }) => {
    throw new Error(`${error.message}\n${(error.stdout ?? '').slice(-4000)}`);
  });
  return stdout;
}
const stackwright = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  call(process.execPath, [cli, ...args], { cwd: folder, env });

/** The upstream version of an installed Debian package. */
function version(name: string): string | undefined {
  try {
    const full = execFileSync('dpkg-query', ['-W', '-f=${Version}', name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /^(?:\d+:)?(\d+(?:\.\d+)*)/.exec(full)?.[1];
  } catch {
    return undefined;
  }
}

function manifest(mirror: string, tree: string): string {
  const taken = Object.entries(externals).map(([name, debian]) => [
    name,
    { buildable: false, externals: [{ spec: `${name}@${version(debian)}`, prefix: '/usr' }] },
  ]);
  return stringify({
    spack: {
      specs,
      view: false,
      concretizer: { unify: true },
      // A stage of its own: other builds on this machine may clean the shared one.
      config: { install_tree: { root: tree, padded_length: 128 }, build_stage: at('stage') },
      packages: {
        all: { require: ['target=x86_64'] },
        blas: { require: ['netlib-lapack'] },
        lapack: { require: ['netlib-lapack'] },
        'zlib-api': { require: ['zlib'] },
        ...Object.fromEntries(taken),
      },
      mirrors: {
        sources: { url: pathToFileURL(at('sources')).href, binary: false },
        'buildcache-destination': { url: pathToFileURL(mirror).href, source: false, signed: true },
      },
      ci: { 'pipeline-gen': [{ 'build-job': { tags: ['local'], 'script:': ['stackwright rebuild'] } }] },
    },
  });
}

/** The dag hashes of the packages that a mirror lists. */
async function listed(mirror: string): Promise<readonly string[]> {
  const { packages } = JSON.parse(await stackwright(['mirror', 'list', mirror, '--json']));
  return packages.map(({ hash }: { hash: string }) => hash).sort();
}

describe.skipIf(lacking.length > 0)(`a stack of real packages${reason}`, () => {
  const secret: NodeJS.ProcessEnv = {};

  it('gets its sources from Debian and is concretized', async () => {
    const recipes = (await call('spack', ['location', '--repo', 'builtin'])).trim();
    await fillSourceMirror(
      recipes,
      at('sources'),
      specs.map((spec) => spec.split(' ')[0] ?? spec),
    );
    mkdirSync(at('stack'));
    writeFileSync(at('stack/spack.yaml'), manifest(at('mirror'), at('tree')));
    writeFileSync(at('stack/stackwright.yaml'), 'trust: [ci.pub]\n');
    await stackwright(['key', 'create', 'CI', '-o', 'ci.key', '--public', 'stack/ci.pub']);
    secret.SPACK_SIGNING_KEY = readFileSync(at('ci.key'), 'utf8').trim();
    await stackwright(['concretize', 'stack']);
    expect(await stackwright(['check', 'stack', '--json'])).not.toContain('"severity":"error"');
  });

  it('is built, signed and pushed by run, and a second run builds nothing', async () => {
    await stackwright(['run', 'stack', '--work', 'work', '--jobs', '2'], secret);
    const { jobs } = JSON.parse(readFileSync(at('work/run.json'), 'utf8'));
    const built = jobs.filter(({ state }: { state: string }) => state === 'done');
    expect(built.length).toBeGreaterThanOrEqual(specs.length);
    expect(await listed(at('mirror'))).toEqual(built.map(({ hash }: { hash: string }) => hash).sort());
    await stackwright(['run', 'stack', '--work', 'work', '--jobs', '2'], secret);
    const again = JSON.parse(readFileSync(at('work/run.json'), 'utf8')).jobs;
    expect(again.filter(({ state }: { state: string }) => state === 'done')).toEqual([]);
    await stackwright(['mirror', 'verify', at('mirror'), '--trust', 'stack/ci.pub']);
  });

  it('is built by a GitLab pipeline into a mirror with the same packages', async () => {
    const project = at('project');
    cpSync(at('stack'), join(project, 'stack'), { recursive: true });
    writeFileSync(join(project, 'stack/spack.yaml'), manifest(at('by-gitlab'), at('tree-of-gitlab')));
    writeFileSync(
      join(project, '.gitlab-ci.yml'),
      stringify({
        stages: ['generate', 'build'],
        generate: {
          stage: 'generate',
          script: [`node ${cli} generate stack --output-file pipeline.yml`],
          artifacts: { paths: ['pipeline.yml', 'jobs_scratch_dir'] },
        },
        build: {
          stage: 'build',
          trigger: { include: [{ artifact: 'pipeline.yml', job: 'generate' }], strategy: 'depend' },
        },
      }),
    );
    // What a GitLab server keeps as the project's variables: the child pipeline gets them, too.
    writeFileSync(
      join(project, '.gitlab-ci-local-variables.yml'),
      stringify({ ...secret, STACKWRIGHT_COMMAND: `node ${cli}` }),
    );
    writeFileSync(join(project, '.gitignore'), '.gitlab-ci-local*\n');
    const git = (...args: string[]) =>
      call('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.org', ...args], { cwd: project });
    await git('init', '--quiet', '--initial-branch=main');
    await git('remote', 'add', 'origin', 'git@gitlab.example:a/b.git');
    await git('add', '.');
    await git('commit', '--quiet', '-m', 'A stack');
    await call(
      fileURLToPath(new URL('../node_modules/.bin/gitlab-ci-local', import.meta.url)),
      ['--force-shell-executor', '--concurrency=2'],
      { cwd: project },
    );
    expect(await listed(at('by-gitlab'))).toEqual(await listed(at('mirror')));
    await stackwright(['mirror', 'verify', at('by-gitlab'), '--trust', 'stack/ci.pub']);
  });

  it('is installed elsewhere by Spack from the mirror alone, and the programs run', async () => {
    cpSync(at('stack'), at('elsewhere/stack'), { recursive: true });
    writeFileSync(at('elsewhere/stack/spack.yaml'), manifest(at('mirror'), at('elsewhere/tree')));
    const env = { SPACK_GNUPGHOME: at('elsewhere/gnupg') };
    mkdirSync(at('elsewhere/gnupg'), { mode: 0o700 });
    await call('spack', ['gpg', 'trust', at('stack/ci.pub')], { env });
    await call('spack', ['-e', at('elsewhere/stack'), 'install', '--cache-only', '--fail-fast'], { env });
    const prefix = await call('spack', ['-e', at('elsewhere/stack'), 'location', '-i', 'xxhash'], { env });
    expect(prefix).toContain(at('elsewhere/tree'));
    const { stdout, stderr } = await run(join(prefix.trim(), 'bin/xxhsum'), ['--version']);
    expect(stdout + stderr).toContain('0.8.1');
  });

  it('is pulled by us, and the programs run', async () => {
    await stackwright([
      'mirror',
      'pull',
      at('mirror'),
      '--stack',
      'stack',
      '--trust',
      'stack/ci.pub',
      '--to',
      'pulled',
    ]);
    const found = await call('find', [at('pulled'), '-path', '*/bin/lz4']);
    expect(await call(found.trim(), ['--version'])).toContain('v1.9.4');
  });

  it('is an image on Debian whose programs run', async () => {
    await makeDebianRoot(at('rootfs'), atRunTime);
    await call('umoci', ['init', '--layout', at('base')]);
    await call('umoci', ['new', '--image', `${at('base')}:latest`]);
    await call('umoci', ['insert', '--image', `${at('base')}:latest`, at('rootfs'), '/']);
    await stackwright(['image', 'build', 'stack', '--base', 'oci:base:latest', '-o', 'oci:image:latest']);
    await call('umoci', ['unpack', '--image', `${at('image')}:latest`, at('bundle')]);
    const config = JSON.parse(readFileSync(at('bundle/config.json'), 'utf8'));
    const outputs: Record<string, string> = {};
    for (const [command] of programs) {
      config.process = { ...config.process, terminal: false, args: ['/bin/sh', '-c', command] };
      writeFileSync(at('bundle/config.json'), JSON.stringify(config));
      outputs[command] = await call('runc', ['run', '-b', at('bundle'), `real-${process.pid}`]);
    }
    for (const [command, output] of programs) expect(outputs[command], command).toMatch(output);
    // The layer of every package is a blob of the mirror. Besides there are the base, links and sbang.
    const blobs = new Set(
      readdirSync(at('mirror/blobs/sha256'), { recursive: true }).map((path) => `${path}`.split('/').at(-1)),
    );
    const blob = (digest: string) =>
      JSON.parse(readFileSync(at('image/blobs/sha256', digest.replace('sha256:', '')), 'utf8'));
    const index = JSON.parse(readFileSync(at('image/index.json'), 'utf8'));
    const { layers, config: settings } = blob(index.manifests[0].digest);
    const { history } = blob(settings.digest);
    const steps: readonly { created_by: string }[] = history.filter(
      ({ empty_layer }: { empty_layer?: boolean }) => !empty_layer,
    );
    expect(steps).toHaveLength(layers.length);
    const isBlob = layers.map(({ digest }: { digest: string }) => blobs.has(digest.replace('sha256:', '')));
    const ofPackage = steps.map(({ created_by = '' }) =>
      /^stackwright: \S+@\S+\/[a-z2-7]{32}$/.test(created_by),
    );
    expect(isBlob).toEqual(ofPackage);
    expect(ofPackage.filter(Boolean).length).toBeGreaterThanOrEqual(specs.length);
  });
});
