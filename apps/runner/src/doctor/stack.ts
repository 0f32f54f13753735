import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  describeKey,
  openMirror,
  readKeyFiles,
  readPublicKeys,
  readSecretKey,
  trustOf,
} from '@stackwright/buildcache';
import { openBase } from '@stackwright/image';
import { graphOf } from '@stackwright/job-graph';
import {
  compareLock,
  connectionOptions,
  type Environment,
  formatFinding,
  loadEnvironment,
  upgradeManifest,
} from '@stackwright/spack-env';
import { type ConfiguredMirror, ciConfigOf, mirrorUrl } from '../ci-config.js';
import type { Context } from '../context.js';
import { cdashClient, cdashTarget } from '../report/cdash.js';
import { hasLock, openStack, readLock, type Stack } from '../stack.js';
import { type Diagnosis, looking, ok, problem, warning } from './diagnosis.js';

/** Whether a stack can be read, built, signed, stored, reported and made an image of. */
export async function examineStack(context: Context, argument: string): Promise<readonly Diagnosis[]> {
  let stack: Stack;
  try {
    stack = await openStack(context, argument);
  } catch (error) {
    return looking('stack', () => Promise.reject(error));
  }
  const manifest = await examineManifest(context, stack);
  const { environment } = manifest;
  const rest = await Promise.all([
    looking('lock', () => examineLock(stack, environment)),
    looking('key', () => examineKey(context, stack)),
    looking('trust', () => examineTrust(stack)),
    ...(environment ? ciConfigOf(environment).mirrors : []).map((mirror) =>
      looking(`mirror ${mirror.name}`, () => examineMirror(context, stack, mirror)),
    ),
    looking('image base', () => examineBase(context, stack)),
    ...(environment ? [looking('CDash', () => examineCdash(context, environment))] : []),
  ]);
  return [...manifest.found, ...rest.flat()];
}

async function examineManifest(
  context: Context,
  stack: Stack,
): Promise<{ found: readonly Diagnosis[]; environment?: Environment }> {
  const file = join(stack.folder, 'spack.yaml');
  const found: Diagnosis[] = [];
  let environment: Environment | undefined;
  found.push(
    ...(await looking('spack.yaml', async () => {
      const { notes } = upgradeManifest(await readFile(file, 'utf8'), file);
      environment = await loadEnvironment(stack.folder, { env: context.env, signal: context.signal });
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

async function examineLock(stack: Stack, environment: Environment | undefined): Promise<Diagnosis> {
  const fix = `stackwright concretize ${stack.folder}`;
  if (!(await hasLock(stack.folder))) {
    return warning('lock', 'There is no spack.lock: every run has to concretize, which takes minutes.', fix);
  }
  const lock = await readLock(stack.folder);
  const { missing, extra } = environment ? compareLock(environment, lock) : { missing: [], extra: [] };
  const [stale] = [...missing.map((root) => root.text), ...extra.map((root) => root.spec)];
  if (stale) return problem('lock', `spack.yaml was changed since spack.lock was written: "${stale}".`, fix);
  return ok('lock', `${lock.roots.length} roots, ${graphOf(lock).jobs.size} specs`);
}

async function examineKey({ env }: Context, stack: Stack): Promise<Diagnosis> {
  const { SPACK_SIGNING_KEY: given, SPACK_SIGNING_KEY_PASSPHRASE: passphrase } = env;
  const make = 'stackwright key create NAME -o key --public keys/ci.pub';
  if (!given) return warning('key', 'SPACK_SIGNING_KEY is not set: CI jobs cannot sign.', make);
  const { fingerprint, expires } = await describeKey(
    await readSecretKey(given, passphrase, 'SPACK_SIGNING_KEY'),
  );
  const trusted = await Promise.all(
    (await trustedFiles(stack)).map(({ text, from }) => readPublicKeys(text, from)),
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

async function examineTrust(stack: Stack): Promise<Diagnosis> {
  const keys = await trustedFiles(stack);
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

function trustedFiles(stack: Stack) {
  return readKeyFiles(stack.settings.trust.map((file) => resolve(stack.folder, file)));
}

async function examineMirror(
  { env, signal }: Context,
  stack: Stack,
  configured: ConfiguredMirror,
): Promise<Diagnosis> {
  const what = `mirror ${configured.name}`;
  const url = mirrorUrl(configured.fetch, stack.folder);
  const mirror = await openMirror(url, {
    ...connectionOptions(configured.connection?.fetch, env),
    existing: true,
    signal,
  });
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

async function examineBase({ env, signal }: Context, stack: Stack): Promise<Diagnosis> {
  const text = stack.settings.image.base ?? 'scratch';
  if (text === 'scratch') {
    return ok('image base', 'scratch: only static programs run on it');
  }
  await openBase(text, { cwd: stack.folder, env, signal });
  return ok('image base', text);
}

async function examineCdash(context: Context, environment: Environment): Promise<readonly Diagnosis[]> {
  const target = cdashTarget(context, ciConfigOf(environment).cdash, {});
  if (!target) return [];
  const { env, signal } = context;
  await cdashClient(context, target).ping(signal);
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
