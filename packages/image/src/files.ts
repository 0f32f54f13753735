import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, posix, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import type { BaseImage } from '@stackwright/oci';
import type { ImageFile, ImageUser } from '@stackwright/spack-env';
import { pack } from 'tar-stream';
import { ImageError } from './error.js';
import type { FileTree } from './file-tree.js';
import { keyOf, type LayerFile } from './layer.js';
import { filesOfBase } from './layer-files.js';
import type { Staging } from './staging.js';

/** Files and users of a stack's own that an image gets. */
export interface OwnContent {
  readonly files?: readonly ImageFile[];
  readonly users?: readonly ImageUser[];
  /** Absolute folder that sources are relative to and lie in. */
  readonly folder: string;
}

/** A user with all that the container's files say of it. */
interface PlacedUser {
  readonly name: string;
  readonly uid: number;
  readonly home: string;
  readonly shell: string;
}

/** An entry of the layer. */
interface PlacedFile {
  /** Absolute, in the image. */
  readonly path: string;
  readonly type: 'file' | 'directory';
  readonly mode: number;
  readonly uid: number;
  readonly size: number;
  /** Names the content. */
  readonly digest: string;
  readonly open: () => Readable;
}

/**
 * A layer of files of the stack's own, with modes and owners, and of users besides those of the base; none where there is
 * nothing of both. The same input gives the same bytes: no times.
 * @throws ImageError `own-files` for a path, source, mode or owner that cannot be
 */
export async function ownLayer(
  { files = [], users = [], folder }: OwnContent,
  base: BaseImage | undefined,
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFile | undefined> {
  if (files.length + users.length === 0) return undefined;
  const below = base && users.length > 0 ? await filesOfBase(base, staging, signal) : undefined;
  const placed = users.map((user, index) => placeUser(user, index, below));
  const entries = [...userFiles(placed, below), ...(await placeFiles(files, placed, folder))];
  const described = entries.map(({ path, type, mode, uid, digest }) => [path, type, mode, uid, digest]);
  return staging.pack(keyOf('own', JSON.stringify(described)), () => tarOf(entries), 'stackwright: files', {
    signal,
  });
}

function placeUser(
  { name, uid, home, shell }: ImageUser,
  index: number,
  below: FileTree | undefined,
): PlacedUser {
  const user = {
    name,
    uid: uid ?? 1000 + index,
    home: home ?? `/home/${name}`,
    shell: shell ?? shellOf(below),
  };
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(name)) throw refusal(`"${name}" is no name for a user`);
  if (!Number.isSafeInteger(user.uid) || user.uid < 0 || user.uid > 65534)
    throw refusal(`the user ${name} cannot have the number ${user.uid}`);
  checkPath(user.home);
  const known = below?.text('/etc/passwd')?.split('\n') ?? [];
  const taken = known.find((line) => line.startsWith(`${name}:`) || line.split(':')[2] === String(user.uid));
  if (taken) throw refusal(`the base has the user ${taken.split(':').slice(0, 3).join(':')} already`);
  return user;
}

function shellOf(below: FileTree | undefined): string {
  return below?.isFile('/bin/bash') ? '/bin/bash' : '/bin/sh';
}

function userFiles(users: readonly PlacedUser[], below: FileTree | undefined): PlacedFile[] {
  if (users.length === 0) return [];
  const withEnd = (text: string) => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
  const passwd = withEnd(below?.text('/etc/passwd') ?? 'root:x:0:0:root:/root:/bin/sh\n');
  const group = withEnd(below?.text('/etc/group') ?? 'root:x:0:\n');
  return [
    textFile(
      '/etc/passwd',
      passwd + users.map((one) => `${one.name}:x:${one.uid}:${one.uid}::${one.home}:${one.shell}\n`).join(''),
    ),
    textFile('/etc/group', group + users.map((one) => `${one.name}:x:${one.uid}:\n`).join('')),
    ...users.map(({ home, uid }) => folderAt(home, uid)),
  ];
}

async function placeFiles(
  files: readonly ImageFile[],
  users: readonly PlacedUser[],
  folder: string,
): Promise<PlacedFile[]> {
  const placed: PlacedFile[] = [];
  for (const file of files) {
    checkPath(file.path);
    if ((file.source === undefined) === (file.content === undefined))
      throw refusal(`the file ${file.path} needs either a source or a content`);
    const uid = ownerOf(file, users);
    const mode = file.mode === undefined ? undefined : modeOf(file);
    if (file.content !== undefined) placed.push(textFile(file.path, file.content, mode, uid));
    else placed.push(...(await fromSource(file.path, await sourceOf(file, folder), mode, uid)));
  }
  return placed;
}

