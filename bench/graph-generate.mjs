// `stackwright generate` beside `spack ci generate`, in one run: node bench/graph-generate.mjs [ROUNDS]
// Needs spack on PATH, /usr/bin/time, python3 and ../shared; without spack it measures ours alone.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 3);
const root = fileURLToPath(new URL('..', import.meta.url));
const shared = join(root, '../shared');
const cli = join(root, 'apps/runner/bundle/cli.js');
if (!existsSync(join(shared, 'bench/scale-lock.py'))) {
  console.error('The ground truth ../shared is not there, so there is no lock to measure with.');
  process.exit(3);
}
const spack = spawnSync('spack', ['--version'], { encoding: 'utf8' });
const work = mkdtempSync(join(tmpdir(), 'bench-generate-'));

try {
  for (const copies of [1, 6]) measure(copies);
} finally {
  rmSync(work, { recursive: true, force: true });
}

function measure(copies) {
  const stack = join(work, `x${copies}`);
  const lock = join(shared, 'data/locks/tutorial/spack.lock');
  const made = spawnSync('python3', [join(shared, 'bench/scale-lock.py'), stack, String(copies), lock], {
    encoding: 'utf8',
  });
  console.log(`\n${made.stdout.trim()}, ${rounds} rounds, medians`);
  const ours = [];
  const theirs = [];
  const digests = new Set();
  for (let round = 0; round < rounds; round++) {
    const own = join(work, 'own');
    mkdirSync(own, { recursive: true });
    ours.push(timed(own, process.execPath, [cli, 'generate', stack, '--output-file', 'jobs.yml']));
    digests.add(
      createHash('sha256')
        .update(readFileSync(join(own, 'jobs.yml')))
        .digest('hex'),
    );
    if (spack.status === 0) {
      // Spack writes into the environment, so it gets its own.
      const other = join(work, 'other');
      cpSync(stack, other, { recursive: true });
      theirs.push(
        timed(other, 'spack', ['-e', other, 'ci', 'generate', '--output-file', join(other, 'jobs.yml')]),
      );
      rmSync(other, { recursive: true });
    }
  }
  const row = (name, runs) => {
    const middle = (key) => runs.map((run) => run[key]).sort((a, b) => a - b)[runs.length >> 1];
    const result = { cpu: middle('cpu'), wall: middle('wall'), memory: middle('memory') };
    console.log(
      `${name.padEnd(24)} ${result.cpu.toFixed(2)} CPU s  ${result.wall.toFixed(2)} s  ${Math.round(result.memory)} MB`,
    );
    return result;
  };
  const mine = row('stackwright generate', ours);
  if (theirs.length > 0) {
    const other = row(`spack ${spack.stdout.trim().split(' ')[0]} ci generate`, theirs);
    console.log(
      `${(other.cpu / mine.cpu).toFixed(1)} times faster by CPU, ${(other.wall / mine.wall).toFixed(1)} by the clock`,
    );
  } else console.log('spack is not on PATH: nothing to compare with');
  console.log(
    digests.size === 1 ? 'the same to the byte in every round' : `${digests.size} DIFFERENT OUTPUTS`,
  );
}

function timed(cwd, command, args) {
  const log = join(work, 'time.txt');
  const done = spawnSync('/usr/bin/time', ['-o', log, '-f', '%U %S %e %M', command, ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, CI: '', SPACK_CDASH_BUILD_STAMP: '' },
    maxBuffer: 1 << 28,
  });
  if (done.status !== 0)
    throw new Error(`${command} ended with ${done.status}:\n${done.stderr.slice(-2000)}`);
  const [user, system, wall, memory] = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .at(-1)
    .split(' ')
    .map(Number);
  return { cpu: user + system, wall, memory: memory / 1024 };
}
