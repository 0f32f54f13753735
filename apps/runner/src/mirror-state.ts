import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job, Location } from '@stackwright/job-graph';
import pLimit from 'p-limit';
import type { Mirror } from './ci-config.js';
import { RunnerError } from './exit.js';

/** What the mirrors say of a stack's specs. */
export interface MirrorState {
  /** By hash: on which mirror a spec is, or why what is there does not count. */
  readonly locations: ReadonlyMap<string, Location>;
  /** Hashes that some mirror's index has. */
  readonly indexed: ReadonlySet<string>;
}

/**
 * Asks all mirrors for all specs at once: first their indexes, then, unless `indexOnly`, for each spec that no index
 * has, the mirror itself.
 */
export async function readMirrorState(
  mirrors: readonly Mirror[],
  jobs: readonly Job[],
  options: { readonly indexOnly: boolean },
): Promise<MirrorState> {
  const locations = new Map<string, Location>();
  const indexed = new Set<string>();
  const limit = pLimit(32);
  for (const mirror of mirrors) {
    const folder = mirrorFolder(mirror);
    const index = await readIndex(folder);
    const look = async (job: Job) => {
      const inIndex = index.has(job.hash);
      if (inIndex) indexed.add(job.hash);
      const known = locations.get(job.hash);
      if ((known && 'mirror' in known) || (!inIndex && options.indexOnly)) return;
      // An index does not tell what is signed, and what is not cannot be installed from a mirror that has to be.
      const state = inIndex && !mirror.signed ? 'unsigned' : await manifestState(folder, job);
      if (state === 'missing') {
        if (inIndex) locations.set(job.hash, { refused: `in the index of ${mirror.fetch}, but not there` });
      } else if (mirror.signed && state === 'unsigned') {
        locations.set(job.hash, { refused: `not signed on ${mirror.fetch}` });
      } else locations.set(job.hash, { mirror: mirror.fetch });
    };
    const answers = index.size > 0 || (await isFolder(join(folder, 'v3/manifests/spec')));
    if (answers) await Promise.all(jobs.map((job) => limit(() => look(job))));
  }
  return { locations, indexed };
}

function mirrorFolder({ name, fetch }: Mirror): string {
  if (fetch.startsWith('file://')) return fileURLToPath(fetch);
  throw new RunnerError('missing', `The mirror ${name} (${fetch}) cannot be read yet: only file:// can.`);
}

async function readIndex(folder: string): Promise<ReadonlySet<string>> {
  const manifest = await read(join(folder, 'v3/manifests/index/index.manifest.json'));
  if (manifest === undefined) return new Set();
  const [entry] = (JSON.parse(manifest) as { data: { checksum: string }[] }).data;
  const { checksum } = entry!;
  const blob = await read(join(folder, 'blobs/sha256', checksum.slice(0, 2), checksum));
  if (blob === undefined) return new Set();
  const { database } = JSON.parse(blob) as {
    database: { installs: Record<string, { in_buildcache?: boolean }> };
  };
  const present = Object.entries(database.installs).filter(([, install]) => install.in_buildcache);
  return new Set(present.map(([hash]) => hash));
}

async function manifestState(folder: string, { spec }: Job): Promise<'missing' | 'signed' | 'unsigned'> {
  const name = `${spec.name}-${spec.version}-${spec.hash}.spec.manifest.json`;
  const file = await open(join(folder, 'v3/manifests/spec', spec.name, name)).catch(absent);
  if (!file) return 'missing';
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    return buffer.toString('latin1', 0, bytesRead).startsWith('-----BEGIN PGP SIGNED')
      ? 'signed'
      : 'unsigned';
  } finally {
    await file.close();
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(absent))?.isDirectory() ?? false;
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(absent);
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