/** Files of a folder keep which of them are programs; nothing else of their modes is taken over. */
async function fromSource(
  path: string,
  source: string,
  mode: number | undefined,
  uid: number,
): Promise<PlacedFile[]> {
  const found = await stat(source);
  if (found.isDirectory()) {
    const names = (await readdir(source)).sort();
    const inside = await Promise.all(
      names.map((name) => fromSource(posix.join(path, name), join(source, name), mode, uid)),
    );
    return [folderAt(path, uid), ...inside.flat()];
  }
  const usual = found.mode & 0o100 ? 0o755 : 0o644;
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(source)) digest.update(chunk);
  const open = () => createReadStream(source);
  return [
    { path, type: 'file', mode: mode ?? usual, uid, size: found.size, digest: digest.digest('hex'), open },
  ];
}

/** A source lies in the stack's folder, also behind links: an image must not take a key from beside it. */
async function sourceOf({ path, source = '' }: ImageFile, folder: string): Promise<string> {
  const real = await realpath(resolve(folder, source)).catch(() => undefined);
  if (real === undefined) throw refusal(`the source ${source} of ${path} is not there`);
  const within = relative(await realpath(folder), real);
  if (within.startsWith('..')) throw refusal(`the source ${source} of ${path} lies outside of the stack`);
  return real;
}

function modeOf({ path, mode = '' }: ImageFile): number {
  if (!/^0?[0-7]{3}$/.test(mode)) throw refusal(`"${mode}" is no mode for ${path} (three octal digits)`);
  return Number.parseInt(mode, 8);
}

function ownerOf({ path, owner = 'root' }: ImageFile, users: readonly PlacedUser[]): number {
  const known = owner === 'root' ? 0 : users.find(({ name }) => name === owner)?.uid;
  const uid = known ?? (/^\d{1,5}$/.test(owner) ? Number(owner) : undefined);
  if (uid === undefined)
    throw refusal(`the owner "${owner}" of ${path} is no user of the stack, and no number`);
  return uid;
}

function checkPath(path: string): void {
  if (!path.startsWith('/') || path === '/' || posix.normalize(path) !== path || path.includes('\0'))
    throw refusal(`"${path}" is no absolute path of a file`);
}

function refusal(why: string): ImageError {
  return new ImageError('own-files', `image.files or image.users: ${why}.`, {
    hint: 'Correct it in stackwright.yaml.',
  });
}

function textFile(path: string, text: string, mode = 0o644, uid = 0): PlacedFile {
  const bytes = Buffer.from(text);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { path, type: 'file', mode, uid, size: bytes.length, digest, open: () => Readable.from([bytes]) };
}

function folderAt(path: string, uid: number): PlacedFile {
  return { path, type: 'directory', mode: 0o755, uid, size: 0, digest: '', open: () => Readable.from([]) };
}

function tarOf(entries: readonly PlacedFile[]): Readable {
  const tar = pack();
  void fill(tar, withParents(entries)).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error),
  );
  // A stream of Node's own, which pipelines know how to end.
  return Readable.from(tar as AsyncIterable<Buffer>, { objectMode: false });
}

async function fill(tar: ReturnType<typeof pack>, entries: readonly PlacedFile[]): Promise<void> {
  for (const { path, type, mode, uid, size, open } of entries) {
    const header = { name: path.slice(1), type, mode, uid, gid: uid, size, mtime: new Date(0) };
    await new Promise<void>((done, fail) => {
      const entry = tar.entry(header, (error) => (error ? fail(error) : done()));
      open().on('error', fail).pipe(entry);
    });
  }
}

/** Folders above first, root's where no entry says otherwise. Of two entries of a path the later counts. */
function withParents(entries: readonly PlacedFile[]): PlacedFile[] {
  const all = new Map<string, PlacedFile>();
  for (const { path } of entries)
    for (let at = dirname(path); at !== '/'; at = dirname(at)) all.set(at, folderAt(at, 0));
  for (const entry of entries) all.set(entry.path, entry);
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
