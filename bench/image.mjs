// Assembling an image from a mirror beside packing its layers anew, which is what a tool does that does not reuse them.
//
//   node bench/image.mjs [PACKAGES] [MEGABYTES EACH]        (default: 20 packages of 20 MB)
//
// Makes its own packages (text and noise, half and half) and a mirror of them below bench/.work, and prints medians of
// five: the first time, when the uncompressed digests have to be found; again, when they are remembered; and from what
// signed manifests say, when no blob is read.
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip, createGzip } from 'node:zlib';
import { openV3Mirror, packPrefix } from '../packages/buildcache/dist/index.js';
import { assembleImage, packageBlob, Staging, writeLayout } from '../packages/image/dist/index.js';

const [count = 20, megabytes = 20] = process.argv.slice(2).map(Number);
const work = fileURLToPath(new URL('.work/image/', import.meta.url));
await rm(work, { recursive: true, force: true });
const mirror = await openV3Mirror(join(work, 'mirror'));
const packages = [];
for (let index = 0; index < count; index += 1) {
  const name = `bench-${index}`;
  const hash = createHash('sha256')
    .update(name)
    .digest('hex')
    .replace(/[0189]/g, 'a')
    .slice(0, 32);
  const prefix = join(work, 'opt', `${name}-1-${hash}`);
  await mkdir(join(prefix, '.spack'), { recursive: true });
  const half = (megabytes * 1_000_000) / 2;
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
  packages.push(packageBlob(mirror, node, manifest));
}

const seconds = async (what) => {
  const started = performance.now();
  await what();
  return (performance.now() - started) / 1000;
};
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const rounds = async (what) => {
  const values = [];
  for (let round = 0; round < 5; round += 1) values.push(await seconds(what));
  return median(values);
};
const assemble = async (staging, taken = packages) => {
  await rm(join(work, 'layout'), { recursive: true, force: true });
  const image = await assembleImage({ packages: taken, staging });
  await writeLayout(image, join(work, 'layout'), 'latest');
};

const first = await rounds(async () => {
  await rm(join(work, 'staging'), { recursive: true, force: true });
  await assemble(await Staging.open(join(work, 'staging')));
});
const again = await rounds(async () => assemble(await Staging.open(join(work, 'staging'))));
const vouched = packages.map((one) => ({ ...one, vouched: true }));
const stated = await rounds(async () => assemble(await Staging.open(join(work, 'staging')), vouched));
const packing = await seconds(async () => {
  for (const { path } of packages) {
    await pipeline(createReadStream(path), createGunzip(), createGzip({ level: 6 }), async (source) => {
      for await (const _ of source);
    });
  }
});
const size = packages.reduce((sum, one) => sum + one.descriptor.size, 0);
console.log(
  `${count} packages, ${(size / 1e6).toFixed(0)} MB compressed; peak memory ${(process.resourceUsage().maxRSS / 1000).toFixed(0)} MB`,
);
console.log(`assemble, first time  ${first.toFixed(2)} s`);
console.log(`assemble, again       ${again.toFixed(2)} s`);
console.log(`from manifests alone  ${stated.toFixed(3)} s`);
console.log(
  `pack the layers       ${packing.toFixed(2)} s   ${[first, again, stated].map((one) => (packing / one).toFixed(1)).join(', ')} times as long`,
);
spawnSync('rm', ['-rf', work]);
