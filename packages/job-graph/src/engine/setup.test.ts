import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { toAttributes } from '../ci/attributes.js';
import { graph } from '../graph/graphs.test.support.js';
import { engines } from './engines.js';
import { inputOf } from './engines.test.support.js';
import { type JobSetup, setupOf } from './setup.js';

const setup: JobSetup = { stackwright: { version: '0.1.0' }, spack: { ref: 'v1.1.0' } };
const brings = (job: object, of = setup) => {
  const { tools, stackwright, spack } = setupOf(toAttributes(job as Record<string, unknown>), of);
  expect(tools.length).toBe(stackwright.length || spack.length);
  return [...(stackwright.length > 0 ? ['stackwright'] : []), ...(spack.length > 0 ? ['spack'] : [])];
};

describe('setupOf', () => {
  it.each<[string, object, string[]]>([
    ['stackwright for a job that calls it', { script: ['stackwright rebuild'] }, ['stackwright']],
    [
      'the same in a list in a list',
      { script: [['cd x', 'A=1 stackwright rebuild --tests']] },
      ['stackwright'],
    ],
    ['Spack for a job that calls it', { script: ['cd x', 'spack ci rebuild'] }, ['spack']],
    ['both', { script: ['stackwright rebuild && spack find'] }, ['stackwright', 'spack']],
    ['nothing for a job that calls neither', { script: ['echo my-spack', './spack x'] }, []],
    [
      'no Spack where the job brings its own',
      { before_script: ['. ./share/spack/setup-env.sh'], script: ['spack ci rebuild'] },
      [],
    ],
    [
      'no Spack where a variable says where it is',
      { variables: { SPACK_ROOT: '/opt/spack' }, script: ['spack ci rebuild'] },
      [],
    ],
    ['nothing where before_script replaces', { 'before_script:': [], script: ['stackwright rebuild'] }, []],
  ])('brings %s', (_name, job, expected) => expect(brings(job)).toEqual(expected));

  it('brings no Spack that nobody named', () => {
    const unnamed = { ...setup, spack: {} };
    expect(brings({ script: ['spack ci rebuild'] }, unnamed)).toEqual([]);
  });
});

