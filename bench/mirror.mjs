// Mirrors, ours beside Spack's in one run, and a table: node bench/mirror.mjs [--entries 5000,20000,60000]
//   [--spack-entries 20000] [--tree DIR --env DIR] [--runs 3] [--spack-runs 1]
// Index, list and verify are measured on mirrors made here from one package of the quickstart stack. Push needs an
// install tree and the Spack environment that made it. Without `spack` on PATH only ours are measured.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '5000,20000' },
    'spack-entries': { type: 'string', default: '20000' },
    runs: { type: 'string', default: '3' },
    'spack-runs': { type: 'string', default: '1' },
    tree: { type: 'string' },
    env: { type: 'string' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(root, 'apps/runner/bundle/cli.js');
const quickstart = join(root, 'stacks/quickstart/mirror');
const work = mkdtempSync(join(tmpdir(), 'stackwright-bench-'));
const hasSpack = spawnSync('which', ['spack']).status === 0;
// Python tells what a child used, Spack's Python or our Node alike.
const rusage = `
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print('rusage', used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
sys.exit(code)
`;
const ours = (args, allowed) => time(process.execPath, [cli, 'mirror', ...args], allowed);
const spack = (args) => time('spack', args);

try {
  print('', ['wall s', 'CPU s', 'MB'], ['wall s', 'CPU s', 'MB'], ['wall', 'CPU']);
  for (const count of values.entries.split(',').map(Number).filter(Boolean))
    index(count, hasSpack && count <= Number(values['spack-entries']));
  if (values.tree) push(values.tree, values.env);
} finally {
  rmSync(work, { recursive: true, force: true });
}

function index(count, withSpack) {
  const mirror = join(work, `mirror-${count}`);
  makeMirror(mirror, count, 0);
  const noIndex = () => rmSync(join(mirror, 'v3/manifests/index'), { recursive: true, force: true });
  let round = 0;
  const thirtyMore = () => makeMirror(mirror, 30, ++round);
  const beside = (what, ourArgs, theirArgs, before, allowed) =>
    row(
      `${what}, ${count}`,
      () => ours([...ourArgs, mirror], allowed),
      withSpack && theirArgs ? () => spack(theirArgs) : undefined,
      before,
    );
  beside('full index', ['index'], ['buildcache', 'update-index', mirror], noIndex);
  beside('index after 30 new', ['index'], ['buildcache', 'update-index', mirror], thirtyMore);
  ours(['index', mirror]);
  beside('index, nothing new', ['index']);
  const env = join(work, 'list-env');
  mkdirSync(env, { recursive: true });
  writeFileSync(
    join(env, 'spack.yaml'),
    `spack:\n  specs: []\n  view: false\n  mirrors:\n    bench: file://${mirror}\n`,
  );
  beside('list', ['list'], ['-e', env, 'buildcache', 'list', '-al']);
  beside('list, long', ['list', '--long'], ['-e', env, 'buildcache', 'list', '-aLv']);
  // The dependencies of the package that was copied are not there: findings are expected.
  beside('verify specs', ['verify', '--unsigned', '--shallow'], undefined, undefined, [0, 1]);
  rmSync(mirror, { recursive: true, force: true });
}

function push(tree, env) {
  const [target, other] = [join(work, 'ours'), join(work, 'theirs')];
  const args = ['push', target, '--tree', tree, '--unsigned'];
  row(
    'push',
    () => ours(args),
    hasSpack && env ? () => spack(['-e', env, 'buildcache', 'push', '--unsigned', other]) : undefined,
    (who) => {
      rmSync(who === 'ours' ? target : other, { recursive: true, force: true });
      // Neither is to be the one that reads the tree from the disk.
      spawnSync('tar', ['cf', '/dev/null', '-C', tree, '.']);
    },
  );
  row(
    'push again, nothing to do',
    () => ours(args),
    existsSync(other) ? () => spack(['-e', env, 'buildcache', 'push', '--unsigned', other]) : undefined,
  );
  row('verify', () => ours(['verify', '--unsigned', target], [0, 1]));
  const size = blobBytes(target);
  console.log(`pushed ${(size / 1e6).toFixed(1)} MB`);
  if (existsSync(other))
    console.log(`  ${(size / blobBytes(other)).toFixed(4)} times what Spack makes of it`);
}

/** N packages with specs of their own and one tarball, as big mirrors look to an index. */
function makeMirror(mirror, count, round) {
  const name = readdirSync(join(quickstart, 'v3/manifests/spec/quickstart-suite'))[0];
  const text = readFileSync(join(quickstart, 'v3/manifests/spec/quickstart-suite', name), 'utf8');
  const manifest = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1));
  const [tarball, spec] = manifest.data;
  const blob = (folder, sum) => join(folder, 'blobs/sha256', sum.slice(0, 2), sum);
  const document = JSON.parse(gunzipSync(readFileSync(blob(quickstart, spec.checksum))));
  mkdirSync(join(mirror, 'blobs/sha256', tarball.checksum.slice(0, 2)), { recursive: true });
  cpSync(blob(quickstart, tarball.checksum), blob(mirror, tarball.checksum));
  const [node] = document.spec.nodes;
  const { name: base, version } = node;
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  for (let i = 0; i < count; i++) {
    const digest = createHash('sha256').update(`${round}/${i}`).digest();
    Object.assign(node, {
      name: `${base}-${i % 500}`,
      version: `${version}.${round}.${i}`,
      hash: [...digest].map((byte) => alphabet[byte % 32]).join(''),
    });
    const packed = gzipSync(JSON.stringify(document), { level: 1 });
    const checksum = createHash('sha256').update(packed).digest('hex');
    mkdirSync(join(mirror, 'blobs/sha256', checksum.slice(0, 2)), { recursive: true });
    writeFileSync(blob(mirror, checksum), packed);
    const folder = join(mirror, 'v3/manifests/spec', node.name);
    mkdirSync(folder, { recursive: true });
    const data = [tarball, { ...spec, contentLength: packed.length, checksum }];
    writeFileSync(
      join(folder, `${node.name}-${node.version}-${node.hash}.spec.manifest.json`),
      JSON.stringify({ version: 3, data }, null, 0),
    );
  }
  writeFileSync(join(mirror, 'v3/layout.json'), '{"signing": "gpg"}');
}

