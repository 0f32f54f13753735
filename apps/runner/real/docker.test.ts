import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Spack } from '@stackwright/spack';
import { has, makeDebianRoot } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';

/**
 * The images of `docker/`, built by buildah on a Debian of debootstrap: a job runs in the builder, and an image of the
 * tutorial's kind installs all of its packages without a network. Its packages are the quickstart's, which are built in
 * seconds; all else comes from `stacks/tutorial`.
 */
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const programs = ['buildah', 'debootstrap', 'git', 'umoci', 'unshare', 'runc'];
const lacking = [
  ...programs.filter((program) => !has(program)),
  ...(spack ? [] : ['spack']),
  ...(process.getuid?.() === 0 ? [] : ['root']),
];
const reason =
  lacking.length > 0
    ? ` (skipped without ${lacking.join(', ')}: put spack on PATH and apt-get install ${programs.join(' ')})`
    : '';

const project = fileURLToPath(new URL('../../../', import.meta.url));
const quickstart = join(project, 'stacks/quickstart');
const tutorial = join(project, 'stacks/tutorial');
const folder = mkdtempSync(join(tmpdir(), 'docker-'));
const at = (...parts: string[]) => join(folder, ...parts);
const keep = process.env.STACKWRIGHT_TEST_KEEP !== undefined;
const storage = ['--root', at('storage'), '--runroot', at('running')];
afterAll(() => {
  if (keep) return console.log(`kept: ${folder}`);
  // Containers first: their layers are mounted in the storage.
  if (lacking.length === 0) execFileSync('buildah', [...storage, 'rm', '--all'], { stdio: 'ignore' });
  rmSync(folder, { recursive: true, force: true });
});

/** Calls a program and returns what it printed. The error of one that fails ends with that. */
async function call(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 256 * 1024 * 1024 }).catch(
    (error: { message: string; stdout?: string; stderr?: string }) => {
      throw new Error(`${error.message}\n${`${error.stdout}\n${error.stderr}`.slice(-6000)}`);
    },
  );
  return stdout;
}
const buildah = (...args: string[]) => call('buildah', [...storage, ...args]);
const build = (tag: string, context: string, ...args: string[]) =>
  buildah('build', '--isolation', 'chroot', '--tag', tag, ...args, context);
const stackwright = (...args: string[]) =>
  call(process.execPath, [join(project, 'apps/runner/bundle/cli.js'), ...args]);

/** A minimal Debian as an image, which trusts the authorities that this machine trusts. */
async function debianImage(): Promise<void> {
  await makeDebianRoot(at('debian/root'));
  const authorities = '/etc/ssl/certs/ca-certificates.crt';
  const trusted = at('debian/root/usr/local/share/ca-certificates');
  mkdirSync(trusted, { recursive: true });
  if (existsSync(authorities)) cpSync(authorities, join(trusted, 'host.crt'));
  writeFileSync(at('debian/Dockerfile'), 'FROM scratch\nCOPY root /\nCMD ["/bin/bash"]\n');
  await build('localhost/debian:12', at('debian'));
  rmSync(at('debian'), { recursive: true });
}

/** What the images are built from comes from this machine: Node, and clones of Spack and its recipes. */
async function sources(): Promise<void> {
  mkdirSync(at('node'));
  cpSync(process.execPath, at('node/node'), { dereference: true });
  writeFileSync(at('node/Dockerfile'), 'FROM scratch\nCOPY node /usr/local/bin/node\n');
  await build('localhost/node', at('node'));
  mkdirSync(at('sources'));
  const recipes = (await call('spack', ['location', '--repo', 'builtin'])).trim();
  await bareCopy((await call('spack', ['location', '--spack-root'])).trim(), 'spack.git');
  await bareCopy((await call('git', ['-C', recipes, 'rev-parse', '--show-toplevel'])).trim(), 'recipes.git');
}

/** A repository whose branch `image` is another's current commit. */
async function bareCopy(repository: string, name: string): Promise<void> {
  await call('git', ['init', '--quiet', '--bare', at('sources', name)]);
  const fetch = ['fetch', '--quiet', '--depth', '1', `file://${repository}`, 'HEAD:refs/heads/image'];
  await call('git', ['--git-dir', at('sources', name), ...fetch]);
}

const withSources = ['--volume', `${at('sources')}:/sources:ro`];

/** Builds the quickstart in the builder, and checks its image there. Prints the names of what the mirror has. */
const job = `
set -eu
git clone --quiet --branch image /sources/spack.git /tmp/spack
git clone --quiet --branch image /sources/recipes.git /tmp/recipes
mkdir -p /tmp/spack/etc/spack/site
printf 'repos:\\n  builtin: /tmp/recipes/repos/spack_repo/builtin\\n' > /tmp/spack/etc/spack/site/repos.yaml
cp -r /quickstart /tmp/stack && rm -r /tmp/stack/mirror
cd /tmp
stackwright key create Builder -o key --public /mirror/ci.pub > /dev/null
export SPACK_SIGNING_KEY="$(cat key)" SPACK_ROOT=/tmp/spack
stackwright run stack --mirror /mirror/binaries --trust /mirror/ci.pub --jobs 2
stackwright-image-hook stack --mirror /mirror/binaries --trust /mirror/ci.pub --check-only
stackwright mirror verify /mirror/binaries --trust /mirror/ci.pub
`;

