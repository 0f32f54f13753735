// `run` of a stack from nothing beside `spack install` and a signed `spack buildcache push`, and one job by `rebuild`
// beside `spack ci rebuild`.
//
//   node bench/run.mjs [RUNS]        (default: 5; needs spack and gpg on PATH)
//
// Builds the quickstart below bench/.work, both in turns with two packages at a time, and prints medians of wall and CPU
// seconds and the ratio. Each starts with an empty mirror and an empty install tree. Ours runs with `--sandbox off`: the
// kernel does not add the CPU time of what ended with its PID namespace to that of the caller.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const [runs = 5] = process.argv.slice(2).map(Number);
const cli = path('../apps/runner/bundle/cli.js');
const work = path('.work/run/');
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
// The path of gpg's socket must be short.
const keys = mkdtempSync(join(tmpdir(), 'bench-'));

const stack = join(work, 'stack');
const tree = join(work, 'opt');
const mirror = join(work, 'mirror');
makeStack();
const env = { ...process.env, SPACK_GNUPGHOME: keys, SPACK_SIGNING_KEY: makeKey() };

const whole = measure(
  () => ours('run', stack, '--mirror', mirror, '--jobs', '2', '--work', join(work, 'w')),
  () => [
    time('spack', '-c', 'bootstrap:enable:true', '-e', stack, 'install', '-j2', '-p2'),
    time('spack', '-c', 'bootstrap:enable:true', '-e', stack, 'buildcache', 'push', mirror),
  ],
  clear,
);
print('run / install and push', whole);

const job = readyForJob();
const one = measure(
  () => ours('rebuild', job.environment, '--work', join(work, 'w')),
  () => [time('spack', '-e', job.environment, 'ci', 'rebuild')],
  () => {
    clear();
    cpSync(join(work, 'dependencies'), mirror, { recursive: true });
    Object.assign(env, job.variables);
  },
);
print('rebuild / ci rebuild', one);
rmSync(keys, { recursive: true, force: true });

function clear() {
  for (const folder of [tree, mirror, join(work, 'w'), join(work, 'scratch')])
    rmSync(folder, { recursive: true, force: true });
}

/** The quickstart with an install tree and a mirror of its own. */
function makeStack() {
  cpSync(path('../stacks/quickstart'), stack, { recursive: true });
  rmSync(join(stack, 'mirror'), { recursive: true });
  const file = join(stack, 'spack.yaml');
  const text = readFileSync(file, 'utf8')
    .replace('root: /opt/quickstart', `root: ${tree}`)
    .replace('url: ./mirror', `url: ${mirror}`)
    .replace('quickstart: spack_repo', `quickstart: ${stack}/spack_repo`);
  writeFileSync(file, text.slice(0, text.indexOf('  cdash:')));
}

/** One key for both: in Spack's keyring, and as a variable. */
function makeKey() {
  const key = join(work, 'key');
  writeFileSync(key, execFileSync(process.execPath, [cli, 'key', 'create', 'Bench']));
  const text = readFileSync(key, 'utf8').trim();
  const armored = Buffer.from(text, 'base64').toString();
  const begin = armored.indexOf('-----BEGIN PGP PRIVATE');
  const gpg = (input) =>
    execFileSync('gpg', ['--homedir', keys, '--batch', '--quiet', '--import'], { input, stdio: 'pipe' });
  gpg(armored.slice(0, begin));
  gpg(armored.slice(begin));
  writeFileSync(join(work, 'key.pub'), armored.slice(0, begin));
  writeFileSync(join(stack, 'stackwright.yaml'), 'trust: [../key.pub]\n');
  return text;
}

/** What a job of a pipeline finds: the mirror with all but its package, and its variables. */
function readyForJob() {
  clear();
  ours('run', stack, '--mirror', mirror, '--jobs', '2', '--work', join(work, 'w'));
  rmSync(join(mirror, 'v3/manifests/spec/hello'), { recursive: true });
  cpSync(mirror, join(work, 'dependencies'), { recursive: true });
  const { concrete_specs: specs } = JSON.parse(readFileSync(join(stack, 'spack.lock'), 'utf8'));
  const [hash] = Object.entries(specs).find(([, { name }]) => name === 'hello');
  const scratch = join(work, 'scratch');
  return {
    environment: stack,
    variables: {
      CI_PROJECT_DIR: work,
      SPACK_CONCRETE_ENV_DIR: stack,
      SPACK_ENV: stack,
      SPACK_JOB_LOG_DIR: join(scratch, 'logs'),
      SPACK_JOB_REPRO_DIR: join(scratch, 'repro'),
      SPACK_JOB_TEST_DIR: join(scratch, 'tests'),
      SPACK_LOCAL_MIRROR_DIR: join(scratch, 'mirror'),
      SPACK_JOB_SPEC_DAG_HASH: hash,
      SPACK_JOB_SPEC_PKG_NAME: 'hello',
      SPACK_CI_STACK_NAME: 'bench',
      SPACK_CI_BUILDCACHE_URL: mirror,
      SPACK_PIPELINE_TYPE: 'spack_protected_branch',
      SPACK_ARTIFACTS_ROOT: scratch,
    },
  };
}

function ours(...args) {
  return [time(process.execPath, cli, ...args, '--sandbox', 'off')];
}

/** Wall and CPU seconds of a command with all its children. */
function time(program, ...args) {
  const script = 'TIMEFORMAT="measured %R %U %S"; time "$@" >/dev/null 2>"$0"';
  const errors = join(work, 'errors');
  const run = spawnSync('bash', ['-c', script, errors, program, ...args], {
    encoding: 'utf8',
    env,
    cwd: work,
  });
  if (run.status !== 0)
    throw new Error(`${program} ${args.join(' ')}: exit code ${run.status}\n${readFileSync(errors, 'utf8')}`);
  const [, wall, user, system] = /measured (\S+) (\S+) (\S+)/.exec(run.stderr).map(Number);
  return { wall, cpu: user + system };
}

function measure(one, other, before) {
  const found = { ours: [], theirs: [] };
  for (let round = 0; round < runs; round += 1) {
    for (const [who, work] of [
      ['ours', one],
      ['theirs', other],
    ]) {
      before();
      const parts = work();
      const sum = (key) => parts.reduce((all, part) => all + part[key], 0);
      found[who].push({ wall: sum('wall'), cpu: sum('cpu') });
    }
  }
  return found;
}

function print(what, { ours, theirs }) {
  const cells = ['wall', 'cpu'].map((key) => {
    const [a, b] = [ours, theirs].map((all) => all.map((one) => one[key]).sort((x, y) => x - y)[runs >> 1]);
    return `${key} ${a.toFixed(2)} : ${b.toFixed(2)} s (${(a / b).toFixed(2)})`;
  });
  console.log(`${what.padEnd(24)} ${cells.join('   ')}`);
}
