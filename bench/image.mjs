// Assembling an image from a mirror beside what `buildah` does with the same prefixes, and beside packing the layers anew.
//
//   node bench/image.mjs [PACKAGES] [MEGABYTES EACH]        (default: 30 packages of 17 MB)
//
// Makes its own packages (text and noise, half and half) and a mirror of them below bench/.work, and prints wall and CPU
// seconds, medians of five: the first time without statements, when the uncompressed digests have to be found; again,
// when they are remembered; from what signed manifests say, when no blob is opened (they are counted); after one package
// has changed. The mirror checks signatures before that, once a package. buildah has a Dockerfile with one COPY a package and its cache (--layers), and pushes into a layout.
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import fs, { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip, createGzip } from 'node:zlib';

// What opens a file of the mirror's blobs is counted.
let opened = 0;
for (const name of ['createReadStream', 'openSync', 'readFileSync']) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    if (/mirror\/blobs\//.test(String(path))) opened += 1;
    return real(path, ...rest);
  };
}
for (const name of ['open', 'readFile']) {
  const real = fs.promises[name];
  fs.promises[name] = (path, ...rest) => {
    if (/mirror\/blobs\//.test(String(path))) opened += 1;
    return real(path, ...rest);
  };
}
syncBuiltinESMExports();
const { openV3Mirror, packPrefix } = await import('../packages/buildcache/dist/index.js');
const { assembleImage, packageBlob, Staging, writeLayout } = await import('../packages/image/dist/index.js');

const [count = 30, megabytes = 17] = process.argv.slice(2).map(Number);
const work = fileURLToPath(new URL('.work/image/', import.meta.url));
await rm(work, { recursive: true, force: true });
const mirror = await openV3Mirror(join(work, 'mirror'));

/** Makes, packs and pushes a package. */
async function made(name, size, revision = '') {
  const hash = createHash('sha256')
    .update(name + revision)
    .digest('hex')
    .replace(/[0189]/g, 'a')
    .slice(0, 32);
  const prefix = join(work, 'opt', `${name}-1-${hash}`);
  await mkdir(join(prefix, '.spack'), { recursive: true });
  const half = (size * 1_000_000) / 2;
  const words = Array.from({ length: 4096 }, () => randomBytes(3).toString('hex'));
  let text = '';
  while (text.length < half) text += `${words[Math.floor(Math.random() * words.length)]} `;
  await writeFile(join(prefix, 'text'), text);
  await writeFile(join(prefix, 'noise'), randomBytes(half));
  const node = {
    name,
    version: '1',
    hash,
    arch: { platform: 'linux', os: 'debian12', target: 'x86_64' },
    dependencies: [],
    parameters: {},
  };
  const raw = {
    name,
    version: '1',
    hash,
    arch: { platform: 'linux', platform_os: 'debian12', target: 'x86_64' },
    parameters: {},
  };
  const info = {
    root: join(work, 'opt'),
    sbangPath: join(work, 'opt/bin/sbang'),
    spackPrefix: '/spack',
    relativePrefix: `${name}-1-${hash}`,
    prefixes: new Map([[hash, prefix]]),
  };
  // Hashes of spec file 4 do not follow from the content: this one is made up.
  const specText = JSON.stringify({
    spec: { _meta: { version: 4 }, nodes: [raw] },
    buildcache_layout_version: 2,
  });
  await mirror.push({ name, version: '1', hash, specText, items: () => packPrefix(prefix, info) });
  const { manifest } = await mirror.package({ name, version: '1', hash });
  return { ...packageBlob(mirror, node, manifest), prefix };
}

const packages = [];
for (let index = 0; index < count; index += 1) packages.push(await made(`bench-${index}`, megabytes));
const small = [];
for (let index = 0; index < 100; index += 1) small.push(await made(`small-${index}`, 0.2));
const changed = await made(`bench-${count - 1}`, megabytes, 'changed');

const cpuOf = ({ user, system }) => (user + system) / 1e6;
/** Wall and CPU seconds. */
const measured = async (what) => {
  const [started, before] = [performance.now(), process.cpuUsage()];
  const more = (await what()) ?? 0;
  const cpu = cpuOf(process.cpuUsage(before)) + more;
  return { wall: (performance.now() - started) / 1000, cpu };
};
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const rounds = async (what, { before = async () => {}, times = 5 } = {}) => {
  const all = [];
  for (let round = 0; round < times; round += 1) {
    await before(round);
    all.push(await measured(() => what(round)));
  }
  return { wall: median(all.map(({ wall }) => wall)), cpu: median(all.map(({ cpu }) => cpu)) };
};
const staging = () => Staging.open(join(work, 'staging'));
const fresh = (name) => rm(join(work, name), { recursive: true, force: true });
const vouched = (all) => all.map((one) => ({ ...one, vouched: true }));
const assemble = async (taken) => {
  const image = await assembleImage({ packages: taken, staging: await staging() });
  await writeLayout(image, join(work, 'layout'), 'latest');
};
const afresh = async () => {
  await fresh('layout');
  await fresh('staging');
};

opened = 0;
const read = await rounds(() => assemble(packages), { before: afresh });
const openedFirst = opened;
const again = await rounds(() => assemble(packages), { before: () => fresh('layout') });
opened = 0;
const stated = await rounds(() => assemble(vouched(packages)), { before: afresh });
const one = vouched([...packages.slice(0, -1), changed]);
const afterChange = await rounds(() => assemble(one), {
  before: async () => {
    await afresh();
    await assemble(vouched(packages));
  },
});
const hundred = await rounds(() => assemble(vouched(small)), { before: afresh });
const openedStated = opened;
const packing = await measured(async () => {
  for (const { path } of packages) {
    await pipeline(createReadStream(path), createGunzip(), createGzip({ level: 6 }), async (source) => {
      for await (const _ of source);
    });
  }
});

/** Runs buildah with a storage of its own. Returns the CPU seconds of it and its children. */
function buildah(...args) {
  const own = ['--root', join(work, 'storage'), '--runroot', join(work, 'running')];
  const script = 'TIMEFORMAT="%U %S"; time "$@" > /dev/null 2> "$LOG"';
  const env = { ...process.env, LOG: join(work, 'buildah.log'), BUILDAH_ISOLATION: 'chroot' };
  const { status, stderr } = spawnSync('bash', ['-c', script, 'bash', 'buildah', ...own, ...args], {
    encoding: 'utf8',
    env,
  });
  if (status !== 0)
    throw new Error(`buildah ${args[0]} failed: ${fs.readFileSync(env.LOG, 'utf8').slice(-500)}`);
  return stderr
    .trim()
    .split(' ')
    .map(Number)
    .reduce((sum, value) => sum + value, 0);
}
const byBuildah = async (taken) => {
  const lines = taken.map(({ prefix }) => `COPY ${prefix.slice(work.length)} ${prefix}`);
  await writeFile(join(work, 'Dockerfile'), ['FROM scratch', ...lines, ''].join('\n'));
  const file = ['--file', join(work, 'Dockerfile')];
  const ignored = ['--ignorefile', join(work, 'ignored')];
  await writeFile(join(work, 'ignored'), 'mirror\nstaging\nlayout\nstorage\nrunning\nbuildah\n');
  const built = buildah('build', '--layers', ...file, ...ignored, '--tag', 'localhost/bench', work);
  return built + buildah('push', 'localhost/bench', `oci:${join(work, 'buildah')}:latest`);
};
const withBuildah = spawnSync('buildah', ['--version']).status === 0;
const buildahFirst = withBuildah && (await measured(() => byBuildah(packages)));
const buildahAgain = withBuildah && (await measured(() => byBuildah(packages)));
const buildahChanged = withBuildah && (await measured(() => byBuildah(one)));

const size = packages.reduce((sum, each) => sum + each.descriptor.size, 0);
const peak = (process.resourceUsage().maxRSS / 1000).toFixed(0);
console.log(
  `${count} packages of ${megabytes} MB, ${(size / 1e6).toFixed(0)} MB compressed; peak memory ${peak} MB`,
);
const line = (title, { wall, cpu }, than) => {
  const ratio = than ? `   ${(than.cpu / cpu).toFixed(0)} times less CPU than buildah` : '';
  console.log(
    `${title.padEnd(34)}${wall.toFixed(3).padStart(8)} s${cpu.toFixed(3).padStart(9)} CPU s${ratio}`,
  );
};
line('every blob read, the first time', read, buildahFirst);
line('the same again', again, buildahAgain);
line('from signed manifests', stated, buildahFirst);
line('  with one package changed', afterChange, buildahChanged);
line('  100 packages', hundred);
console.log(`  blobs opened: ${openedFirst / 5} the first time, ${openedStated} from signed manifests`);
line('packing the layers anew', packing);
if (withBuildah) {
  line('buildah, the first time', buildahFirst);
  line('buildah again', buildahAgain);
  line('buildah, one package changed', buildahChanged);
  buildah('rmi', '--all', '--force');
} else console.log('buildah is not there: apt-get install buildah');
await rm(work, { recursive: true, force: true });
