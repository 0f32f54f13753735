import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { plainSigner, readKeyFiles, trustOf } from '@stackwright/buildcache';
import { maskUrl } from '@stackwright/http';
import {
  type AssembledImage,
  attachProof,
  cyclonedx,
  type Descriptor,
  licenceOf,
  type Origin,
  type ProvenStatement,
  predicateTypes,
  proofOf,
  provenance,
  type RegistryRepository,
  type SbomPackage,
  spdx,
  statementOf,
} from '@stackwright/image';
import type { Caller } from './caller.js';
import { repositoriesOf } from './configuration.js';
import { StackError } from './error.js';
import { readSigningKey } from './signer.js';
import type { Stack } from './stack.js';
import { version } from './version.js';

export interface BillOptions {
  /** Further repositories of recipes, for licences: absolute folders with `packages/`. */
  readonly recipes?: readonly string[];
}

export interface ProofOptions extends BillOptions {
  /** File of the secret key, relative to where the caller is; `SPACK_SIGNING_KEY` when left out. */
  readonly key?: string;
  readonly kind: Origin['kind'];
}

/** Signs images of a stack and what is said about them. */
export interface Prover {
  /** Attaches the proof to an image that is about to get this tag. */
  attach(image: AssembledImage, target: RegistryRepository, tag: string): Promise<void>;
}

/**
 * Finds the key before any work is done.
 * @throws StackError `no-signing-key`
 */
export async function openProver(caller: Caller, stack: Stack, options: ProofOptions): Promise<Prover> {
  const key = await readSigningKey(caller, options.key);
  if (!key)
    throw new StackError('no-signing-key', 'There is no key to sign the image with.', {
      hint: 'Set SPACK_SIGNING_KEY (stackwright key create makes one), or give --key FILE.',
    });
  const signer = await plainSigner(key);
  const attach: Prover['attach'] = async (image, target, tag) => {
    const statements = await statementsOf(caller, stack, image, target.name, options);
    const subject = image.manifest.descriptor;
    const name = `${target.name}:${tag}`;
    await attachProof(target, subject, { name, statements, signer }, caller.signal);
  };
  return { attach };
}

/**
 * What trusted keys have signed of an image in a registry.
 * @param files of public keys, relative to where the caller is
 * @throws ImageError `unproven`, StackError `no-trusted-key`
 */
export async function verifyImage(
  { cwd, signal }: Caller,
  source: RegistryRepository,
  subject: Descriptor,
  files: readonly string[],
): Promise<ProvenStatement[]> {
  if (files.length === 0)
    throw new StackError('no-trusted-key', 'No trusted key given.', {
      hint: 'Pass the public key of whoever published the image with --trust FILE.',
    });
  const trust = await trustOf({ keys: await readKeyFiles(files.map((file) => resolve(cwd, file))), signal });
  return proofOf(source, subject, trust, signal);
}

async function statementsOf(
  { env }: Caller,
  stack: Stack,
  image: AssembledImage,
  name: string,
  options: ProofOptions,
) {
  const bill = await licensed(stack, image.bill, options);
  const { digest } = image.manifest.descriptor;
  const about = { digest, base: image.base };
  const created = createdAt(image);
  const origin = await originOf(stack, options.kind, env);
  return [
    statementOf(name, digest, predicateTypes.provenance, provenance(origin, bill, about)),
    statementOf(name, digest, predicateTypes.spdx, JSON.parse(spdx(stack.name, bill, created, about))),
    statementOf(name, digest, predicateTypes.cyclonedx, cyclonedx(stack.name, bill, created, about)),
  ];
}

function createdAt({ config }: AssembledImage): string {
  return (JSON.parse(config.bytes.toString()) as { created: string }).created;
}

/** The bill of materials (SPDX) of an image of a stack. */
export async function billOf(
  stack: Stack,
  image: AssembledImage,
  options: BillOptions = {},
): Promise<string> {
  const bill = await licensed(stack, image.bill, options);
  const about = { digest: image.manifest.descriptor.digest, base: image.base };
  return spdx(stack.name, bill, createdAt(image), about);
}

/** Packages with the licences of their recipes, where the recipes are known. */
async function licensed(
  stack: Stack,
  bill: readonly SbomPackage[],
  { recipes = [] }: BillOptions,
): Promise<SbomPackage[]> {
  const repositories = [...repositoriesOf(await stack.environment()), ...recipes];
  return Promise.all(
    bill.map(async (one) => ({ ...one, licence: await licenceOf(repositories, one.node.name) })),
  );
}

async function originOf(stack: Stack, kind: Origin['kind'], env: NodeJS.ProcessEnv): Promise<Origin> {
  const lock = await readFile(join(stack.folder, 'spack.lock'));
  const { spack } =
    (JSON.parse(lock.toString('utf8')) as { spack?: { version?: string; commit?: string } }) ?? {};
  return {
    stack: stack.name,
    kind,
    lock: createHash('sha256').update(lock).digest('hex'),
    source: sourceOf(env),
    spack: spack?.version ? { version: spack.version, commit: spack.commit } : undefined,
    builder: builderOf(env),
  };
}

/** The repository and commit as the CI says them, without credentials in the address. */
function sourceOf(env: NodeJS.ProcessEnv): Origin['source'] {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, CI_PROJECT_URL: project } = env;
  const uri = project ?? (server && repository ? `${server}/${repository}` : undefined);
  const commit = env.CI_COMMIT_SHA || env.GITHUB_SHA || env.SOURCE_COMMIT || undefined;
  return { uri: addressOf(uri), commit };
}

function builderOf(env: NodeJS.ProcessEnv): Origin['builder'] {
  const { CI_SERVER_URL: gitlab, CI_JOB_URL: job } = env;
  const { GITHUB_SERVER_URL: github, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  const own = { version: version() };
  if (gitlab && job) return { ...own, id: gitlab, job: addressOf(job) };
  if (github && repository && run)
    return { ...own, id: github, job: addressOf(`${github}/${repository}/actions/runs/${run}`) };
  return { ...own, id: 'urn:stackwright:local' };
}

function addressOf(text: string | undefined): string | undefined {
  return text && URL.canParse(text) ? maskUrl(new URL(text)) : undefined;
}