/** A stack whose image is as the tutorial's but for the packages. */
function tutorialOfQuickstart(): void {
  cpSync(quickstart, at('stack'), { recursive: true });
  cpSync(join(tutorial, 'etc'), at('stack/etc'), { recursive: true });
  const { packages } = parse(readFileSync(join(quickstart, 'spack.yaml'), 'utf8')).spack;
  writeFileSync(at('stack/etc/packages.yaml'), stringify({ packages }));
  writeFileSync(at('stack/etc/repos.yaml'), 'repos:\n  quickstart: /tutorial/spack_repo/quickstart\n');
  const script = readFileSync(at('stack/etc/tutorial-test.sh'), 'utf8');
  // The program that it runs at its end is one of the tutorial's packages.
  const own = script
    .replace(/for spec in .*; do/, 'for spec in quickstart-suite hello-static; do')
    .replace(/^"\$\(spack location[\s\S]*/m, '"$(spack location -i hello)/bin/hello"\n');
  writeFileSync(at('stack/etc/tutorial-test.sh'), own);
  const { image } = parse(readFileSync(join(tutorial, 'stackwright.yaml'), 'utf8'));
  const files = [
    ...image.files,
    { path: '/etc/spack/repos.yaml', source: 'etc/repos.yaml' },
    { path: '/tutorial/spack_repo/quickstart', source: 'spack_repo/quickstart' },
  ];
  writeFileSync(at('stack/stackwright.yaml'), stringify({ trust: ['ci.pub'], image: { ...image, files } }));
  cpSync(at('mirror/ci.pub'), at('stack/ci.pub'));
}

/** Runs a command in a container as the image's user, with no network but its own loopback interface. */
async function inContainer(image: string, ...command: string[]): Promise<string> {
  const bundle = at('bundle');
  if (!existsSync(bundle)) await call('umoci', ['unpack', '--image', image, bundle]);
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
  config.process = { ...config.process, terminal: false, args: command };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  return call('runc', ['run', '-b', bundle, `docker-${process.pid}`]);
}

describe.skipIf(lacking.length > 0)(`images of docker/${reason}`, () => {
  beforeAll(async () => {
    await debianImage();
    await sources();
  }, 1_800_000);

  it('the builder holds all that a job needs: Spack builds, packages are signed, an image is checked', async () => {
    await build(
      'localhost/builder',
      project,
      ...['--build-arg', 'BASE=localhost/debian:12', '--build-arg', 'NODE_IMAGE=localhost/node'],
      ...['--file', join(project, 'docker/builder/Dockerfile')],
    );
    mkdirSync(at('mirror'));
    const container = (await buildah('from', 'localhost/builder')).trim();
    const volumes = [...withSources, '--volume', `${quickstart}:/quickstart:ro`];
    const mirror = ['--volume', `${at('mirror')}:/mirror`];
    await buildah('run', '--isolation', 'chroot', ...volumes, ...mirror, container, 'sh', '-c', job);
    const { packages } = JSON.parse(await stackwright('mirror', 'list', at('mirror/binaries'), '--json'));
    const names = packages.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['hello', 'hello-static', 'quickstart-suite']));
  });

  it('the tutorial image installs its whole mirror without a network', async () => {
    await build(
      'localhost/tools',
      join(project, 'docker/tutorial-image'),
      ...withSources,
      ...['--build-arg', 'BASE=localhost/debian:12', '--build-arg', 'SPACK_VERSION=image'],
      ...[
        '--build-arg',
        'SPACK_REPOSITORY=file:///sources/spack.git',
        '--build-arg',
        'RECIPES_VERSION=image',
      ],
      ...['--build-arg', 'RECIPES_REPOSITORY=file:///sources/recipes.git'],
    );
    await buildah('push', 'localhost/tools', `oci:${at('tools')}:latest`);
    tutorialOfQuickstart();
    const from = ['--mirror', at('mirror/binaries'), '--work', at('work')];
    const image = `${at('image')}:latest`;
    await stackwright(
      ...[
        'image',
        'build',
        at('stack'),
        ...from,
        '--base',
        `oci:${at('tools')}:latest`,
        '-o',
        `oci:${image}`,
      ],
    );

    expect((await inContainer(image, 'sh', '-c', 'id -un; pwd')).trim()).toBe('spack\n/home/spack');
    expect(await inContainer(image, 'cat', '/mirror/public.key')).toContain('BEGIN PGP PUBLIC KEY BLOCK');
    const said = await inContainer(image, '/bin/bash', '-l', '/tutorial/.test/tutorial-test.sh');
    expect(said).toMatch(/Hello/i);
    const installed = await inContainer(image, '/bin/bash', '-lc', 'spack find --format "{name}"');
    expect(installed.trim().split(/\s+/)).toEqual(
      expect.arrayContaining(['chorus', 'greet-scripts', 'hello', 'hello-static', 'quickstart-suite']),
    );
  });
});
