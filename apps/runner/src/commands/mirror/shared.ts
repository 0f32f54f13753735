import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  describe,
  GpgSigner,
  KeySigner,
  type Mirror,
  type MirrorIndex,
  type MirrorReader,
  openMirror,
  openToRead,
  type PackageRef,
  presentPackages,
  readSecretKey,
  type SignaturePolicy,
  type Signer,
  trustOf,
} from '@stackwright/buildcache';
import { type ConcreteNode, parseSpec, satisfies } from '@stackwright/spack-env';
import { type Command, Option } from 'commander';
import { type Context, note } from '../../context.js';
import { describeError, type ErrorKind, exitCode, exitCodeOf, RunnerError } from '../../exit.js';
import { environmentWithoutSecrets } from '../../secrets.js';
import { readLock, stackFolder } from '../../stack.js';

export interface StoreOptions {
  readonly endpoint?: string;
  readonly profile?: string;
  readonly anonymous?: boolean;
  readonly tokenVariable?: string;
}

export interface TrustOptions {
  readonly trust: readonly string[];
  readonly trustKey: readonly string[];
  readonly trustPublished?: boolean;
  readonly unsigned?: boolean;
  readonly expiredKeys?: boolean;
}

export interface SignerOptions {
  readonly key?: string;
  readonly gpg?: string;
}

/** Options that say how a mirror is reached. */
export function storeOptions(command: Command): Command {
  return command
    .option('--endpoint <url>', "S3: the server's address (else S3_ENDPOINT_URL)")
    .option('--profile <name>', 'S3: the profile of ~/.aws (else AWS_PROFILE)')
    .option('--anonymous', 'S3: send no credentials')
    .option('--token-variable <name>', 'HTTP: environment variable that holds a bearer token');
}

/** Options that say whose signatures count. */
export function trustOptions(command: Command): Command {
  return command
    .addOption(repeatable('--trust <file>', 'public key whose packages are trusted (repeatable)'))
    .addOption(repeatable('--trust-key <fpr>', 'of these keys trust only this one (repeatable)'))
    .option('--trust-published', 'trust the keys that the mirror itself publishes')
    .option('--expired-keys', 'accept signatures by keys that have expired since')
    .option('--unsigned', 'do not look at signatures, only at checksums');
}

/** Options that say what is signed with. */
export function signerOptions(command: Command): Command {
  return command
    .option('--key <file>', 'secret key to sign with (else SPACK_SIGNING_KEY)')
    .option('--gpg <user>', "sign with the gpg program and this user's key");
}

/** An option that may be given several times; its value is a list, empty when it is not given. */
export function repeatable(flags: string, description: string): Option {
  const option = new Option(flags, description).argParser((value: string, before: readonly string[]) => [
    ...before,
    value,
  ]);
  // The help text shows defaults as JSON; an empty list says nothing there.
  return option.default([], 'none');
}

/** Opens a mirror of any kind that is there, without looking at signatures. */
export function open(context: Context, url: string, options: StoreOptions): Promise<Mirror> {
  return openMirror(url, { ...openOptions(context, options), existing: true });
}

/** Opens a mirror to read packages from, also one of the old layout v2. */
export function openSource(context: Context, url: string, options: StoreOptions): Promise<MirrorReader> {
  return openToRead(url, openOptions(context, options));
}

/** Opens a mirror of any kind to write to; it may be a new one. */
export function openTarget(context: Context, url: string, options: StoreOptions): Promise<Mirror> {
  return openMirror(url, openOptions(context, options));
}

/**
 * Makes sure that a mirror can hold signatures and keys.
 * @param instead what to do where it cannot
 */
export function assertSignable(mirror: MirrorReader, instead: string): void {
  if (!mirror.signable)
    throw new RunnerError(
      'input',
      `${mirror.url}: a registry has no place for signatures and keys.`,
      instead,
    );
}

export function openOptions(context: Context, options: StoreOptions) {
  const { env, cwd, signal } = context;
  if (env['S3_ENDPOIT_URL'] && !env['S3_ENDPOINT_URL']) {
    note(context, 'Warning: S3_ENDPOIT_URL is misspelled; set S3_ENDPOINT_URL.');
  }
  const { tokenVariable } = options;
  const token = tokenVariable === undefined ? undefined : env[tokenVariable];
  if (tokenVariable !== undefined && !token) {
    throw new RunnerError('missing', `The environment variable ${tokenVariable} is not set.`);
  }
  return {
    env,
    cwd,
    signal,
    ...options,
    ...(token ? { token } : {}),
    onEvent: (event: { readonly type: string; readonly key: string; readonly reason: string }) => {
      if (env['STACKWRIGHT_DEBUG']) note(context, `${event.type} ${event.key}: ${event.reason}`);
    },
  };
}