describe('the setup of every engine', () => {
  const section = (before: object) => ({
    'rebuild-index': false,
    'pipeline-gen': [{ 'build-job': { 'script:': ['stackwright rebuild'], ...before } }],
  });
  const place = { stack: '/project/stacks/mine', from: '/project' };
  const text = (engine: keyof typeof engines, before: object, given?: JobSetup) =>
    engines[engine].files(inputOf(graph({ a: [] }), section(before), { setup: given }), place)[0]!.text;

  it.each(['gitlab', 'github', 'slurm'] as const)('reaches the jobs of %s', (engine) => {
    const spack = { repo: 'https://git.example.org/spack', ref: '0123456789abcdef' };
    const command = 'npx --yes --package=https://example.org/stackwright.tgz stackwright';
    const written = text(engine, {}, { spack, stackwright: { version: '0.1.0', command } });
    for (const part of [spack.repo, spack.ref, command, '# Brings stackwright'])
      expect(written).toContain(part);
  });

  it.each(['gitlab', 'github', 'slurm'] as const)(
    'is left out by %s where the stack brings its own',
    (engine) => {
      const own = { 'before_script:': ['module load stackwright'] };
      const build = text(engine, own, setup);
      expect(build).toContain('module load stackwright');
      expect(build).not.toContain('$tools');
    },
  );

  it("stands before the stack's own commands in GitLab", () => {
    const pipeline = parse(text('gitlab', { before_script: ['echo own'] }, setup));
    const { before_script: before } = pipeline['a@1 /a'];
    expect(before).toHaveLength(3);
    expect(before[0]).toMatch(/^# Installs/);
    expect(before[1]).toMatch(/^# Brings stackwright/);
    expect(before[2]).toBe('echo own');
  });

  it('gets no secret in GitHub', () => {
    const workflow = parse(text('github', {}, setup));
    const steps = workflow.jobs['a-a'].steps as { name?: string; env?: object; run?: string }[];
    const at = steps.findIndex((step) => step.name === 'Set up');
    expect(at).toBeLessThan(steps.findIndex((step) => step.name === 'Build'));
    expect(steps[at]!.env).toBeUndefined();
  });
});

/** Runs a setup, and what calls the programs then, with the shell that containers have and the one that runners use. */
describe.each(['sh', 'bash'])('the setup, run by %s', (shell) => {
  let root: string;
  let bin: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'setup-'));
    bin = join(root, 'bin');
    mkdirSync(bin);
    const programs = [
      'sh',
      'bash',
      'id',
      'uname',
      'tr',
      'sed',
      'mkdir',
      'mv',
      'rm',
      'chmod',
      'curl',
      'grep',
      'tar',
      'gzip',
    ];
    for (const name of [...programs, 'sha256sum', 'git', 'dirname', 'cat', 'ls']) {
      symlinkSync(execFileSync('which', [name], { encoding: 'utf8' }).trim(), join(bin, name));
    }
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const program = (path: string, lines: string) => {
    writeFileSync(path, `#!/bin/sh\n${lines}\n`);
    chmodSync(path, 0o755);
  };
  const defaults = { STACKWRIGHT_VERSION: '0.1.0', SPACK_REF: 'v1.1.0', STACKWRIGHT_INSTALL: 'false' };
  const run = (script: string[], env: Record<string, string> = {}) => {
    const lines = setupOf(toAttributes({ script }), setup);
    const text = ['set -e', ...lines.tools, ...lines.stackwright, ...lines.spack, ...script].join('\n');
    const { status, stdout, stderr } = spawnSync(shell, ['-c', text], {
      cwd: root,
      env: { ...defaults, PATH: bin, HOME: root, ...env },
      encoding: 'utf8',
    });
    return { status, lines: stdout.trim().split('\n'), stderr };
  };
  /** A release of Node that says how it was called. */
  const nodeRelease = (checksum?: string) => {
    const system = `${process.platform}-${process.arch}`;
    const name = `node-v22.21.1-${system}`;
    const release = join(root, 'dist/v22.21.1');
    mkdirSync(join(release, name, 'bin'), { recursive: true });
    program(join(release, name, 'bin/node'), `exec "${process.execPath}" "$@"`);
    program(join(release, name, 'bin/npx'), 'echo "npx $*"');
    execFileSync('tar', ['-C', release, '-czf', join(release, `${name}.tar.gz`), name]);
    const sum = createHash('sha256')
      .update(readFileSync(join(release, `${name}.tar.gz`)))
      .digest('hex');
    writeFileSync(join(release, 'SHASUMS256.txt'), `${checksum ?? sum}  ${name}.tar.gz\n`);
    return { NODEJS_ORG_MIRROR: `file://${join(root, 'dist')}` };
  };

  it('brings Node, and stackwright of the version that wrote the pipeline from npm', () => {
    const { status, lines } = run(['stackwright mirror index x'], nodeRelease());
    expect({ status, last: lines.at(-1) }).toEqual({
      status: 0,
      last: 'npx --yes stackwright@0.1.0 mirror index x',
    });
    // The next job in the same folder fetches nothing.
    rmSync(join(root, 'dist'), { recursive: true });
    expect(run(['stackwright mirror index y']).lines).toEqual(['npx --yes stackwright@0.1.0 mirror index y']);
  });

  it('takes no Node whose checksum is wrong', () => {
    const { status, stderr } = run(['stackwright mirror index x'], nodeRelease('0'.repeat(64)));
    expect(status).toBe(1);
    expect(stderr).toContain('checksum');
    expect(existsSync(join(root, '.stackwright/tools/bin/node'))).toBe(false);
  });

  it('brings nothing where the same stackwright is installed', () => {
    program(join(bin, 'stackwright'), 'if [ "$1" = --version ]; then echo 0.1.0; else echo "own $*"; fi');
    expect(run(['stackwright mirror index x'])).toMatchObject({ status: 0, lines: ['own mirror index x'] });
    expect(existsSync(join(root, '.stackwright'))).toBe(false);
  });

  it('brings its own version where another one is installed', () => {
    program(join(bin, 'stackwright'), 'echo 0.0.9');
    symlinkSync(process.execPath, join(bin, 'node'));
    program(join(bin, 'npx'), 'echo "npx $*"');
    expect(run(['stackwright mirror index x']).lines).toEqual(['npx --yes stackwright@0.1.0 mirror index x']);
  });

  it('takes the command that STACKWRIGHT_COMMAND names, with its quotes', () => {
    program(join(bin, 'site'), 'for word; do echo "[$word]"; done');
    const { lines } = run(['stackwright "a  b"'], { STACKWRIGHT_COMMAND: "site 'one  word'" });
    expect(lines).toEqual(['[one  word]', '[a  b]']);
  });

  it('brings Spack at a tag and at a commit, with its shell function', () => {
    const repository = join(root, 'spack');
    mkdirSync(join(repository, 'bin'), { recursive: true });
    mkdirSync(join(repository, 'share/spack'), { recursive: true });
    program(join(repository, 'bin/spack'), 'echo never');
    writeFileSync(
      join(repository, 'share/spack/setup-env.sh'),
      'spack() { echo "function $* in $SPACK_ROOT"; }\n',
    );
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@b.c', ...args], {
        encoding: 'utf8',
      });
    git('init', '--quiet');
    git('config', 'uploadpack.allowAnySHA1InWant', 'true');
    git('add', '.');
    git('commit', '--quiet', '-m', 'x');
    git('tag', 'v1.1.0');
    const commit = git('rev-parse', 'HEAD').trim();
    for (const ref of ['v1.1.0', commit]) {
      const { status, lines } = run(['spack env activate .'], { SPACK_REPO: repository, SPACK_REF: ref });
      expect({ status, lines }).toEqual({
        status: 0,
        lines: [`function env activate . in ${join(root, '.stackwright/tools', `spack-${ref}`)}`],
      });
    }
    expect(run(['spack find'], { SPACK_REPO: repository, SPACK_REF: 'v9' }).status).not.toBe(0);
  });

  it('installs what a container lacks, as root and unless it is told not to', () => {
    symlinkSync(process.execPath, join(bin, 'node'));
    program(join(bin, 'npx'), 'echo npx');
    program(join(bin, 'apt-get'), 'echo "apt-get $*"');
    rmSync(join(bin, 'id'));
    program(join(bin, 'id'), 'echo "$USER_ID"');
    const installs = (env: Record<string, string>) =>
      run(['stackwright rebuild'], {
        container: 'podman',
        USER_ID: '0',
        STACKWRIGHT_INSTALL: '',
        ...env,
      }).lines.filter((line) => line.startsWith('apt-get'));
    expect(installs({})).toEqual([
      'apt-get -qq update',
      expect.stringMatching(/^apt-get -qq install .*build-essential.* python3/),
    ]);
    expect(installs({ USER_ID: '1000' })).toEqual([]);
    expect(installs({ STACKWRIGHT_INSTALL: 'false' })).toEqual([]);
  });
});
