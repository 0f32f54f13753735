import { chmod, copyFile, cp, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { describe } from '@stackwright/buildcache';
import { shellWord } from '@stackwright/job-graph';
import { installArguments } from '@stackwright/spack';
import type { ConcreteNode } from '@stackwright/spack-env';
import { stringify } from 'yaml';
import type { Caller } from '../caller.js';
import { writeCarriedStack } from '../carried.js';
import { describeError, type FailedBuild } from '../error.js';
import { childEnvironment, copyMasked, referredVariables, secretsOf, withoutSecrets } from '../secrets.js';
import type { Stack } from '../stack.js';
import type { WorkFolder } from '../work.js';

/** What `reproduction.json` says. Paths are relative to its folder. */
export interface Reproduction {
  readonly version: 1;
  readonly hash: string;
  readonly name: string;
  /** Of the package. */
  readonly packageVersion: string;
  /** What kind of failure it was, and what it said; absent where nobody knows. */
  readonly failure?: { readonly kind: string; readonly message: string };
  /** The Spack that built it. */
  readonly spack: { readonly version: string; readonly commit?: string; readonly repo?: string };
  /** The image that the job ran in. */
  readonly image?: string;
  /** Folder with `spack.yaml` and `spack.lock`. */
  readonly environment: string;
  /** Whether the package's tests were run. */
  readonly tests: boolean;
  /** Variables that the job had, without secrets. */
  readonly variables: Readonly<Record<string, string>>;
}

/** The file by which a reproduction is known. */
export const reproductionFile = 'reproduction.json';
/** What repeats the failure. */
export const reproductionScript = 'reproduce.sh';

export interface LeaveOptions {
  readonly node: ConcreteNode;
  readonly failure: FailedBuild;
  readonly tests: boolean;
  /** The mirror that dependencies come from. */
  readonly mirror: { readonly url: string; readonly signed: boolean };
  /** Files of public keys that Spack trusted. */
  readonly trusted: readonly string[];
}

/**
 * Leaves all that is needed to repeat a failed build, in a folder that may be moved: the environment with its recipes,
 * the keys, the log, and a script. In a job of CI it goes to the job's artifacts, too.
 * @returns the folder in the work folder
 */
async function leaveReproduction(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  { node, failure, tests, mirror, trusted }: LeaveOptions,
): Promise<string> {
  const { env, cwd } = caller;
  const secrets = secretsOf(env);
  const clean = (text: string) => withoutSecrets(text, secrets);
  const folder = join(work.reproductions, `${node.name}-${node.hash}`);
  await rm(folder, { recursive: true, force: true });
  for (const name of ['environment', 'keys', 'config']) await mkdir(join(folder, name), { recursive: true });
  await writeCarriedStack({ ...caller, note() {} }, stack, join(folder, 'environment'));
  for (const [at, file] of trusted.entries())
    await copyFile(file, join(folder, 'keys', `${at}-${basename(file)}`));
  await writeFile(
    join(folder, 'config/mirrors.yaml'),
    stringify({ mirrors: { reproduction: { url: clean(mirror.url), signed: mirror.signed } } }),
  );
  if (await isThere(failure.log)) await copyMasked(failure.log, join(folder, 'build.txt'), secrets);
  const { config } = await stack.environment();
  const { spack } = await stack.lock();
  await writeReproduction(folder, {
    version: 1,
    hash: node.hash,
    name: node.name,
    packageVersion: node.version,
    failure: { kind: failure.kind, message: clean(failure.message) },
    spack: {
      version: spack?.version ?? '',
      commit: spack?.commit,
      repo: env.SPACK_REPO ? clean(env.SPACK_REPO) : undefined,
    },
    image: env.CI_JOB_IMAGE || undefined,
    environment: 'environment',
    tests,
    variables: variablesOf(env, referredVariables(config), clean),
  });
  const artifacts = env.SPACK_JOB_REPRO_DIR;
  if (artifacts) await cp(folder, resolve(env.CI_PROJECT_DIR ?? cwd, artifacts), { recursive: true });
  return folder;
}

/**
 * Leaves a reproduction. That it cannot be left is told, and hides no failed build.
 * @returns the command that repeats the failure
 */
export async function keepReproduction(
  caller: Caller,
  stack: Stack,
  work: WorkFolder,
  options: LeaveOptions,
): Promise<string | undefined> {
  try {
    const folder = await leaveReproduction(caller, stack, work, options);
    return `stackwright reproduce ${shellWord(work.show(folder))} --run`;
  } catch (error) {
    const text = withoutSecrets(describeError(error), secretsOf(caller.env));
    caller.note(`Warning: What repeats the build of ${options.node.name} could not be kept. ${text}`);
    return undefined;
  }
}

/** Writes the description and the script of a reproduction. */
export async function writeReproduction(folder: string, reproduction: Reproduction): Promise<void> {
  await writeFile(join(folder, reproductionFile), `${JSON.stringify(reproduction, null, 2)}\n`);
  const script = join(folder, reproductionScript);
  await writeFile(script, scriptOf(reproduction));
  await chmod(script, 0o755);
}

/** What the build saw of the job: what the stack refers to, and where the job ran. No folders of its machine. */
function variablesOf(
  env: NodeJS.ProcessEnv,
  referred: readonly string[],
  clean: (text: string) => string,
): Record<string, string> {
  const job = ['CI_JOB_URL', 'CI_JOB_NAME', 'CI_COMMIT_SHA', 'GITHUB_RUN_ID', 'GITHUB_SHA', 'SLURM_JOB_ID'];
  const names = [...referred, ...job].filter((name) => !/^(?:HOME|PATH|USER|PWD|TMPDIR)$/.test(name));
  const allowed = childEnvironment(env, names);
  return Object.fromEntries(
    [...new Set(names)].sort().flatMap((name) => {
      const value = allowed[name];
      return value === undefined ? [] : [[name, clean(value)] as const];
    }),
  );
}

/** A script for a POSIX shell that builds in its own folder and pushes nothing. */
function scriptOf({
  hash,
  name,
  packageVersion,
  spack,
  environment,
  tests,
  variables,
}: Reproduction): string {
  const install = installArguments(hash, { dependencies: 'anywhere', tests }).map(shellWord).join(' ');
  const reference = spack.commit ?? `v${spack.version}`;
  const title = describe({ name, version: packageVersion, hash });
  return `#!/bin/sh
# Repeats the failed build of ${title} in this folder, with the Spack on PATH, else
# with the one that built it. It pushes nothing. With --shell it then starts a shell in the stage of the build.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
${Object.entries(variables)
  .map(([key, value]) => `export ${key}=${shellWord(value)}\n`)
  .join('')}if ! command -v spack >/dev/null 2>&1; then
  [ -d spack ] || git clone --quiet ${shellWord(spack.repo ?? 'https://github.com/spack/spack')} spack
  git -C spack checkout --quiet ${shellWord(reference)}
  PATH=$here/spack/bin:$PATH
fi
export SPACK_GNUPGHOME="$here/gpg"
mkdir -p "$here/gpg" "$here/config"
chmod 700 "$here/gpg"
in_spack() {
  spack --color=never -C "$here/config" -c "config:install_tree:root:$here/opt" -c bootstrap:enable:true \\
    -e "$here/${environment}" "$@"
}
for key in "$here"/keys/*; do
  # The agent that gpg starts must not hold the output open.
  [ ! -f "$key" ] || in_spack gpg trust "$key" >"$here/trust.txt" 2>&1 </dev/null
done
trap 'gpgconf --homedir "$here/gpg" --kill gpg-agent >/dev/null 2>&1 || true' EXIT
code=0
in_spack install --keep-stage ${install} || code=$?
${tests ? `[ "$code" != 0 ] || in_spack test run ${shellWord(`/${hash}`)} || code=$?\n` : ''}if [ "\${1:-}" = --shell ]; then
  stage=$(in_spack location -s ${shellWord(`/${hash}`)})
  cd "$stage"
  in_spack build-env ${shellWord(`/${hash}`)} -- "\${SHELL:-/bin/sh}"
fi
exit "$code"
`;
}

async function isThere(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined;
}
