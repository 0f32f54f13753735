import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Caller } from './caller.js';
import { StackError } from './error.js';
import type { BuildRecord } from './record.js';

/**
 * The builds of a whole pipeline, from the folders that its jobs left as artifacts: every `builds/HASH.json` in them, with
 * the log beside it. Of a package that was built several times, the last build counts.
 * @throws StackError `work-folder` for a folder that is not there and a record that is none
 */
export async function collectRecords(
  { cwd }: Pick<Caller, 'cwd'>,
  folders: readonly string[],
): Promise<BuildRecord[]> {
  const found = new Map<string, BuildRecord>();
  for (const folder of folders) {
    for (const file of await recordFiles(resolve(cwd, folder))) {
      const record = await readRecord(file);
      const before = found.get(record.hash);
      if (!before || before.started < record.started) found.set(record.hash, record);
    }
  }
  return [...found.values()].sort((a, b) => a.started.localeCompare(b.started));
}

async function recordFiles(folder: string): Promise<string[]> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new StackError('work-folder', `${folder} is no folder with the artifacts of jobs.`, {
      hint: 'Unpack the artifacts first, and give the folders to --collect.',
      file: folder,
    });
  }
  const names = await readdir(folder, { recursive: true });
  return names
    .map((name) => join(folder, name))
    .filter((file) => basename(dirname(file)) === 'builds' && file.endsWith('.json'))
    .sort();
}

async function readRecord(file: string): Promise<BuildRecord> {
  try {
    const record = JSON.parse(await readFile(file, 'utf8')) as BuildRecord;
    if (typeof record.hash !== 'string' || typeof record.started !== 'string')
      throw new Error('it is no record of a build');
    // The path is of the machine that built, and a job may write any: only the log that came along is read.
    const beside = join(dirname(dirname(file)), 'logs', basename(String(record.log)));
    const found = await lstat(beside).catch(() => undefined);
    if (found?.isSymbolicLink()) throw new Error(`its log ${beside} is a symbolic link`);
    return { ...record, log: beside };
  } catch (error) {
    throw new StackError('work-folder', `${file} is broken: ${(error as Error).message}.`, {
      hint: 'Delete it.',
      file,
    });
  }
}
