import { createHash } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { HttpClient, HttpError, maskUrl } from '@stackwright/http';
import type { GitSource, Position, RemoteFetcher } from '@stackwright/spack-env';
import { execa } from 'execa';
import { cacheFolder } from './cache-folder.js';
import { StackError } from './error.js';
import { once } from './once.js';
import { privateFolder } from './private-folder.js';
import { childEnvironment, withoutSecrets } from './secrets.js';

/**
 * How includes by git and by URL are had. `fetch`: from the cache, else from the network. `offline`: from the cache, and
 * what it lacks is an error. `cached`: from the cache, and what it lacks is left out with a warning.
 */
export type IncludeRule = 'fetch' | 'offline' | 'cached';

/** Bytes of a file of configuration; a larger one is none. */
const largestFile = 4 * 1024 * 1024;
/** Milliseconds that one git command may take. */
const gitLimit = 120_000;

const commitHash = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/**
 * Gets what a manifest includes from elsewhere, and keeps it in `~/.cache/stackwright/include`: files by their checksum
 * (`sha256/`), repositories by their commit (`git/`). What branches and tags stood for when they were last looked at is
 * kept there, too, so that it can be read again without a network.
 */
export function includeFetcher(env: NodeJS.ProcessEnv, rule: IncludeRule): RemoteFetcher {
  const cache = join(cacheFolder(env), 'include');
  const closed = once(() => closeCache(cache));
  return {
    url: async ({ url, sha256, at }, signal) => {
      await closed();
      const file = join(cache, 'sha256', sha256);
      const kept = await readFile(file).catch(ifMissing);
      // A file that was harmed in the cache is got again.
      if (kept && sha256Of(kept) === sha256) return kept;
      if (rule !== 'fetch') return leaveOut(rule, at, `The included ${shownUrl(url)}`);
      const bytes = await download(url, at, env, signal);
      if (sha256Of(bytes) === sha256) await keep(file, bytes);
      return bytes;
    },
    git: async (source, signal) => {
      await closed();
      const commit = await commitOf(source, cache, env, rule, signal);
      const name = `The included repository ${maskGit(source.url)} at ${refOf(source)}`;
      if (commit === undefined) return leaveOut(rule, source.at, name);
      const folder = join(cache, 'git', commit);
      if (await isFolder(folder)) return folder;
      if (rule !== 'fetch') return leaveOut(rule, source.at, name);
      await clone(source, commit, folder, env, signal);
      return folder;
    },
  };
}

/** What others may have put into the cache is thrown away: a repository there is believed without a look at the network. */
async function closeCache(cache: string): Promise<void> {
  if (!(await privateFolder(cache))) return;
  await rm(cache, { recursive: true, force: true });
  await privateFolder(cache);
}

/** @throws StackError when the caller said that nothing may be fetched */
function leaveOut(rule: IncludeRule, at: Position, what: string): undefined {
  if (rule === 'cached') return undefined;
  throw new StackError('not-cached', `${placeOf(at)}${what} is not in the cache.`, {
    hint: 'Run it once without --offline to fetch it.',
  });
}

function placeOf({ file, line, column }: Position): string {
  return `${file ? `${file}:` : ''}${line}:${column}: `;
}

async function download(
  url: string,
  at: Position,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const client = new HttpClient({ env });
  try {
    return (await client.request(url, { limit: largestFile, signal })).bytes;
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw new StackError(
      'not-fetched',
      `${placeOf(at)}The included ${shownUrl(url)} could not be fetched: ${error.message}`,
      { hint: 'Check the address.' },
      { cause: error },
    );
  } finally {
    await client.close();
  }
}