/** A mirror whose packages must be signed as the options say. */
export async function trusted<M extends MirrorReader>(
  context: Context,
  mirror: M,
  options: TrustOptions,
): Promise<M> {
  if (!options.unsigned)
    assertSignable(mirror, 'To take its packages all the same, checked by checksum only: --unsigned');
  return mirror.withPolicy(await policyOf(context, mirror, options)) as M;
}

export async function policyOf(
  context: Context,
  published: MirrorReader | undefined,
  options: TrustOptions,
): Promise<SignaturePolicy> {
  if (options.unsigned) return { kind: 'unsigned' };
  if (options.trust.length === 0 && !options.trustPublished) {
    throw new RunnerError(
      'input',
      'Whose packages are to be trusted?',
      'Give a public key (--trust FILE), trust the keys that the mirror publishes\n(--trust-published), or do without signatures (--unsigned).',
    );
  }
  const trust = await trustOf({
    keys: await Promise.all(options.trust.map((file) => readText(context, file))),
    published: options.trustPublished ? published : undefined,
    fingerprints: options.trustKey,
    signal: context.signal,
  });
  if (trust.keys.length === 0) {
    throw new RunnerError('input', 'No key is left to trust.', 'Check the fingerprints of --trust-key.');
  }
  return { kind: 'trusted', trust, expiredKeys: options.expiredKeys };
}

/** What to sign with, by the options or the environment; undefined when neither names a key. */
export async function findSigner(context: Context, options: SignerOptions): Promise<Signer | undefined> {
  const { SPACK_SIGNING_KEY: given, SPACK_SIGNING_KEY_PASSPHRASE: passphrase } = context.env;
  if (options.gpg !== undefined) {
    return GpgSigner.find(options.gpg, {
      env: environmentWithoutSecrets(context.env),
      signal: context.signal,
    });
  }
  if (options.key !== undefined) {
    const { text, from } = await readText(context, options.key);
    return new KeySigner(await readSecretKey(text, passphrase, from));
  }
  return given ? new KeySigner(await readSecretKey(given, passphrase, 'SPACK_SIGNING_KEY')) : undefined;
}

/** Like `findSigner`, but for work that cannot be done without. */
export async function requireSigner(context: Context, options: SignerOptions): Promise<Signer> {
  const signer = await findSigner(context, options);
  if (!signer) {
    throw new RunnerError(
      'missing',
      'There is no key to sign with.',
      'Set SPACK_SIGNING_KEY, or give --key FILE or --gpg USER.',
    );
  }
  return signer;
}

/**
 * The packages of a mirror that are meant: by specs or `/HASH`, by the locks of stacks; all when neither is given.
 * @param withDependencies also what they link and run
 * @param complete whether packages are of no use without what they need; else a warning names what is not there
 */
export async function select(
  context: Context,
  mirror: MirrorReader,
  specs: readonly string[],
  stacks: readonly string[] = [],
  withDependencies = false,
  complete = false,
): Promise<PackageRef[]> {
  const present = await presentPackages(mirror, context.signal);
  if (specs.length === 0 && stacks.length === 0) return sorted(present.values());
  const chosen = new Set<string>();
  const missing = new Map<string, string>();
  for (const stack of stacks) {
    const lock = await readLock(await stackFolder(context, stack));
    for (const node of lock.nodes.values()) {
      if (present.has(node.hash)) chosen.add(node.hash);
      else if (!node.external) missing.set(node.hash, describe(node));
    }
  }
  if (specs.length > 0) {
    const { nodes } = await nodesOf(mirror, present, context.signal);
    for (const spec of specs) {
      const matches = [...present.keys()].filter(matcher(spec, nodes));
      if (matches.length === 0) {
        throw new RunnerError(
          'input',
          `${mirror.url} has no package that satisfies "${spec}".`,
          'See: stackwright mirror list',
        );
      }
      for (const hash of matches) chosen.add(hash);
    }
    if (withDependencies) {
      const queue = [...chosen];
      for (let hash = queue.pop(); hash !== undefined; hash = queue.pop()) {
        for (const edge of nodes.get(hash)?.dependencies ?? []) {
          const needed = edge.types.includes('link') || edge.types.includes('run');
          const node = nodes.get(edge.hash);
          if (!needed || chosen.has(edge.hash) || node?.external) continue;
          if (!present.has(edge.hash)) {
            missing.set(edge.hash, node ? describe(node) : `${edge.name}/${edge.hash.slice(0, 7)}`);
            continue;
          }
          chosen.add(edge.hash);
          queue.push(edge.hash);
        }
      }
    }
  }
  if (missing.size > 0) {
    const names = [...missing.values()].sort();
    const more = names.length > 10 ? ` and ${names.length - 10} more` : '';
    const text = `${mirror.url} lacks ${names.slice(0, 10).join(', ')}${more}, which these packages need.`;
    if (complete && specs.length > 0) {
      throw new RunnerError(
        'missing',
        text,
        'Push that first, or do without what the packages need: --no-dependencies',
      );
    }
    note(context, `Warning: ${text}`);
  }
  return sorted([...chosen].map((hash) => present.get(hash)!));
}

