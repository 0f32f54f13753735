import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadEnvironment, readStackSettings } from '@stackwright/spack-env';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { main } from '../main.js';

const quickstart = fileURLToPath(new URL('../../../../stacks/quickstart', import.meta.url));
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'generate-'));
  cpSync(quickstart, join(root, 'stack'), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const git = (...args: string[]) =>
  execFileSync('git', ['-C', root, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { stdio: 'pipe' });

function commit(message: string) {
  git('add', '--all', '--force');
  git('commit', '--quiet', '-m', message);
}

function edit(change: (text: string) => string) {
  const file = join(root, 'stack/spack.yaml');
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

async function generate(args: string[] = [], env: Record<string, string> = {}) {
  const done = await command(['generate', 'stack', ...args], root, { HOME: root, ...env });
  return { ...done, pipeline: () => parse(readFileSync(join(root, '.gitlab-ci.yml'), 'utf8')) };
}

async function command(args: string[], cwd: string, env: Record<string, string>) {
  let said = '';
  let printed = '';
  const sink = (take: (text: string) => void) =>
    new Writable({
      write(chunk, _encoding, done) {
        take(String(chunk));
        done();
      },
    });
  const code = await main(args, {
    stdout: sink((text) => (printed += text)),
    stderr: sink((text) => (said += text)),
    cwd,
    env: { PATH: process.env.PATH, ...env },
  });
  return { code, said, printed };
}

const builds = (pipeline: object) => Object.keys(pipeline).filter((name) => name.includes('@'));

describe('generate', () => {
  it('has nothing to do for a mirror that has everything', async () => {
    const { code, pipeline } = await generate();
    expect(code).toBe(0);
    expect(Object.keys(pipeline())).toContain('no-specs-to-rebuild');
  });

  it('has a job for each spec without pruning, and keeps the environment for them', async () => {
    const { pipeline } = await generate(['--no-prune-dag']);
    expect(builds(pipeline())).toHaveLength(9);
    expect(existsSync(join(root, 'jobs_scratch_dir/concrete_environment/spack.lock'))).toBe(true);
  });

  it('writes the same to the byte again', async () => {
    await generate(['--no-prune-dag']);
    const first = readFileSync(join(root, '.gitlab-ci.yml'));
    await generate(['--no-prune-dag']);
    expect(readFileSync(join(root, '.gitlab-ci.yml')).equals(first)).toBe(true);
  });

  it('names a missing signature as the reason to build', async () => {
    for (const name of ['libgreet']) {
      const folder = join(root, 'stack/mirror/v3/manifests/spec', name);
      const [file] = execFileSync('ls', [folder], { encoding: 'utf8' }).trim().split('\n');
      const signed = readFileSync(join(folder, file!), 'utf8');
      const body = signed.slice(signed.indexOf('\n\n') + 2, signed.indexOf('-----BEGIN PGP SIGNATURE'));
      writeFileSync(join(folder, file!), body);
    }
    const { said, pipeline } = await generate();
    expect(said).toMatch(/\[x\] libgreet@\S+ +not signed on file:/);
    expect(builds(pipeline())).toHaveLength(1);
  });

  it.each<[string, (text: string) => string, RegExp]>([
    [
      'an unknown key of the ci section, with its place',
      (text) => text.replace('tags: [quickstart]', 'tagz: [quickstart]'),
      /spack\.yaml:\d+:\d+: .*"tagz".*Did you mean "tags"/s,
    ],
    [
      'a stack without ci section',
      (text) => text.replace(/^ {2}ci:[\s\S]*?(?=^ {2}\w)/m, ''),
      /no "ci:" section/,
    ],
    [
      'a stack without destination',
      (text) => text.replace('buildcache-destination', 'other'),
      /buildcache-destination/,
    ],
  ])('refuses %s', async (_name, change, message) => {
    edit(change);
    const { code, said } = await generate();
    expect(said).toMatch(message);
    expect(code).toBe(2);
    expect(existsSync(join(root, '.gitlab-ci.yml'))).toBe(false);
  });

  it('refuses to prune what is untouched where git cannot tell', async () => {
    const { code, said } = await generate([], { SPACK_PRUNE_UNTOUCHED: 'true' });
    expect(said).toMatch(/no package repository of the stack is in a git checkout/);
    expect(code).toBe(3);
  });

  it('prunes what the last commit did not touch', async () => {
    // Beside the stack, as a change inside of it would count as one of the stack.
    cpSync(join(root, 'stack/spack_repo'), join(root, 'spack_repo'), { recursive: true });
    edit((text) => text.replace('quickstart: spack_repo/quickstart', 'quickstart: ../spack_repo/quickstart'));
    git('init', '--quiet');
    commit('one');
    const recipe = execFileSync('find', [join(root, 'spack_repo'), '-path', '*libchorus/package.py'], {
      encoding: 'utf8',
    });
    writeFileSync(recipe.trim(), '# changed\n', { flag: 'a' });
    commit('two');
    const { said } = await generate(['--no-prune-dag', '--prune-unaffected'], {
      SPACK_PRUNE_UNTOUCHED_DEPENDENT_DEPTH: '0',
    });
    expect(said).toMatch(/\[x\] libchorus@/);
    expect(said).toMatch(/ - +greet-scripts@\S+ +untouched by the change/);
  });

  it('refuses specs that are known to be broken', async () => {
    const lock = readFileSync(join(root, 'stack/spack.lock'), 'utf8');
    const [hash] = Object.entries(JSON.parse(lock).concrete_specs as Record<string, { name: string }>).find(
      ([, node]) => node.name === 'libgreet',
    )!;
    mkdirSync(join(root, 'broken'));
    writeFileSync(join(root, 'broken', hash), '');
    edit((text) => text.replace('  ci:\n', `  ci:\n    broken-specs-url: file://${root}/broken\n`));
    const { said, code } = await generate(['--no-prune-dag'], { SPACK_PRUNE_UP_TO_DATE: 'true' });
    expect(code).toBe(0);
    rmSync(join(root, 'stack/mirror'), { recursive: true });
    const again = await generate();
    expect(again.said).toMatch(/Known to be broken .*libgreet@/);
    expect(again.code).toBe(1);
    expect(said).not.toMatch(/Known to be broken/);
  });

  it('commits the pipeline to a branch of DOWNSTREAM_CI_REPO', async () => {
    const repository = join(root, 'downstream.git');
    execFileSync('git', ['init', '--quiet', '--bare', repository]);
    const { code } = await generate(['--no-prune-dag'], {
      DOWNSTREAM_CI_REPO: repository,
      CI_JOB_NAME: 'generate',
      CI_PIPELINE_ID: '7',
      CI_COMMIT_REF_NAME: 'feature/x',
    });
    expect(code).toBe(0);
    const show = (path: string) =>
      execFileSync('git', ['-C', repository, 'show', `feature/x:${path}`], { encoding: 'utf8' });
    const pipeline = parse(show('.gitlab-ci.yml'));
    expect(builds(pipeline)).toHaveLength(9);
    expect(JSON.stringify(pipeline)).not.toContain('"pipeline":"7"');
    expect(show('jobs_scratch_dir/concrete_environment/spack.lock')).toContain('concrete_specs');
  });

  it('sends the recipes, the included configuration and the keys along to DOWNSTREAM_CI_REPO', async () => {
    // Recipes beside the stack, configuration at an absolute path that includes more, and a key elsewhere.
    renameSync(join(root, 'stack/spack_repo'), join(root, 'spack_repo'));
    mkdirSync(join(root, 'site/more'), { recursive: true });
    mkdirSync(join(root, 'keys'));
    renameSync(join(root, 'stack/keys/quickstart.pub'), join(root, 'keys/site.pub'));
    writeFileSync(
      join(root, 'stack/stackwright.yaml'),
      'trust: [../keys/site.pub]\nimage: {base: scratch}\n',
    );
    writeFileSync(join(root, 'site/include.yaml'), 'include: [more/packages.yaml]\n');
    writeFileSync(join(root, 'site/config.yaml'), 'config: {build_jobs: 2}\n');
    writeFileSync(join(root, 'site/more/packages.yaml'), 'packages: {all: {permissions: {read: world}}}\n');
    writeFileSync(join(root, 'stack/own.yaml'), 'concretizer: {reuse: false}\n');
    edit((text) =>
      text
        .replace('quickstart: spack_repo/quickstart', 'quickstart: ../spack_repo/quickstart')
        .replace('  view: false', `  include: [own.yaml, ${root}/site]\n  view: false`),
    );
    const repository = join(root, 'downstream.git');
    execFileSync('git', ['init', '--quiet', '--bare', repository]);
    const env = { DOWNSTREAM_CI_REPO: repository, CI_COMMIT_REF_NAME: 'x' };
    const { code, said } = await generate(['--no-prune-dag'], env);
    expect({ code, said }).toMatchObject({
      code: 0,
      said: expect.stringMatching(/mirror .* is a folder of this/),
    });

    const clone = mkdtempSync(join(tmpdir(), 'downstream-'));
    try {
      execFileSync('git', ['clone', '--quiet', '--branch', 'x', repository, clone]);
      for (const gone of ['stack', 'site', 'spack_repo', 'keys'])
        rmSync(join(root, gone), { recursive: true });
      const folder = join(clone, 'jobs_scratch_dir/concrete_environment');
      const manifest = readFileSync(join(folder, 'spack.yaml'), 'utf8');
      // Only the mirror is still a path of the machine that generated.
      expect(manifest.split('\n').filter((line) => line.includes(root))).toEqual([
        expect.stringContaining('/stack/mirror'),
      ]);
      const there = (...args: string[]) => command([...args, folder], clone, { HOME: clone });
      expect(await there('check')).toMatchObject({ code: 0 });
      const { printed } = await there('graph', '--format', 'json');
      expect(JSON.parse(printed).nodes).toHaveLength(12);
      const stack = await loadEnvironment(folder);
      expect(stack.findings).toEqual([]);
      expect(stack.config.config).toMatchObject({ build_jobs: 2 });
      expect(stack.config.packages).toMatchObject({ all: { permissions: { read: 'world' } } });
      const { quickstart: recipes } = parse(manifest).spack.repos;
      expect(existsSync(join(folder, recipes, 'packages/libgreet/package.py'))).toBe(true);
      expect(recipes).toMatch(/\/spack_repo\/quickstart$/);
      const [key] = (await readStackSettings(folder)).trust;
      expect(readFileSync(join(folder, key!), 'utf8')).toContain('PUBLIC KEY');
    } finally {
      rmSync(clone, { recursive: true, force: true });
    }
  });

  describe('tells the jobs which Spack they use', () => {
    const written = (env: Record<string, string>, ...args: string[]) =>
      generate(['--no-prune-dag', ...args], env).then(({ pipeline, code, said }) => {
        expect({ code, said }).toMatchObject({ code: 0 });
        const { variables, ...jobs } = pipeline() as Record<string, { variables?: Record<string, string> }>;
        return { said, own: jobs, variables: variables as Record<string, string> };
      });

    it('the one that wrote the lock, where nobody says', async () => {
      const { variables } = await written({});
      expect(variables).toMatchObject({ SPACK_REF: 'v1.1.0', STACKWRIGHT_VERSION: expect.any(String) });
      expect(variables).not.toHaveProperty('SPACK_REPO');
    });

    it('the one of the variables, and of the options before them', async () => {
      const env = { SPACK_REPO: 'https://git.example.org/spack', SPACK_REF: 'v1.0.0' };
      expect((await written(env)).variables).toMatchObject(env);
      const { variables } = await written(env, '--spack-ref', 'v1.2.2', '--spack-repo', '/srv/spack');
      expect(variables).toMatchObject({ SPACK_REPO: '/srv/spack', SPACK_REF: 'v1.2.2' });
    });

    it('what is asked for here, whatever the stack says', async () => {
      edit((text) =>
        text.replace('          retry: 1', "          retry: 1\n          variables: {SPACK_REF: 'v1.0.0'}"),
      );
      const refs = ({ own }: Awaited<ReturnType<typeof written>>) => [
        ...new Set(Object.values(own).map((job) => job.variables?.SPACK_REF)),
      ];
      expect(refs(await written({}))).toContain('v1.0.0');
      expect(refs(await written({}, '--spack-ref', 'v1.2.2'))).toEqual([undefined]);
    });

    it('the whole of a short commit, which git finds', async () => {
      const repository = join(root, 'spack');
      mkdirSync(repository);
      const inside = (...args: string[]) =>
        execFileSync('git', ['-C', repository, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
          encoding: 'utf8',
        }).trim();
      inside('init', '--quiet');
      inside('commit', '--quiet', '--allow-empty', '-m', 'x');
      const commit = inside('rev-parse', 'HEAD');
      inside('commit', '--quiet', '--allow-empty', '-m', 'y');
      const { variables } = await written({ SPACK_REPO: repository }, '--spack-ref', commit.slice(0, 8));
      expect(variables.SPACK_REF).toBe(commit);
      const none = await generate(['--spack-ref', '01234567'], { SPACK_REPO: repository });
      expect(none).toMatchObject({ code: 3, said: expect.stringContaining('01234567') });
    });

    it('but no password of a repository', async () => {
      const { said } = await written({ SPACK_REPO: 'https://me:hunter22@git.example.org/spack' });
      expect(readFileSync(join(root, '.gitlab-ci.yml'), 'utf8')).not.toContain('git.example.org');
      expect(said).toMatch(/SPACK_REPO holds a password/);
      expect(said).not.toContain('hunter22');
    });
  });

  it.each([
    ['github', '.github/workflows/stack.yml', /image: "?debian:12/],
    ['slurm', 'stack.slurm.sh', /^#!\/usr\/bin\/env bash/],
  ])('writes for %s', async (target, file, text) => {
    const { printed } = await generate(['--target', target, '--no-prune-dag', '--json']);
    expect(JSON.parse(printed)).toEqual({ target, files: [file], jobs: 9 });
    expect(readFileSync(join(root, file), 'utf8')).toMatch(text);
  });
});

const hasRsync = existsSync('/usr/bin/rsync');
describe.skipIf(!hasRsync || !existsSync(cli))(
  'gitlab-ci-local (after a build; apt-get install rsync)',
  () => {
    it('runs the parent and the generated child pipeline of the quickstart stack to the end', async () => {
      // Jobs bring the stackwright that this names; it builds nothing, and makes the index of the mirror really.
      const program = join(root, 'stackwright');
      writeFileSync(
        program,
        `#!/bin/sh
echo "$1 $SPACK_JOB_SPEC_PKG_NAME $SPACK_REF" >> "$BUILT"
if [ "$1" = mirror ]; then exec ${process.execPath} ${cli} "$@"; fi
`,
        { mode: 0o755 },
      );
      const built = join(root, '..', `${root.split('/').at(-1)}-built.txt`);
      writeFileSync(
        join(root, '.gitlab-ci.yml'),
        `stages: [generate, build]
variables:
  BUILT: ${built}
  STACKWRIGHT_COMMAND: ${program}
  SPACK_REF: v1.1.1
generate:
  stage: generate
  script:
    - ${process.execPath} ${cli} generate stack --no-prune-dag --output-file jobs_scratch_dir/pipeline.yml
  artifacts:
    paths: [jobs_scratch_dir]
packages:
  stage: build
  needs: [generate]
  trigger:
    include: [{artifact: jobs_scratch_dir/pipeline.yml, job: generate}]
    strategy: depend
`,
      );
      git('init', '--quiet');
      git('remote', 'add', 'origin', 'https://gitlab.example.invalid/group/project.git');
      commit('one');
      const require = createRequire(import.meta.url);
      const gitlab = join(dirname(require.resolve('gitlab-ci-local/package.json')), 'dist/index.js');
      await promisify(execFile)(
        process.execPath,
        [gitlab, '--force-shell-executor', '--ignore-predefined-vars', 'CI_PIPELINE_SOURCE'],
        {
          cwd: root,
          env: { ...process.env, CI: '' },
          maxBuffer: 1 << 26,
        },
      );
      const order = readFileSync(built, 'utf8').trim().split('\n');
      rmSync(built);
      expect(order).toHaveLength(10);
      const at = (name: string) => order.indexOf(`rebuild ${name} v1.1.1`);
      expect(Math.min(at('libgreet'), at('chorus'))).toBeGreaterThanOrEqual(0);
      expect(at('libgreet')).toBeLessThan(at('hello'));
      expect(at('quickstart-suite')).toBeGreaterThan(at('chorus'));
      expect(order.at(-1)).toMatch(/^mirror /);
    }, 180_000);
  },
);
