import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  describeKey,
  hasCode,
  openMirror,
  readKeyFiles,
  readPublicKeys,
  trustOf,
} from '@stackwright/buildcache';
import { openBase } from '@stackwright/image';
import { graphOf } from '@stackwright/job-graph';
import {
  type Environment,
  formatFinding,
  loadEnvironment,
  readPlainFile,
  upgradeManifest,
} from '@stackwright/spack-env';
import type { Caller } from '../caller.js';
import { cdashClient, cdashTarget } from '../cdash.js';
import { cdashSection } from '../configuration.js';
import { connectionOptions } from '../credentials.js';
import { lockFindings } from '../findings.js';
import { includeFetcher } from '../includes.js';
import { binaryMirrors, destinationName, type MirrorPlace, requireDestination } from '../mirrors.js';
import { withheldFrom } from '../secrets.js';
import { readSigningKey } from '../signer.js';
import { hasLock, openStack, readLock, type Stack } from '../stack.js';
import { stackTrust } from '../trust.js';
import { checking, type Diagnosis, ok, problem, warning } from './diagnosis.js';
import { checkForges } from './forge.js';
import { checkStore } from './store.js';

/** Whether a stack can be read, built, signed, stored, reported and made an image of. */
export async function checkStack(caller: Caller, argument: string): Promise<readonly Diagnosis[]> {
  let stack: Stack;
  try {
    stack = await openStack(caller, argument);
  } catch (error) {
    return checking('stack', () => Promise.reject(error));
  }
  const manifest = await checkManifest(caller, stack);
  const { environment } = manifest;
  const rest = await Promise.all([
    checking('lock', () => checkLock(caller, stack, environment)),
    checking('key', () => checkKey(caller, stack)),
    checking('trust', () => checkTrust(caller, stack)),
    ...(environment ? [checking('mirrors', async () => checkMirrors(environment))] : []),
    ...(environment ? binaryMirrors(environment) : []).map((mirror) =>
      checking(`mirror ${mirror.name}`, () => checkMirror(caller, mirror)),
    ),
    ...(environment ? binaryMirrors(environment) : [])
      .filter(({ name }) => name === destinationName)
      .map((mirror) => checking(`writing to ${mirror.name}`, () => checkStore(caller, mirror))),
    ...(environment ? [checking('pipeline', () => checkForges(caller, stack, environment))] : []),
    checking('image base', () => checkBase(caller, stack)),
    ...(environment ? [checking('CDash', () => checkCdash(caller, environment))] : []),
  ]);
  return [...manifest.found, ...rest.flat()];
}

async function checkManifest(
  caller: Caller,
  stack: Stack,
): Promise<{ found: readonly Diagnosis[]; environment?: Environment }> {
  const file = join(stack.folder, 'spack.yaml');
  const found: Diagnosis[] = [];
  let environment: Environment | undefined;
  found.push(
    ...(await checking('spack.yaml', async () => {
      const { notes } = upgradeManifest(await readPlainFile(file), file);
      const { env, signal } = caller;
      // As in `check`, nothing is fetched for it.
      environment = await loadEnvironment(stack.folder, {
        fetch: includeFetcher(env, 'cached'),
        env,
        withheld: withheldFrom(env),
        signal,
      });
      const { findings } = environment;
      const errors = findings.filter(({ severity }) => severity === 'error');
      const [first] = errors.length > 0 ? errors : findings;
      if (errors.length > 0) {
        environment = undefined;
        return problem(
          'spack.yaml',
          `${errors.length === 1 ? 'An error' : `${errors.length} errors`}; ${formatFinding(first!)}`,
          `stackwright check ${stack.folder}`,
        );
      }
      if (notes.length > 0)
        return warning(
          'spack.yaml',
          'It has the form of an older Spack.',
          `stackwright upgrade --write ${stack.folder}`,
        );
      return first
        ? warning('spack.yaml', formatFinding(first), `stackwright check ${stack.folder}`)
        : ok('spack.yaml', 'nothing to complain about');
    })),
  );
  return { found, ...(environment ? { environment } : {}) };
}

async function checkLock(
  { env }: Caller,
  stack: Stack,
  environment: Environment | undefined,
): Promise<Diagnosis> {
  const fix = `stackwright concretize ${stack.folder}`;
  if (!(await hasLock(stack.folder))) {
    return warning('lock', 'There is no spack.lock: every run has to concretize, which takes minutes.', fix);
  }
  const { wrong, doubtful } = await lockFindings(stack.folder, environment, env);
  const [first, ...more] = [...wrong, ...doubtful.filter(({ severity }) => severity !== 'note')];
  if (first) {
    const rest = more.length > 0 ? ` And ${more.length} more: stackwright check.` : '';
    return (wrong.length > 0 ? problem : warning)('lock', `${first.message}${rest}`, fix);
  }
  const lock = await readLock(stack.folder);
  return ok('lock', `${lock.roots.length} roots, ${graphOf(lock).jobs.size} specs`);
}

