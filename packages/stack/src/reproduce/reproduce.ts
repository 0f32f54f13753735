import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, delimiter, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { HttpClient, HttpError, maskUrl } from '@stackwright/http';
import { shellWord } from '@stackwright/job-graph';
import { Spack } from '@stackwright/spack';
import { execa } from 'execa';
import { unzip } from 'fflate';
import type { Caller } from '../caller.js';
import { StackError } from '../error.js';
import { childEnvironment, Masking, secretsOf } from '../secrets.js';
import {
  type Reproduction,
  reproductionFile,
  reproductionScript,
  writeReproduction,
} from './reproduction.js';

/** Bytes of the largest archive that is taken. */
const largestArchive = 512 * 1024 * 1024;
/** Folders below each other that are looked through. */
const deepest = 8;

/** A reproduction on this machine. */
export interface OpenedReproduction extends Reproduction {
  /** Absolute. */
  readonly folder: string;
  /** docker or podman, where there is one and the job had an image. */
  readonly runtime: string | undefined;
}

/**
 * Finds what a failed job left: in a folder, a zip archive, or a zip archive at a URL. Archives are unpacked into a folder
 * beside the caller. What `spack ci rebuild` leaves (`repro.json`) is taken, too.
 * @throws StackError `bad-value` where there is none, `exists`, `not-fetched`
 */
export async function openReproduction(caller: Caller, place: string): Promise<OpenedReproduction> {
  const root = await folderOf(caller, place);
  const found = (await find(root, reproductionFile)) ?? (await adoptSpacks(root));
  if (!found) {
    throw new StackError('bad-value', `${place} holds no ${reproductionFile} and no repro.json.`, {
      hint: 'Give the artifacts of a failed job of stackwright rebuild, stackwright run or spack ci rebuild.',
    });
  }
  const folder = dirname(found);
  const reproduction = parseReproduction(await readFile(found, 'utf8'), found);
  return { ...reproduction, folder, runtime: reproduction.image ? await findRuntime(caller) : undefined };
}

/** The command that repeats a failure. */
export function reproductionCommand(
  { folder, image, runtime }: OpenedReproduction,
  { shell = false }: { readonly shell?: boolean } = {},
): string[] {
  const more = shell ? ['--shell'] : [];
  if (!image || !runtime) return ['sh', join(folder, reproductionScript), ...more];
  const inside = '/reproduction';
  return [
    ...[runtime, 'run', '--rm', ...(shell ? ['-it'] : []), '-v', `${folder}:${inside}`, '-w', inside],
    ...['--entrypoint', '/bin/sh', image, `${inside}/${reproductionScript}`, ...more],
  ];
}

/**
 * Repeats a failure. Nothing is pushed.
 * @returns whether it failed again
 * @throws SpackError where it has to run here and there is no Spack
 */
export async function repeatFailure(
  caller: Caller,
  reproduction: OpenedReproduction,
  { shell = false }: { readonly shell?: boolean } = {},
): Promise<boolean> {
  const { env, signal } = caller;
  const [program = '', ...args] = reproductionCommand(reproduction, { shell });
  const child = childEnvironment(env);
  if (!reproduction.runtime) {
    const spack = await Spack.require(`build ${reproduction.name}`, {
      env: child,
      writer: reproduction.spack,
      signal,
    });
    child.PATH = [join(await spack.prefix(signal), 'bin'), child.PATH ?? ''].join(delimiter);
  }
  const options = { env: child, extendEnv: false, reject: false, cancelSignal: signal } as const;
  if (shell) return (await execa(program, args, { ...options, stdio: 'inherit' })).failed;
  return caller.progress.phase(
    `Repeat the build of ${reproduction.name}@${reproduction.packageVersion}`,
    async (report) => {
      const masking = new Masking(secretsOf(env));
      const running = execa(program, args, { ...options, all: true, buffer: false, stdin: 'ignore' });
      running.all.setEncoding('utf8');
      for await (const text of running.all) report.output(masking.add(String(text)));
      report.output(masking.end());
      const { failed } = await running;
      signal.throwIfAborted();
      report.result(failed ? 'it failed again' : 'it did not fail');
      return failed;
    },
  );
}

/** A command as a shell takes it. */
export function commandText(command: readonly string[]): string {
  return command.map(shellWord).join(' ');
}

