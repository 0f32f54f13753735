// Reading a build log beside `spack log-parse`, and memory at 2 GB.
//
//   node bench/log.mjs [MB]        (default: 24; needs spack on PATH)
//
// Makes a log of compile lines with a warning every 200 and an error every 20,000 lines below bench/.work, prints medians
// of CPU seconds and the ratio, then reads 2 GB through a pipe and prints how much memory that took at most. A table of
// what both find in the logs of packages/cdash/fixtures comes last.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logTexts, readLogTexts } from '../packages/cdash/dist/index.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const [size = 24] = process.argv.slice(2).map(Number);
const work = path('.work/log/');
mkdirSync(work, { recursive: true });
const file = join(work, 'log.txt');
writeFileSync(file, part(size));
const hasSpack = spawnSync('spack', ['--version']).status === 0;

const ours = median(3, async () => {
  const start = process.cpuUsage();
  await readLogTexts(logTexts(file));
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
});
const seconds = await ours;
const bytes = statSync(file).size;
console.log(`ours              ${seconds.toFixed(2)} s CPU, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s`);
if (hasSpack) {
  const theirs = await median(3, async () => {
    const empty = cpuOf('/dev/null');
    return cpuOf(file) - empty;
  });
  console.log(
    `spack log-parse   ${theirs.toFixed(2)} s CPU (without its start); ${(theirs / seconds).toFixed(0)} times ours`,
  );
}

const piece = part(1);
let most = 0;
const timer = setInterval(() => {
  most = Math.max(most, process.memoryUsage().rss);
}, 20);
const before = process.memoryUsage().rss;
const start = process.cpuUsage();
const { lines } = await readLogTexts(
  (async function* () {
    for (let at = 0; at < 2000; at += 1) {
      yield Buffer.from(piece).toString();
      if (at % 50 === 0) await new Promise(setImmediate);
    }
  })(),
);
clearInterval(timer);
const { user, system } = process.cpuUsage(start);
console.log(
  `2 GB              ${lines} lines, ${((user + system) / 1e6).toFixed(1)} s CPU, memory ${(before / 1e6).toFixed(0)} MB before, ${(most / 1e6).toFixed(0)} MB at most`,
);

if (hasSpack) {
  const folder = path('../packages/cdash/fixtures/logs/');
  console.log('\nlog, errors: ours (causes), spack log-parse');
  for (const name of readdirSync(folder)) {
    const { findings } = await readLogTexts(logTexts(join(folder, name)));
    const errors = findings.filter(({ kind }) => kind === 'error');
    const told = execFileSync('spack', ['log-parse', '--show', 'errors', join(folder, name)], {
      encoding: 'utf8',
    });
    const [, theirs = '0'] = /^(\d+) errors?/m.exec(told) ?? [];
    const causes = errors.filter(({ follows }) => !follows).length;
    console.log(`${name.padEnd(36)} ${String(errors.length).padStart(3)} (${causes}) ${theirs.padStart(5)}`);
  }
}

function part(megabytes) {
  const all = [];
  for (let at = 0, length = 0; length < megabytes * 1e6; at += 1) {
    const line =
      at % 20_000 === 19_999
        ? `src/module${at}.c:12:3: error: 'w' undeclared`
        : at % 200 === 199
          ? `src/module${at}.c:12:3: warning: unused variable 'x' [-Wunused-variable]`
          : `/usr/bin/gcc -DHAVE_CONFIG_H -I. -I./src/include -O2 -fPIC -Wall -c src/module${at}.c -o obj/module${at}.o`;
    all.push(line);
    length += line.length + 1;
  }
  return `${all.join('\n')}\n`;
}

function cpuOf(log) {
  const out = spawnSync('bash', ['-c', `TIMEFORMAT='%U %S'; time spack log-parse "$0" >/dev/null`, log], {
    encoding: 'utf8',
  });
  const [, user, system] = /([\d.]+) ([\d.]+)\s*$/.exec(out.stderr) ?? [];
  return Number(user) + Number(system);
}

async function median(runs, measure) {
  const all = [];
  for (let run = 0; run < runs; run += 1) all.push(await measure());
  return all.sort((a, b) => a - b)[Math.floor(runs / 2)];
}
