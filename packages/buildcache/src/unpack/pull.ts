import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BuildcacheError, hasCode } from '../error.js';
import { checkPrefix } from '../identity.js';
import type { MirrorReader, PackageManifest } from '../mirror.js';
import { describe, type PackageRef } from '../package-ref.js';
import { checkStatedPlace } from '../statement.js';
import { extractEntries, readBuildInfo, relocatedEntries, tarEntries } from './unpack.js';

export interface PullOptions {
  /** Folder that becomes the root of an install tree. */
  readonly to: string;
  /** What the root will be called; `to` when left out. */
  readonly root?: string;
  /** Where tarballs of a remote mirror wait; the system's temporary folder when left out. */
  readonly temporary?: string;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks a package of a mirror at its place below a root, relocated to there. It appears whole or not at all.
 * @returns `present`: its folder was there before, and was left as it is
 * @throws BuildcacheError also `tar-path` for a package that would be put outside of the root
 */
export async function pullPackage(
  mirror: MirrorReader,
  ref: PackageRef,
  options: PullOptions,
): Promise<{ readonly prefix: string; readonly outcome: 'unpacked' | 'present' }> {
  const { to, root = to, signal } = options;
  const what = describe(ref);
  const { manifest } = await mirror.package(ref, signal);
  const { open, dispose } = await spooled(mirror, manifest, options);
  try {
    const reading = { what, signal };
    const uncompressed = createHash('sha256');
    const onBytes = manifest.statement && ((bytes: Buffer) => void uncompressed.update(bytes));
    const { info, prefix } = await readBuildInfo(await open(), { ...reading, onBytes });
    if (manifest.statement)
      checkStatedPlace(manifest.statement, { digest: `sha256:${uncompressed.digest('hex')}`, prefix }, what);
    checkPrefix(ref, prefix, info);
    if (prefix !== join(info.root, info.relativePrefix)) {
      throw new BuildcacheError(
        'tar-path',
        `${what}: its files are those of ${prefix}, its binary_distribution says ${info.relativePrefix} below ${info.root}.`,
        { package: what, hint: 'Push the package again.' },
      );
    }
    const destination = join(to, info.relativePrefix);
    await checkParent(to, destination, what);
    const moved = relocatedEntries(tarEntries(await open(), reading), info, prefix, { root, what });
    await extractEntries(moved, join(root, info.relativePrefix), destination, signal);
    return { prefix: destination, outcome: 'unpacked' };
  } catch (error) {
    if (hasCode(error, 'install-tree') && error.details.file !== undefined)
      return { prefix: error.details.file, outcome: 'present' };
    // A flipped byte breaks the archive before its end is reached, and the checksum explains it better.
    if (hasCode(error, 'compression', 'tarball')) for await (const _ of await open());
    throw error;
  } finally {
    await dispose();
  }
}

/** A tarball that can be read several times: one from far away waits in a file. */
export async function spooled(
  mirror: MirrorReader,
  manifest: PackageManifest,
  { temporary, signal }: Pick<PullOptions, 'temporary' | 'signal'>,
): Promise<{ open: () => Promise<Readable>; dispose: () => Promise<void> }> {
  if (mirror.folder !== undefined)
    return { open: () => mirror.tarball(manifest, signal), dispose: async () => {} };
  const folder = await mkdtemp(join(temporary ?? tmpdir(), 'stackwright-pull-'));
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    const file = join(folder, 'tarball');
    await pipeline(await mirror.tarball(manifest, signal), createWriteStream(file), { signal });
    return { open: async () => createReadStream(file, { highWaterMark: 1 << 20 }), dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Links that an earlier package brought along must not lead out of the root. */
async function checkParent(to: string, destination: string, what: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const parent = dirname(destination);
  await mkdir(parent, { recursive: true });
  const expected = join(await realpath(to), parent.slice(to.length));
  if ((await realpath(parent)) !== expected) {
    throw new BuildcacheError('tar-path', `${what}: ${parent} leads through a link of another package.`, {
      package: what,
      file: parent,
    });
  }
}
