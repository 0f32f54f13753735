import { copyFile, lstat, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { StackError } from './error.js';
import type { MirrorChoice, MirrorPlace } from './mirrors.js';
import type { Stack } from './stack.js';
import type { WorkFolder } from './work.js';

/**
 * The mirrors of work that writes. A destination that lies in the stack's folder came with it and stays as it is: the
 * work gets a copy of its own. So does a stack without a destination get a mirror in the work folder.
 * @returns with `reseeded`: the copy got something new, so that its index is behind
 */
export async function writableMirrors(
  choice: MirrorChoice,
  stack: Stack,
  work: WorkFolder,
): Promise<MirrorChoice & { readonly target: MirrorPlace; readonly reseeded: boolean }> {
  const { target, places, given } = choice;
  const own = pathToFileURL(work.mirror).href;
  if (!target) {
    const made: MirrorPlace = { name: 'stackwright', fetch: own, push: own, unsigned: false };
    return { given, target: made, places: [made, ...places], reseeded: false };
  }
  const folder = target.push.startsWith('file:') ? fileURLToPath(target.push) : undefined;
  if (given || folder === undefined || !isWithin(folder, stack.folder)) {
    return { given, target, places, reseeded: false };
  }
  await refuseLink(folder);
  const reseeded = await seed(folder, work.mirror);
  const copy: MirrorPlace = { ...target, fetch: own, push: own };
  return { given, target: copy, places: [copy, ...places.slice(1)], reseeded };
}

/** A link would have a run copy, and an image hold, whatever folder of this machine the stack's author points to. */
async function refuseLink(folder: string): Promise<void> {
  const found = await lstat(folder).catch(() => undefined);
  if (!found?.isSymbolicLink()) return;
  throw new StackError(
    'bad-value',
    `${folder} is a symbolic link, so the stack does not bring its mirror along.`,
    {
      hint: 'Name the folder that it leads to with --mirror.',
    },
  );
}

function isWithin(path: string, folder: string): boolean {
  const inside = relative(folder, path);
  return !inside.startsWith('..') && !isAbsolute(inside);
}

/**
 * Brings what a stack's own mirror holds into a run's copy of it: all of it the first time, later what has changed there
 * since. What the run has built stays; so does its index, which is brought up to date instead of being replaced.
 * @returns whether the copy was there before and something in it changed
 */
async function seed(from: string, to: string): Promise<boolean> {
  const source = await filesOf(from);
  // A record that is absent or torn: all is copied again.
  if (source.size === 0) return false;
  const record = `${to}.seed.json`;
  const there = await stat(to).catch(() => undefined);
  const before: Record<string, string> | undefined =
    there &&
    (await readFile(record, 'utf8')
      .then(JSON.parse)
      .catch(() => undefined));
  const changed = [...source].filter(([name, mark]) => before?.[name] !== mark).map(([name]) => name);
  // Blobs before the manifests that name them: a copy that is cut off leaves a whole mirror.
  const rank = (name: string) => (name.startsWith('blobs/') ? 0 : 1);
  changed.sort((a, b) => rank(a) - rank(b));
  for (const name of changed) {
    if (before && name.startsWith('v3/manifests/index/')) continue;
    const target = join(to, name);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(join(from, name), `${target}.part`);
    await rename(`${target}.part`, target);
  }
  await writeFile(record, JSON.stringify(Object.fromEntries(source)));
  return before !== undefined && changed.length > 0;
}

/** Every file below a folder with a mark that changes when it does; empty where there is no folder. */
async function filesOf(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  const marks = await Promise.all(
    files.map(async (name) => {
      const { size, mtimeMs } = await stat(join(folder, name));
      return [name, `${size} ${mtimeMs}`] as const;
    }),
  );
  return new Map(marks);
}

/** Makes sure that a folder mirror's folder is there. */
export async function ensureFolder(url: string): Promise<void> {
  if (url.startsWith('file:')) await mkdir(fileURLToPath(url), { recursive: true });
}