/** Wall time, CPU time and peak memory of a command. */
function time(program, args, allowed = [0]) {
  const started = performance.now();
  const run = spawnSync('python3', ['-c', rusage, program, ...args], { encoding: 'utf8' });
  const wall = (performance.now() - started) / 1000;
  const used = /rusage (\S+) (\S+)/.exec(run.stdout);
  if (!allowed.includes(run.status))
    throw new Error(`${program} ${args.join(' ')}: exit code ${run.status}\n${run.stdout}${run.stderr}`);
  return { wall, cpu: Number(used?.[1]), memory: Number(used?.[2]) };
}

/** Measures both in turns, so that what else the machine does hits both. */
function row(what, one, other, before = () => {}) {
  const found = { ours: [], theirs: [] };
  const rounds = { ours: Number(values.runs), theirs: other ? Number(values['spack-runs']) : 0 };
  for (let round = 0; round < Math.max(rounds.ours, rounds.theirs); round++) {
    for (const [who, measure] of [
      ['ours', one],
      ['theirs', other],
    ]) {
      if (round >= rounds[who]) continue;
      before(who);
      found[who].push(measure());
    }
  }
  const [a, b] = [median(found.ours), median(found.theirs)];
  const columns = (x) => (x ? [x.wall.toFixed(2), x.cpu.toFixed(2), String(x.memory)] : []);
  const times = (key) => `${(b[key] / a[key]).toFixed(1)}x`;
  print(what, columns(a), columns(b), b ? [times('wall'), times('cpu')] : []);
}

function median(all) {
  return [...all].sort((a, b) => a.wall - b.wall)[all.length >> 1];
}

function blobBytes(folder) {
  return readdirSync(join(folder, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function print(what, a, b, ratio) {
  const cell = (texts, count) =>
    Array.from({ length: count }, (_, i) => (texts[i] ?? '').padStart(7)).join('');
  console.log(`${what.padEnd(30)} ${cell(a, 3)}  | ${cell(b, 3)}  | ${cell(ratio, 2)}`.trimEnd());
}
