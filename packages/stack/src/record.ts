import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PhaseTime } from '@stackwright/cdash';
import { StackError } from './error.js';
import type { WorkFolder } from './work.js';

/** What became of one package's build, kept in the work folder until it is reported. */
export interface BuildRecord {
  readonly hash: string;
  readonly outcome: 'passed' | 'failed';
  /** Why it failed. */
  readonly failure?: string;
  /** ISO 8601. */
  readonly started: string;
  readonly seconds: number;
  /** Absolute. */
  readonly log: string;
  /** Seconds of each phase, where Spack left them. */
  readonly times?: readonly PhaseTime[];
}

/** Writes down what became of a build. */
export async function recordBuild(work: WorkFolder, record: BuildRecord): Promise<void> {
  await mkdir(work.builds, { recursive: true });
  await writeFile(recordFile(work, record.hash), `${JSON.stringify(record, null, 2)}\n`);
}

/** Where the record of a package's build is kept. */
export function recordFile(work: WorkFolder, hash: string): string {
  return join(work.builds, `${hash}.json`);
}

/** Forgets the builds of an earlier run. */
export async function forgetBuilds(work: WorkFolder): Promise<void> {
  await rm(work.builds, { recursive: true, force: true });
}

/** The builds of the last run, by when they started. @throws StackError for a record that is none */
export async function readRecords(work: WorkFolder): Promise<BuildRecord[]> {
  const names = await readdir(work.builds).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const records = await Promise.all(
    names.map(async (name) => {
      const file = join(work.builds, name);
      try {
        return JSON.parse(await readFile(file, 'utf8')) as BuildRecord;
      } catch (error) {
        throw new StackError('work-folder', `${file} is broken: ${(error as Error).message}.`, {
          hint: 'Delete it.',
          file,
        });
      }
    }),
  );
  return records.sort((a, b) => a.started.localeCompare(b.started));
}

/** What Spack says of a build's phases in `.spack/install_times.json`; nothing where that can't be read. */
export async function phaseTimes(prefix: string): Promise<PhaseTime[]> {
  try {
    const text = await readFile(join(prefix, '.spack', 'install_times.json'), 'utf8');
    const { phases = [] } = JSON.parse(text) as { phases?: { name: string; seconds: number }[] };
    return phases.map(({ name, seconds }) => ({ name, seconds }));
  } catch {
    // A build that was pushed does not fail over a note on its times.
    return [];
  }
}
