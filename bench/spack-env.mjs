// Reads and expands a stack, and reads a lock, here and in Spack, in one run.
//   node bench/spack-env.mjs STACK LOCK [--spack PROGRAM] [--runs N]
// STACK is a folder with spack.yaml, LOCK a spack.lock. Both sides are timed inside a running process: what a
// start of the program costs is shown beside it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { loadEnvironment, parseLock } from '../packages/spack-env/dist/index.js';

const args = process.argv.slice(2);
const option = (name, fallback) => {
  const at = args.indexOf(name);
  return at < 0 ? fallback : args.splice(at, 2)[1];
};
const spack = option('--spack', 'spack');
const runs = Number(option('--runs', 25));
const [stack, lock] = args;
if (!stack || !lock) {
  console.error('usage: node bench/spack-env.mjs STACK LOCK [--spack PROGRAM] [--runs N]');
  process.exit(2);
}

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];
async function time(step) {
  const times = [];
  // A running process has read something before: both sides warm up.
  for (let run = 0; run < 5; run++) await step();
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    await step();
    times.push(performance.now() - start);
  }
  return median(times);
}

// A lock of 5,000 nodes, made of copies of the given one under other hashes.
const text = readFileSync(lock, 'utf8');
const source = JSON.parse(text);
const large = { ...source, concrete_specs: {} };
for (let copy = 0; Object.keys(large.concrete_specs).length < 5000; copy++) {
  const rename = (hash) => hash.slice(0, -4) + String(copy).padStart(4, '0');
  for (const [hash, node] of Object.entries(source.concrete_specs)) {
    const dependencies = node.dependencies?.map((edge) => ({ ...edge, hash: rename(edge.hash) }));
    large.concrete_specs[rename(hash)] = {
      ...node,
      hash: rename(hash),
      ...(dependencies && { dependencies }),
    };
  }
}
large.roots = source.roots.map((root) => ({ ...root, hash: `${root.hash.slice(0, -4)}0000` }));
const largeText = JSON.stringify(large);

const host = { platform: 'linux', os: 'debian12', target: 'zen2' };
const { specs } = await loadEnvironment(stack, { host });
const ours = {
  stack: await time(() => loadEnvironment(stack, { host })),
  lock: await time(() => parseLock(readFileSync(lock, 'utf8'), lock)),
  large: await time(() => parseLock(largeText)),
};

const python = `
import json, sys, time, shutil, tempfile, statistics
import spack.environment as ev
def median(step, runs):
    times = []
    for _ in range(5): step()
    for _ in range(runs):
        start = time.perf_counter(); step(); times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)
stack, lock, large, runs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def read_stack():
    return [str(s) for s in ev.Environment(stack).user_specs]
def read_lock(path):
    folder = tempfile.mkdtemp()
    open(folder + '/spack.yaml', 'w').write('spack: {specs: []}')
    shutil.copy(path, folder + '/spack.lock')
    def step(): ev.Environment(folder)
    return step
print('RESULT', json.dumps({'specs': len(read_stack()), 'stack': median(read_stack, runs), 'lock': median(read_lock(lock), runs), 'large': median(read_lock(large), max(1, runs // 5))}))
`;
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
writeFileSync(join(folder, 'bench.py'), python);
writeFileSync(join(folder, 'large.lock'), largeText);
const start = performance.now();
const empty = spawnSync(spack, ['python', '-c', 'import spack.environment'], { encoding: 'utf8' });
const startUp = performance.now() - start;
const told = empty.error
  ? undefined
  : spawnSync(
      spack,
      [
        'python',
        join(folder, 'bench.py'),
        resolve(stack),
        resolve(lock),
        join(folder, 'large.lock'),
        String(runs),
      ],
      {
        encoding: 'utf8',
      },
    );
rmSync(folder, { recursive: true });
const theirs = told && JSON.parse(/RESULT (.*)/.exec(told.stdout)?.[1] ?? 'null');

const ms = (value) => (value === undefined ? '-' : `${value.toFixed(1)} ms`).padStart(12);
const row = (name, mine, other) =>
  console.log(
    `${name.padEnd(44)}${ms(mine)}${ms(other)}${(other === undefined ? '' : `${(other / mine).toFixed(1)}x`).padStart(8)}`,
  );
console.log(
  `${'median of ' + runs} ${'stackwright'.padStart(55 - 10 - String(runs).length)}${'spack'.padStart(12)}`,
);
row(`stack: ${specs.length} specs read and expanded`, ours.stack, theirs?.stack);
row(`lock: ${Object.keys(source.concrete_specs).length} nodes`, ours.lock, theirs?.lock);
row(`lock: ${Object.keys(large.concrete_specs).length} nodes`, ours.large, theirs?.large);
row('start of the program', startOf(), told && startUp);
if (told && !theirs) console.log(`Spack did not finish:\n${told.stderr.slice(-2000)}`);
if (!told) console.log(`${spack} was not found: give --spack.`);

/** One start of Node with the package loaded. */
function startOf() {
  const begin = performance.now();
  spawnSync(process.execPath, [
    '-e',
    `import('${new URL('../packages/spack-env/dist/index.js', import.meta.url)}')`,
  ]);
  return performance.now() - begin;
}
