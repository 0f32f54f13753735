import { spawn } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AssembledImage, pushImage, writeDockerArchive } from '@stackwright/image';
import { openRepository, parseAddress } from '@stackwright/oci';
import { openStack, openStackImage, silent } from '@stackwright/stack';
import { buildDockerfile, pushBuilt } from './dockerfile.js';
import { HookError } from './error.js';
import { commitOf, describedEvent, type Event, type Ref, readEvent } from './event.js';

export interface HookOptions {
  /** Folder of the stack, relative to `cwd`. */
  readonly stack: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Publish exactly these, whatever was pushed. */
  readonly references?: readonly string[];
  /** What was pushed, in a CI that is not known; `repository` is the image without its tag. */
  readonly pushed?: Ref & { readonly repository: string };
  /** Build and check, and publish nothing. */
  readonly checkOnly?: boolean;
  /** Read binaries from here instead of the stack's mirrors. */
  readonly mirror?: string;
  /** Take packages without signatures, as registries hold them. */
  readonly unsigned?: boolean;
  /** Load the image into the local Docker instead of pushing it. */
  readonly load?: boolean;
  /** Build this Dockerfile instead of assembling the stack's image. */
  readonly dockerfile?: string;
  /** What builds a Dockerfile; `docker` when left out. */
  readonly builder?: string;
  /** Variables that a Dockerfile's build gets as secrets, besides those of S3. */
  readonly secrets?: readonly string[];
  readonly trust?: readonly string[];
  readonly signal?: AbortSignal;
  /** Called with a line for a person. */
  readonly tell: (line: string) => void;
}

/**
 * Builds and checks the image of a stack from its mirror, and publishes it where the push that started this belongs.
 * @returns the image's digest
 */
export async function runHook(options: HookOptions): Promise<string> {
  const { cwd, env, tell, signal, trust, unsigned } = options;
  const event = eventOf(options);
  if (options.dockerfile !== undefined) return fromDockerfile(options.dockerfile, event, options);
  const staging = await mkdtemp(join(tmpdir(), 'stackwright-hook-'));
  const stop = signal ?? new AbortController().signal;
  // Each request waits for it.
  setMaxListeners(0, stop);
  try {
    const caller = { cwd, env, note: tell, signal: stop, progress: silent };
    const image = await openStackImage(caller, await openStack(caller, options.stack), {
      trust,
      unsigned,
      mirror: options.mirror,
      settings: { labels: labelsOf(event, env) },
      staging,
    });
    tell(`Assembled ${image.manifest.descriptor.digest} with ${image.layers.length} layers.`);
    if (event.references.length === 0) tell(`Built and checked, not published: ${event.reason}.`);
    for (const reference of event.references) {
      await ((options.load ?? event.load)
        ? loadIntoDocker(image, reference, staging, options)
        : push(image, reference, event, options));
    }
    return image.manifest.descriptor.digest;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** The same by a Dockerfile, for those who stay with one. */
async function fromDockerfile(dockerfile: string, event: Event, options: HookOptions): Promise<string> {
  const { env, tell } = options;
  const work = { ...options, dockerfile, references: event.references, labels: labelsOf(event, env) };
  const image = await buildDockerfile(work);
  if (event.references.length === 0) tell(`Built, not published: ${event.reason}.`);
  else if (!(options.load ?? event.load)) await pushBuilt(work);
  return image;
}

function labelsOf({ commit }: Event, env: NodeJS.ProcessEnv): Record<string, string> {
  const { CI_PROJECT_URL: gitlab, GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = env;
  const source = gitlab ?? (server && repository ? `${server}/${repository}` : undefined);
  return {
    ...(commit ? { 'org.opencontainers.image.revision': commit } : {}),
    ...(source ? { 'org.opencontainers.image.source': source } : {}),
  };
}

function eventOf({ references = [], pushed, checkOnly, env }: HookOptions): Event {
  const commit = commitOf(env);
  if (checkOnly)
    return {
      source: 'command line',
      references: [],
      reason: 'only a check was asked for',
      commit,
      load: false,
    };
  if (references.length > 0) return { source: 'command line', references, commit, load: false };
  return pushed ? describedEvent(pushed.repository, pushed, env) : readEvent(env);
}

async function push(
  image: AssembledImage,
  text: string,
  event: Event,
  { env, tell, signal }: HookOptions,
): Promise<void> {
  const address = parseAddress(text);
  const { tag = 'latest' } = address;
  const target = openRepository(address, env, { credentials: event.login });
  const { sent } = await pushImage(image, target, [tag], { signal });
  tell(`Pushed ${text}: ${sent.layers} of ${image.layers.length} layers had to be sent.`);
}

async function loadIntoDocker(
  image: AssembledImage,
  reference: string,
  folder: string,
  { tell, signal }: HookOptions,
): Promise<void> {
  const archive = join(folder, 'image.tar');
  await writeDockerArchive(image, archive, reference, signal);
  await new Promise<void>((done, fail) => {
    const docker = spawn('docker', ['load', '--quiet', '--input', archive], {
      stdio: ['ignore', 'ignore', 'pipe'],
      signal,
    });
    let said = '';
    docker.stderr.on('data', (chunk) => {
      said += chunk;
    });
    docker.on('error', (error) =>
      fail(
        new HookError('docker-missing', `docker could not be started: ${error.message}.`, {
          hint: 'Push instead with --push.',
        }),
      ),
    );
    docker.on('close', (code) =>
      code === 0 ? done() : fail(new HookError('docker-failed', `docker load failed: ${said.trim()}`)),
    );
  });
  tell(`Loaded ${reference} into Docker.`);
}