async function folderOf(caller: Caller, place: string): Promise<string> {
  if (/^https?:\/\//.test(place)) return unpack(caller, await download(caller, place), nameOfUrl(place));
  const path = resolve(caller.cwd, place);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new StackError('bad-value', `${place}: no such file or folder.`);
  if (found.isDirectory()) return path;
  if (found.size > largestArchive) throw tooLarge(place);
  return unpack(caller, await readFile(path), basename(path));
}

async function download({ env, signal }: Caller, url: string): Promise<Uint8Array> {
  const client = new HttpClient({ env });
  try {
    return (await client.request(new URL(url), { limit: largestArchive, signal })).bytes;
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw new StackError(
      'not-fetched',
      `${maskUrl(new URL(url))} could not be fetched: ${error.message}`,
      { hint: 'Download the artifacts of the job, and give the file.' },
      { cause: error },
    );
  } finally {
    await client.close();
  }
}

function nameOfUrl(url: string): string {
  return basename(new URL(url).pathname) || 'artifacts';
}

function tooLarge(place: string): StackError {
  return new StackError('bad-value', `${place} is larger than ${largestArchive} bytes.`, {
    hint: 'Unpack it, and give the folder.',
  });
}

/** Unpacks an archive into a new folder: plain files only, and none outside of it. */
async function unpack({ cwd }: Caller, bytes: Uint8Array, name: string): Promise<string> {
  const folder = join(cwd, name.replace(/\.zip$/i, '') || 'artifacts');
  let size = 0;
  const files = await new Promise<Record<string, Uint8Array>>((done, failed) => {
    unzip(
      bytes,
      {
        filter: ({ originalSize }) => {
          size += originalSize;
          return size <= largestArchive;
        },
      },
      (error, all) =>
        error
          ? failed(new StackError('bad-value', `${name} is no zip archive: ${error.message}.`))
          : done(all),
    );
  });
  if (size > largestArchive) throw tooLarge(name);
  for (const path of Object.keys(files)) {
    if (isOutside(path)) throw new StackError('bad-value', `${name}: its entry ${path} leads out of it.`);
  }
  if (await stat(folder).catch(() => undefined)) {
    throw new StackError('exists', `${folder} is there already.`, {
      hint: 'Delete it, or give it instead of the archive.',
    });
  }
  for (const [path, content] of Object.entries(files)) {
    if (path.endsWith('/')) continue;
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

function isOutside(path: string): boolean {
  return isAbsolute(path) || path.split(/[/\\]/).includes('..');
}

/** The first file of a name in or below a folder, the nearest first. */
async function find(root: string, name: string): Promise<string | undefined> {
  let level = [root];
  for (let depth = 0; depth <= deepest && level.length > 0; depth += 1) {
    const next: string[] = [];
    for (const folder of level.sort()) {
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        if (entry.isFile() && entry.name === name) return join(folder, name);
        if (entry.isDirectory()) next.push(join(folder, entry.name));
      }
    }
    level = next;
  }
  return undefined;
}

/**
 * Gives what `spack ci rebuild` leaves the form of ours. Its `repro.json` names a file with the package's spec; the
 * environment lies somewhere else in the artifacts, and `spack_info.txt` says which Spack it was.
 */
async function adoptSpacks(root: string): Promise<string | undefined> {
  const description = await find(root, 'repro.json');
  if (!description) return undefined;
  const lock = await find(root, 'spack.lock');
  if (!lock || !(await stat(join(dirname(lock), 'spack.yaml')).catch(() => undefined))) {
    throw new StackError('bad-value', `${root} has no folder with spack.yaml and spack.lock.`, {
      hint: 'Take the whole artifacts: those of the job that generated the pipeline hold the environment.',
      file: description,
    });
  }
  const folder = dirname(description);
  const { job_spec_json: specName } = JSON.parse(await readFile(description, 'utf8')) as {
    job_spec_json?: unknown;
  };
  const specFile = typeof specName === 'string' ? await find(root, basename(specName)) : undefined;
  const node = specFile ? packageOf(await readFile(specFile, 'utf8')) : undefined;
  if (!node)
    throw new StackError('bad-value', `${description}: the spec that it names is not there.`, {
      file: description,
    });
  const info = await readFile(join(folder, 'spack_info.txt'), 'utf8').catch(() => '');
  const [, version = '', commit] = /(\d+\.\d+[\w.]*)(?:.*?\b([0-9a-f]{40})\b)?/s.exec(info) ?? [];
  await writeReproduction(folder, {
    version: 1,
    ...node,
    spack: { version, commit: commit ?? /\b[0-9a-f]{40}\b/.exec(info)?.[0] },
    environment: relative(folder, dirname(lock)) || '.',
    tests: false,
    variables: {},
  });
  return join(folder, reproductionFile);
}

function packageOf(text: string): Pick<Reproduction, 'hash' | 'name' | 'packageVersion'> | undefined {
  const { spec } = JSON.parse(text) as {
    spec?: { nodes?: { name?: unknown; version?: unknown; hash?: unknown }[] };
  };
  const { name, version, hash } = spec?.nodes?.[0] ?? {};
  if (typeof name !== 'string' || typeof hash !== 'string') return undefined;
  return { hash, name, packageVersion: String(version) };
}

function parseReproduction(text: string, file: string): Reproduction {
  const refuse = (what: string) => new StackError('bad-value', `${file} ${what}.`, { file });
  let json: Partial<Reproduction>;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refuse(`is no JSON: ${(error as Error).message}`);
  }
  if (json.version !== 1) throw refuse(`has version ${json.version}; 1 is known`);
  if (
    ![json.hash, json.name, json.packageVersion, json.environment].every((one) => typeof one === 'string') ||
    !json.spack
  )
    throw refuse('lacks hash, name, packageVersion, environment or spack');
  return json as Reproduction;
}

async function findRuntime({ env }: Caller): Promise<string | undefined> {
  for (const name of ['podman', 'docker']) {
    const done = await execa(name, ['--version'], {
      env: childEnvironment(env),
      extendEnv: false,
      reject: false,
    });
    if (!done.failed) return name;
  }
  return undefined;
}