/** Nodes by hash: from the index, and for what it lacks from the packages themselves. */
async function nodesOf(
  mirror: MirrorReader,
  present: ReadonlyMap<string, PackageRef>,
  signal: AbortSignal,
): Promise<MirrorIndex> {
  const nodes = new Map<string, ConcreteNode>();
  for await (const node of eachNode(mirror, present, signal)) nodes.set(node.hash, node);
  return { hashes: new Set(present.keys()), nodes };
}

/** The same, one after the other; of what the index has also those that are not asked for. */
export async function* eachNode(
  mirror: MirrorReader,
  present: ReadonlyMap<string, PackageRef>,
  signal: AbortSignal,
): AsyncGenerator<ConcreteNode> {
  const seen = new Set<string>();
  if (await mirror.hasIndex(signal)) {
    for await (const { node } of mirror.indexEntries(signal)) {
      seen.add(node.hash);
      yield node;
    }
  }
  const reader = mirror.withPolicy({ kind: 'unsigned' });
  for (const ref of present.values()) {
    if (seen.has(ref.hash)) continue;
    const { document } = await reader.package(ref, signal);
    for (const [hash, node] of document.nodes) {
      if (seen.has(hash)) continue;
      seen.add(hash);
      yield node;
    }
  }
}

/** Whether a package, by its hash, is what a spec or `/HASH` means. */
function matcher(spec: string, nodes: ReadonlyMap<string, ConcreteNode>): (hash: string) => boolean {
  if (/^\/[a-z2-7]+$/.test(spec)) return (hash) => hash.startsWith(spec.slice(1));
  const parsed = parseSpec(spec);
  return (hash) => {
    const node = nodes.get(hash);
    return node !== undefined && satisfies(node, parsed, nodes);
  };
}

export function sorted(refs: Iterable<PackageRef>): PackageRef[] {
  return [...refs].sort(
    (a, b) => compare(a.name, b.name) || compare(a.version, b.version) || compare(a.hash, b.hash),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export async function readText(context: Context, file: string): Promise<{ text: string; from: string }> {
  return { text: await readFile(resolve(context.cwd, file), 'utf8'), from: file };
}

/** `1.2 GB` */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `1 package`, `3 packages` */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

/** Failures of single packages, as one error. */
export function failures(
  failed: readonly { readonly package: PackageRef | string; readonly error: Error }[],
): void {
  if (failed.length === 0) return;
  // What fails for all of them, such as a bucket that is not there, is said once.
  const lines = [...new Set(failed.map((one) => `  ${describeError(one.error).replaceAll('\n', '\n  ')}`))];
  const more = lines.length > 20 ? `\n  and ${lines.length - 20} more` : '';
  throw new RunnerError(
    kindOf(failed.map((one) => one.error)),
    `${count(failed.length, 'package')} failed:\n${lines.slice(0, 20).join('\n')}${more}`,
  );
}

/** `missing` when that is what all of them lack; else the work failed. */
function kindOf(errors: readonly Error[]): ErrorKind {
  return errors.every((error) => exitCodeOf(error) === exitCode.missing) ? 'missing' : 'failed';
}

/** Progress of many packages on a terminal: one line that is written over. */
export function ticker(
  context: Context,
  what: string,
): { tick: (done: number, total: number) => void; end: () => void } {
  const { stderr } = context;
  if (!stderr.isTTY) return { tick: () => {}, end: () => {} };
  let last = 0;
  const started = Date.now();
  return {
    tick: (done, total) => {
      const now = Date.now();
      if (now - last < 100 && done < total) return;
      last = now;
      const seconds = (now - started) / 1000;
      const left = done > 0 ? Math.round((seconds / done) * (total - done)) : 0;
      stderr.write(
        `\r\x1b[K${what} ${done}/${total}, ${(done / Math.max(seconds, 0.1)).toFixed(1)}/s, ${left} s left`,
      );
    },
    end: () => void stderr.write('\r\x1b[K'),
  };
}
