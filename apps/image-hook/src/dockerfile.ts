import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { childEnvironment, remoteBuildcache } from '@stackwright/stack';
import { HookError } from './error.js';

export interface DockerfileOptions {
  /** The Dockerfile; its folder is the context. */
  readonly dockerfile: string;
  /** `docker`, or a program with the same `build` and `push`, as buildah and podman; `docker` when left out. */
  readonly builder?: string;
  /** Names of variables that the build gets as secrets, besides those of S3. */
  readonly secrets?: readonly string[];
  /** Names that the image gets; it is built without one where there is none. */
  readonly references: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly mirror?: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/** Variables that a mirror on S3 is read with. Each that is set is a secret of the build under its own name. */
const ofStorage = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];

/**
 * Builds the image of a Dockerfile, which gets `REMOTE_BUILDCACHE_URL` and `S3_ENDPOINT_URL` as arguments and credentials
 * as secrets alone (`RUN --mount=type=secret,id=NAME`): those are in no layer and no history.
 * @returns the digest of the image's configuration, as the builder names images
 * @throws HookError `no-mirror`, `no-secret`, `docker-missing` or `docker-failed`
 */
export async function buildDockerfile(options: DockerfileOptions): Promise<string> {
  const { env, cwd, references, labels, secrets = [], mirror } = options;
  const url = mirror ?? remoteBuildcache(env)?.url;
  if (url === undefined)
    throw new HookError('no-mirror', 'REMOTE_BUILDCACHE_URL is not set.', {
      hint: 'Set it to the mirror that the Dockerfile reads, or give --mirror.',
    });
  const missing = secrets.find((name) => !env[name]);
  if (missing !== undefined)
    throw new HookError(
      'no-secret',
      `The variable ${missing} is to be a secret of the build and is not set.`,
    );
  const folder = await mkdtemp(join(tmpdir(), 'stackwright-secrets-'));
  try {
    const names = [...new Set([...ofStorage.filter((name) => env[name]), ...secrets])];
    for (const name of names) await writeFile(join(folder, name), env[name] ?? '', { mode: 0o600 });
    const file = resolve(cwd, options.dockerfile);
    const args = [
      ...['build', '--file', file, '--iidfile', join(folder, 'image-id')],
      ...argumentsOf({ REMOTE_BUILDCACHE_URL: url, S3_ENDPOINT_URL: env.S3_ENDPOINT_URL }),
      ...names.flatMap((name) => ['--secret', `id=${name},src=${join(folder, name)}`]),
      ...Object.entries(labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
      ...references.flatMap((reference) => ['--tag', reference]),
      dirname(file),
    ];
    await call(options, args);
    return (await readFile(join(folder, 'image-id'), 'utf8')).trim();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Pushes what was built, with the credentials that the builder's own `login` left. @throws HookError */
export async function pushBuilt(options: DockerfileOptions): Promise<void> {
  for (const reference of options.references) await call(options, ['push', reference]);
}

function argumentsOf(values: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(values).flatMap(([name, value]) =>
    value ? ['--build-arg', `${name}=${value}`] : [],
  );
}

/** What a builder reads from its environment; never a secret, those it gets as files. */
const ofBuilders =
  /^(DOCKER_(HOST|CONTEXT|CONFIG|CERT_PATH|TLS_VERIFY)|BUILD(KIT|AH|X)_\w+|CONTAINERS?_\w+|STORAGE_DRIVER|REGISTRY_AUTH_FILE)$/;

async function call({ builder = 'docker', env, signal }: DockerfileOptions, args: readonly string[]) {
  const names = Object.keys(env).filter((name) => ofBuilders.test(name));
  const own = { ...childEnvironment(env, names), AWS_ACCESS_KEY_ID: undefined, DOCKER_BUILDKIT: '1' };
  const code = await new Promise<number | null>((done, fail) => {
    // What the builder says is for people: a digest alone is printed to stdout.
    const child = spawn(builder, args, { stdio: ['ignore', 2, 2], env: own, signal });
    child.on('error', (error) =>
      fail(
        signal?.aborted
          ? error
          : new HookError('docker-missing', `${builder} could not be started: ${error.message}.`, {
              hint: 'Install it, or name another with --builder.',
            }),
      ),
    );
    child.on('close', done);
  });
  if (code !== 0)
    throw new HookError('docker-failed', `${builder} ${args[0]} failed with exit code ${code}; see above.`);
}
