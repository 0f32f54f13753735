import { execFileSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { digestOf, type Image, ImageLayout, type ImageSource, mediaTypes, readImage } from '@stackwright/oci';
import { parseLock } from '@stackwright/spack-env';
import { type PackageBlob, runtimeClosure } from '../src/index.js';

/** The quickstart stack of this repository: its lock, and the mirror that Spack made of it. */
export const stack = fileURLToPath(new URL('../../../stacks/quickstart/', import.meta.url));
export const lock = parseLock(readFileSync(join(stack, 'spack.lock'), 'utf8'));

/** What the image is made of, as the committed mirror has it. Signatures are another package's matter. */
export function packages(mirror = join(stack, 'mirror')): PackageBlob[] {
  return runtimeClosure(lock).map((node) => {
    const name = `${node.name}-${node.version}-${node.hash}.spec.manifest.json`;
    const signed = readFileSync(join(mirror, 'v3/manifests/spec', node.name, name), 'utf8');
    const manifest = JSON.parse(signed.slice(signed.indexOf('{'), signed.lastIndexOf('}') + 1));
    const { checksum, contentLength } = manifest.data[0];
    const path = join(mirror, 'blobs/sha256', checksum.slice(0, 2), checksum);
    return {
      node,
      descriptor: { mediaType: mediaTypes.layerGzip, digest: `sha256:${checksum}`, size: contentLength },
      path,
      open: async () => createReadStream(path),
    };
  });
}

export function has(...programs: string[]): boolean {
  try {
    for (const program of programs) execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Runs an image's default command (or another) in a real container without a network, and gives what it prints. */
export function runImage(layout: string, tag: string, command?: readonly string[]): string {
  const bundle = join(mkdtempSync(join(tmpdir(), 'bundle-')), 'bundle');
  const id = `test-${process.pid}-${Math.random().toString(36).slice(2)}`;
  try {
    execFileSync('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle], { stdio: 'ignore' });
    const file = join(bundle, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    config.process.terminal = false;
    if (command) config.process.args = command;
    writeFileSync(file, JSON.stringify(config));
    return execFileSync('runc', ['run', '-b', bundle, id], { encoding: 'utf8' });
  } finally {
    rmSync(join(bundle, '..'), { recursive: true, force: true });
  }
}

/**
 * A base image with this machine's C library and shell: what dynamic programs and scripts need, and no more.
 * @param more further programs, whose libraries come along, and `folders` as they are
 */
export async function hostBase(
  folder: string,
  {
    more = [],
    folders = [],
  }: { readonly more?: readonly string[]; readonly folders?: readonly string[] } = {},
): Promise<{ image: Image; source: ImageSource }> {
  const programs = ['/bin/sh', ...more];
  const libraries = execFileSync('ldd', programs, { encoding: 'utf8' }).matchAll(/(?:=> |^\s+)(\/\S+)/gm);
  const files = [...programs, ...folders, ...[...libraries].map(([, path]) => path as string)];
  // Where /bin and /lib are links, the files behind them are packed under the names that programs ask for.
  const tar = execFileSync(
    'tar',
    [
      ...['--dereference', '--hard-dereference', '-cPf', '-', '--transform=s,^/,,'],
      // Of an interpreter's folder only what it needs to start.
      ...['--exclude=config-*', '--exclude=dist-packages', '--exclude=__pycache__'],
      ...new Set(files),
    ],
    { maxBuffer: 256 * 1024 * 1024 },
  );
  const layout = await ImageLayout.create(folder);
  const layer = await layout.putStream(Readable.from([gzipSync(tar)]), mediaTypes.layerGzip);
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    history: [{ created_by: 'test' }],
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.putBytes(JSON.stringify(config), mediaTypes.config),
    layers: [layer],
  };
  await layout.tag('latest', await layout.putBytes(JSON.stringify(manifest), mediaTypes.manifest));
  return {
    source: layout,
    image: await readImage(layout, 'latest', { os: 'linux', architecture: config.architecture }),
  };
}
