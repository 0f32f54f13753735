import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AssembledImage, pushImage, writeDockerArchive } from '@stackwright/image';
import { openRepository, parseAddress } from '@stackwright/oci';
import { openStack, openStackImage, silent } from '@stackwright/stack';
import { HookError } from './error.js';
import { type Event, readEvent } from './event.js';

export interface HookOptions {
  /** Folder of the stack, relative to `cwd`. */
  readonly stack: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Publish exactly these, whatever was pushed. */
  readonly references?: readonly string[];
  /** Load the image into the local Docker instead of pushing it. */
  readonly load?: boolean;
  readonly trust?: readonly string[];
  readonly signal?: AbortSignal;
  /** Called with a line for a person. */
  readonly tell: (line: string) => void;
}

/**
 * Builds the image of a stack from its mirror and publishes it where the push that started this belongs.
 * @returns the image's digest, or undefined when this push publishes nothing
 */
export async function runHook(options: HookOptions): Promise<string | undefined> {
  const { cwd, env, tell, signal } = options;
  const event = options.references?.length ? explicit(options) : readEvent(env);
  if (event.references.length === 0) {
    tell(`Nothing to do: ${event.reason}.`);
    return undefined;
  }
  const staging = await mkdtemp(join(tmpdir(), 'stackwright-hook-'));
  try {
    const caller = {
      cwd,
      env,
      note: tell,
      signal: signal ?? new AbortController().signal,
      progress: silent,
    };
    const image = await openStackImage(caller, await openStack(caller, options.stack), {
      trust: options.trust,
      settings: event.commit ? { labels: { 'org.opencontainers.image.revision': event.commit } } : {},
      staging,
    });
    tell(`Assembled ${image.manifest.descriptor.digest} with ${image.layers.length} layers.`);
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

function explicit({ references = [], env }: HookOptions): Event {
  const commit = env.SOURCE_COMMIT ?? env.CI_COMMIT_SHA ?? env.GITHUB_SHA;
  return { source: 'command line', references, commit, load: false };
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