async function checkKey(caller: Caller, stack: Stack): Promise<Diagnosis> {
  const key = await readSigningKey(caller);
  const make = 'stackwright key create CI -o ci.key --public keys/ci.pub';
  if (!key) return warning('key', 'SPACK_SIGNING_KEY is not set: CI jobs cannot sign.', make);
  const { fingerprint, expires } = await describeKey(key);
  const trusted = await Promise.all(
    (await readKeyFiles(stackTrust(caller, stack).files)).map(({ text, from }) => readPublicKeys(text, from)),
  );
  const known = trusted.flat().some((key) => key.getFingerprint().toUpperCase() === fingerprint);
  if (expires && new Date(expires).getTime() < Date.now() + 30 * 86_400_000) {
    return warning(
      'key',
      `The signing key ${fingerprint} expires on ${new Date(expires).toISOString().slice(0, 10)}.`,
      make,
    );
  }
  return known
    ? ok('key', `${fingerprint}, which the stack trusts`)
    : problem(
        'key',
        `The stack does not trust what the signing key ${fingerprint} signs.`,
        'Put its public half (stackwright key export) into a file that trust: in stackwright.yaml names.',
      );
}

async function checkTrust(caller: Caller, stack: Stack): Promise<Diagnosis> {
  const keys = await readKeyFiles(stackTrust(caller, stack).files);
  if (keys.length === 0) {
    return warning(
      'trust',
      'The stack trusts no key: packages count only unsigned, or signed by the key that signs here.',
      'Name files of public keys under trust: in stackwright.yaml.',
    );
  }
  const { keys: all } = await trustOf({ keys });
  const expired = (await Promise.all(all.map(describeKey))).filter(
    ({ expires }) => expires && new Date(expires).getTime() < Date.now(),
  );
  return expired[0]
    ? problem(
        'trust',
        `The key ${expired[0].fingerprint} has expired.`,
        'Take a new one, and sign anew: stackwright mirror sign.',
      )
    : ok('trust', all.length === 1 ? '1 key' : `${all.length} keys`);
}

/** Jobs of CI need to know where they are to push. */
function checkMirrors(environment: Environment): readonly Diagnosis[] {
  const { ci } = environment.config;
  if (ci !== undefined && ci !== null) requireDestination(environment);
  return [];
}

async function checkMirror({ env, signal }: Caller, configured: MirrorPlace): Promise<Diagnosis> {
  const what = `mirror ${configured.name}`;
  const url = configured.fetch;
  const mirror = await openMirror(url, {
    ...connectionOptions(env, configured.connection?.fetch),
    existing: true,
    signal,
  }).catch((error: unknown) => {
    if (hasCode(error, 'not-a-mirror')) return undefined;
    throw error;
  });
  if (!mirror) {
    return warning(
      what,
      `${url} is no mirror yet.`,
      'Check the address. The first push to it makes it a mirror.',
    );
  }
  try {
    if (!(await mirror.hasIndex(signal))) {
      return warning(
        what,
        `${mirror.url} has no index: Spack finds nothing there.`,
        `stackwright mirror index ${mirror.url}`,
      );
    }
    let packages = 0;
    for await (const { inBuildcache } of mirror.indexEntries(signal)) if (inBuildcache) packages++;
    return ok(what, `${mirror.url}: ${packages} packages`);
  } finally {
    await mirror.close();
  }
}

async function checkBase({ env, signal }: Caller, stack: Stack): Promise<Diagnosis> {
  const text = stack.settings.image.base ?? 'scratch';
  if (text === 'scratch') {
    return ok('image base', 'scratch: only static programs run on it');
  }
  // An archive is unpacked to be read.
  const work = await mkdtemp(join(tmpdir(), 'stackwright-base-'));
  try {
    await openBase(text, { cwd: stack.folder, env, work, signal });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return ok('image base', text);
}

async function checkCdash(caller: Caller, environment: Environment): Promise<readonly Diagnosis[]> {
  const target = cdashTarget(caller, cdashSection(environment), {});
  if (!target) return [];
  const { env, signal } = caller;
  await cdashClient(caller, target).ping(signal);
  return [
    env.CDASH_AUTH_TOKEN || env.SPACK_CDASH_AUTH_TOKEN
      ? ok('CDash', `${target.url}, project ${target.project}`)
      : warning(
          'CDash',
          `${target.url} answers, but there is no token.`,
          'Set CDASH_AUTH_TOKEN, if the project wants one.',
        ),
  ];
}
