// Mirrors, ours beside Spack's: node bench/mirror.mjs [--entries 5000,20000] [--tree DIR --env DIR] [--runs 3]
// Index, list and verify are measured on mirrors made here from one package of the quickstart stack. Push needs an
// install tree and the Spack environment that made it. Without `spack` on PATH only ours are measured.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
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
    runs: { type: 'string', default: '3' },
    tree: { type: 'string' },
    env: { type: 'string' },
    'spack-entries': { type: 'string', default: '5000' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(root, 'apps/runner/dist/cli.js');
const quickstart = join(root, 'stacks/quickstart/mirror');
const work = mkdtempSync(join(tmpdir(), 'stackwright-bench-'));
const hasSpack = spawnSync('which', ['spack']).status === 0;
const rows = [];
// Python tells what a child used, Spack's Python or our Node alike.
const rusage = `
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print('rusage', used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
sys.exit(code)
`;

try {
  for (const count of values.entries.split(',').map(Number).filter(Boolean))
    index(count, count <= Number(values['spack-entries']));
  if (values.tree) push(values.tree, values.env);
  print();
} finally {
  rmSync(work, { recursive: true, force: true });
}

function index(count, withSpack) {
  const mirror = join(work, `mirror-${count}`);
  makeMirror(mirror, count, 0);
  const ours = (args) => time(process.execPath, [cli, 'mirror', ...args]);
  const theirs = (args, before) =>
    hasSpack && withSpack ? time('spack', ['buildcache', ...args], before) : undefined;
  const noIndex = () => rmSync(join(mirror, 'v3/manifests/index'), { recursive: true, force: true });
  const full = median(() => {
    noIndex();
    return ours(['index', mirror]);
  });
  row(`full index, ${count}`, full, theirs(['update-index', mirror], noIndex));
  ours(['index', mirror]);
  let round = 0;
  const afterMore = (measure) => {
    round++;
    makeMirror(mirror, 30, round);
    return measure();
  };
  const more = median(() => afterMore(() => ours(['index', mirror])));
  const spackMore = hasSpack && withSpack ? afterMore(() => theirs(['update-index', mirror])) : undefined;
  row(`index after 30 new, ${count}`, more, spackMore);
  ours(['index', mirror]);
  row(
    `list, ${count}`,
    median(() => ours(['list', mirror])),
    listWithSpack(mirror, withSpack),
  );
  // The dependencies of the package that was copied are not there: findings are expected.
  row(
    `verify specs, ${count}`,
    time(process.execPath, [cli, 'mirror', 'verify', mirror, '--unsigned', '--shallow'], undefined, [0, 1]),
    undefined,
  );
  rmSync(mirror, { recursive: true, force: true });
}

function listWithSpack(mirror, withSpack) {
  if (!hasSpack || !withSpack) return undefined;
  const env = join(work, 'list-env');
  mkdirSync(env, { recursive: true });
  writeFileSync(
    join(env, 'spack.yaml'),
    `spack:\n  specs: []\n  view: false\n  mirrors:\n    bench: file://${mirror}\n`,
  );
  return time('spack', ['-e', env, 'buildcache', 'list', '-al']);
}

function push(tree, env) {
  const target = join(work, 'ours');
  const ours = median(() => {
    rmSync(target, { recursive: true, force: true });
    return time(process.execPath, [cli, 'mirror', 'push', target, '--tree', tree, '--unsigned']);
  });
  const oursSize = blobBytes(target);
  row(`push ${(oursSize / 1e6).toFixed(0)} MB compressed`, ours, undefined);
  row(
    'push again, nothing to do',
    time(process.execPath, [cli, 'mirror', 'push', target, '--tree', tree, '--unsigned']),
    undefined,
  );
  if (!hasSpack || !env) return;
  const other = join(work, 'theirs');
  const theirs = time('spack', ['-e', env, 'buildcache', 'push', '--unsigned', '--update-index', other]);
  rows.at(-2).theirs = theirs;
  const size = blobBytes(other);
  rows.push({ what: `size beside Spack's: ${(oursSize / size).toFixed(4)}` });
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
function time(program, args, before, allowed = [0]) {
  before?.();
  const started = performance.now();
  const run = spawnSync('python3', ['-c', rusage, program, ...args], { encoding: 'utf8' });
  const wall = (performance.now() - started) / 1000;
  const used = /rusage (\S+) (\S+)/.exec(run.stdout);
  if (!allowed.includes(run.status))
    throw new Error(`${program} ${args.join(' ')}: exit code ${run.status}\n${run.stdout}${run.stderr}`);
  return { wall, cpu: Number(used?.[1]), memory: Number(used?.[2]) };
}

function median(work) {
  const all = Array.from({ length: Number(values.runs) }, work).sort((a, b) => a.wall - b.wall);
  return all[all.length >> 1];
}

function row(what, ours, theirs) {
  rows.push({ what, ours, theirs });
}

function blobBytes(folder) {
  return readdirSync(join(folder, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function print() {
  const form = (one) =>
    one ? `${one.wall.toFixed(2)} s, ${one.cpu.toFixed(1)} CPU s, ${one.memory} MB` : '-';
  for (const { what, ours, theirs } of rows) {
    if (!ours) {
      console.log(what);
      continue;
    }
    const ratio = theirs ? `${(theirs.wall / ours.wall).toFixed(1)} times faster` : '';
    console.log(`${what.padEnd(30)} ${form(ours).padEnd(34)} ${form(theirs).padEnd(34)} ${ratio}`);
  }
}
