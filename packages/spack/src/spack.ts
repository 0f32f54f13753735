import { constants, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { execa } from 'execa';
import { chooseSpack, type LockWriter, usualRepository } from './choice.js';
import { cloneSpack } from './clone.js';
import { SpackError } from './error.js';
import { explain } from './explain.js';
import { isThere } from './is-there.js';

export interface SpackOptions {
  /** The environment of the process that looks; `SPACK_ROOT` and `PATH` are read from it. */
  readonly env: NodeJS.ProcessEnv;
  /** The Spack that wrote the lock that is worked on: it is cloned where `SPACK_REPO` is set and `SPACK_REF` is not. */
  readonly writer?: LockWriter;
  readonly signal?: AbortSignal;
}

export interface RunOptions {
  /** The environment folder that `-e` names. */
  readonly environment?: string;
  /** `-c` settings, for example `bootstrap:enable:true`. */
  readonly config?: readonly string[];
  /** Called with each line as it is printed. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Added to the child's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunResult {
  readonly stdout: string;
  /** Seconds of wall time. */
  readonly seconds: number;
}

const howToGetSpack =
  'Install Spack 1.x (git clone https://github.com/spack/spack, then put its bin/ on PATH or set SPACK_ROOT),\n' +
  'or have it cloned: set SPACK_REF (a branch, tag or commit) and, for another repository, SPACK_REPO.';

/** A Spack that was found and answered. */
export class Spack {
  private constructor(
    /** The path of `spack`. */
    readonly executable: string,
    /** For example `1.1.0`. */
    readonly version: string,
    /** Where it is a git clone: as much of the commit as it says. */
    readonly commit: string | undefined,
    /** What children get as their environment: the caller decides what is in it. */
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  /**
   * Finds `$SPACK_ROOT/bin/spack`, else `spack` on PATH, and asks for its version.
   * @param env also the environment of every Spack that is run: leave secrets out of it
   * @returns undefined where there is none
   * @throws SpackError when there is one that does not run
   */
  static async find({ env, signal }: SpackOptions): Promise<Spack | undefined> {
    const executable = await locate(env);
    if (!executable) return undefined;
    const asked = await execa(executable, ['--version'], {
      env,
      extendEnv: false,
      reject: false,
      cancelSignal: signal,
    });
    const [, version, commit] = /^v?(\d+\.\d+\S*)(?: \(([0-9a-f]+)\))?/.exec(asked.stdout ?? '') ?? [];
    if (asked.failed || !version) {
      throw new SpackError(
        'broken-spack',
        `${executable} does not run: ${lastLines(asked.stderr ?? '', 3) || asked.shortMessage}`,
        {
          hint: howToGetSpack,
        },
      );
    }
    return new Spack(executable, version, commit, env);
  }

  /**
   * Like `find`, for when it can't be done without. Where `SPACK_REPO` or `SPACK_REF` is set and `SPACK_ROOT` is not, that
   * Spack is cloned into `~/.cache/stackwright/spack`, unless the one on PATH is just what `SPACK_REF` names.
   * @param why completes "Spack is needed to …"
   * @throws SpackError (`no-spack`, `no-choice`, `no-git`, `no-reference`, `broken-spack`)
   */
  static async require(why: string, options: SpackOptions): Promise<Spack> {
    const found = await Spack.find({ ...options, env: await environmentOfChoice(options) });
    if (found) return found;
    throw noSpack(why);
  }

  /** Whether this is what a tag or a whole commit hash names. */
  is(ref: string): boolean {
    return ref === `v${this.version}` || (this.commit !== undefined && ref.startsWith(this.commit));
  }

  /** The folder that Spack itself lies in, with `lib/spack`. */
  async prefix(signal?: AbortSignal): Promise<string> {
    const found = await prefixOf(this.executable, { env: this.env, signal });
    return found ?? dirname(dirname(this.executable));
  }

  /**
   * Runs one Spack command.
   * @throws SpackError with the last lines of its output when it fails; AbortError when `signal` says so
   */
  async run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { onLine, signal } = options;
    const started = performance.now();
    const child = execa(this.executable, [...globalOptions(options), ...args], {
      env: { ...this.env, ...options.env },
      extendEnv: false,
      reject: false,
      all: true,
      maxBuffer: 64 * 1024 * 1024,
      cancelSignal: signal,
      // Spack passes an interrupt on to its builds; a kill would leave them behind.
      killSignal: 'SIGINT',
      forceKillAfterDelay: 10_000,
    });
    if (onLine) void forEachLine(child.iterable({ from: 'all' }), onLine);
    const result = await child;
    const seconds = (performance.now() - started) / 1000;
    signal?.throwIfAborted();
    if (result.failed) {
      throw new SpackError(
        'command-failed',
        `spack ${args.slice(0, 2).join(' ')} failed:\n${explain(String(result.all || result.shortMessage))}`,
        { exitCode: result.exitCode },
      );
    }
    return { stdout: String(result.stdout ?? ''), seconds };
  }

  /** Concretizes an environment: writes its `spack.lock`. @param force also what is concrete already */
  async concretize(
    environment: string,
    options: { force?: boolean } & Omit<RunOptions, 'environment'> = {},
  ): Promise<void> {
    await this.run(['concretize', ...(options.force ? ['--force'] : [])], { ...options, environment });
  }
}

/**
 * The executable of the Spack that is meant, and the environment that it runs in. It is not started.
 * @param why completes "Spack is needed to …"
 * @throws SpackError as `Spack.require` does
 */
export async function chosenSpack(
  why: string,
  options: SpackOptions,
): Promise<{ readonly executable: string; readonly env: NodeJS.ProcessEnv }> {
  const env = await environmentOfChoice(options);
  const executable = await locate(env);
  if (!executable) throw noSpack(why);
  return { executable, env };
}

/** The environment in which the Spack that `SPACK_REPO` and `SPACK_REF` name is the one that is found. */
async function environmentOfChoice(options: SpackOptions): Promise<NodeJS.ProcessEnv> {
  const { env, writer, signal } = options;
  if (env.SPACK_ROOT || !(env.SPACK_REPO || env.SPACK_REF)) return env;
  const { repo, ref } = await chooseSpack(env, writer, signal);
  if (!ref) {
    throw new SpackError('no-choice', `SPACK_REPO is ${repo}, and nothing says which Spack of it.`, {
      hint: 'Set SPACK_REF to a branch, a tag or a commit.',
    });
  }
  if (!repo) {
    const there = await Spack.find(options).catch(() => undefined);
    if (there?.is(ref)) return env;
  }
  const cache = env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache');
  const parent = join(cache, 'stackwright', 'spack');
  return { ...env, SPACK_ROOT: await cloneSpack(repo ?? usualRepository, ref, parent, signal) };
}

function noSpack(why: string): SpackError {
  return new SpackError(
    'no-spack',
    `Spack is needed to ${why}, and there is none on PATH or in SPACK_ROOT.`,
    {
      hint: howToGetSpack,
    },
  );
}

/** The options of Spack itself that come before the command. */
export function globalOptions({
  environment,
  config = [],
}: Pick<RunOptions, 'environment' | 'config'>): string[] {
  return [
    '--color=never',
    ...config.flatMap((setting) => ['-c', setting]),
    ...(environment ? ['-e', environment] : []),
  ];
}

/** The folder of the Spack that the environment names, with `lib/spack`; undefined where there is none. */
export async function findSpackPrefix(options: SpackOptions): Promise<string | undefined> {
  const executable = await locate(options.env);
  return executable && prefixOf(executable, options);
}

async function prefixOf(executable: string, { env, signal }: SpackOptions): Promise<string | undefined> {
  const folder = dirname(dirname(await realpath(executable)));
  if (await isThere(join(folder, 'lib', 'spack', 'spack'))) return folder;
  // A wrapper somewhere on PATH: it knows.
  const asked = await execa(executable, ['location', '--spack-root'], {
    env,
    extendEnv: false,
    reject: false,
    cancelSignal: signal,
  });
  signal?.throwIfAborted();
  return asked.failed ? undefined : String(asked.stdout).trim() || undefined;
}

async function locate(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folders = [
    ...(env.SPACK_ROOT ? [join(env.SPACK_ROOT, 'bin')] : []),
    ...(env.PATH ?? '').split(delimiter),
  ];
  for (const folder of folders) {
    const path = join(folder, 'spack');
    if (folder && (await isThere(path, constants.X_OK))) return path;
  }
  return undefined;
}

async function forEachLine(lines: AsyncIterable<unknown>, onLine: (line: string) => void): Promise<void> {
  try {
    for await (const line of lines) onLine(String(line));
  } catch {
    // The command's own result says what failed.
  }
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