/** The commit that is meant. A branch or tag is asked of the repository where that is allowed, and remembered. */
async function commitOf(
  source: GitSource,
  cache: string,
  env: NodeJS.ProcessEnv,
  rule: IncludeRule,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { url, branch, commit, tag } = source;
  if (commit !== undefined) return commit;
  const ref = tag === undefined ? `refs/heads/${branch}` : `refs/tags/${tag}`;
  const memory = join(cache, 'refs', sha256Of(Buffer.from(`${url}\n${ref}`)));
  if (rule !== 'fetch') {
    const known = (await readFile(memory, 'utf8').catch(ifMissing))?.trim();
    return known !== undefined && commitHash.test(known) ? known : undefined;
  }
  const listing = await git(source, ['ls-remote', '--', url, ref, `${ref}^{}`], env, signal);
  const lines = listing.split('\n').map((line) => line.split('\t'));
  // Of an annotated tag the commit that it stands for counts.
  const found = (lines.find(([, name]) => name === `${ref}^{}`) ??
    lines.find(([, name]) => name === ref))?.[0];
  if (found === undefined || !commitHash.test(found))
    throw refused(source, 'there is no such branch or tag.');
  await keep(memory, Buffer.from(`${found}\n`));
  return found;
}

async function clone(
  source: GitSource,
  commit: string,
  folder: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const fresh = await mkdtemp(join(dirname(folder), '.clone-'));
  const inFresh = (...args: string[]) => git(source, ['-C', fresh, ...args], env, signal);
  try {
    await inFresh('init', '--quiet');
    await inFresh('fetch', '--quiet', '--depth=1', '--no-tags', '--', source.url, commit).catch(() =>
      // An older server gives no commit by its hash.
      inFresh(
        'fetch',
        '--quiet',
        '--',
        source.url,
        '+refs/heads/*:refs/include/*',
        '+refs/tags/*:refs/tags/*',
      ),
    );
    await inFresh('checkout', '--quiet', '--detach', commit);
    const got = (await inFresh('rev-parse', 'HEAD')).trim();
    if (got !== commit) throw refused(source, `it gave the commit ${got} instead of ${commit}.`);
    await refuseLinksOut(source, fresh, await inFresh('ls-files', '--stage', '-z'));
    await rename(fresh, folder).catch(async (error: unknown) => {
      // Another process was quicker.
      if (!(await isFolder(folder))) throw error;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** A link that leads out of the repository would have a file of this machine read as configuration, and shown in errors. */
async function refuseLinksOut(source: GitSource, folder: string, listing: string): Promise<void> {
  const root = await realpath(folder);
  for (const line of listing.split('\0')) {
    const path = /^120000 [^\t]*\t(.*)$/s.exec(line)?.[1];
    if (path === undefined) continue;
    const target = await realpath(join(folder, path)).catch(() => root);
    if (target !== root && !target.startsWith(root + sep))
      throw refused(source, `its link ${path} leads out of it.`);
  }
}

async function git(
  source: GitSource,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<string> {
  const done = await execa('git', args, {
    reject: false,
    cancelSignal: signal,
    timeout: gitLimit,
    extendEnv: false,
    env: {
      ...childEnvironment(env),
      // Nobody may be there to answer.
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: 'true',
      GIT_SSH_COMMAND: env.GIT_SSH_COMMAND || 'ssh -o BatchMode=yes',
    },
    stdin: 'ignore',
  });
  signal?.throwIfAborted();
  if (done.code === 'ENOENT')
    throw new StackError('program', 'git is needed to read an included repository.', {
      hint: 'Install it: apt-get install git',
    });
  if (done.timedOut) throw refused(source, `git took longer than ${gitLimit / 1000} s.`);
  if (done.failed) throw refused(source, withoutSecrets(done.stderr.trim(), []));
  return done.stdout;
}

function refused(source: GitSource, why: string): StackError {
  return new StackError(
    'not-fetched',
    `${placeOf(source.at)}The included repository ${maskGit(source.url)} could not be read at ${refOf(source)}: ${why}`,
    { hint: 'Check the "git:" include, or work with what was fetched before: --offline' },
  );
}

function refOf({ branch, commit, tag }: GitSource): string {
  return commit ?? tag ?? branch ?? '';
}

function shownUrl(url: string): string {
  return URL.canParse(url) ? maskUrl(new URL(url)) : url;
}

/** Also `git@host:path`, which is no URL. */
function maskGit(url: string): string {
  return withoutSecrets(url, []);
}

async function keep(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, bytes);
  await rename(temporary, file);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function isFolder(path: string): Promise<boolean> {
  return (await lstat(path).catch(ifMissing))?.isDirectory() ?? false;
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
