import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SpackError } from './error.js';
import { explain, tailOf } from './explain.js';
import { LogWatch } from './log-watch.js';
import { Resident } from './resident.js';
import { findSandbox, type Sandbox, type SandboxChoice } from './sandbox.js';
import { SingleCommands } from './single.js';
import { chosenSpack, globalOptions, type RunOptions, Spack, type SpackOptions } from './spack.js';

export interface SessionOptions extends SpackOptions, Pick<RunOptions, 'environment' | 'config'> {
  /** Completes "Spack is needed to …". */
  readonly why: string;
  /** `auto` when left out. */
  readonly sandbox?: SandboxChoice;
}

/** A command of Spack that is to be run in a session. */
export interface Command {
  readonly name: 'install' | 'test' | 'gpg';
  readonly args: readonly string[];
  /** A file that gets everything that the command prints; nothing is kept where it is left out. */
  readonly log?: string;
  /** Keep what the log holds. */
  readonly append?: boolean;
}

/** What a command took. */
export interface Usage {
  /** Seconds of CPU time; undefined where nobody measured it. */
  readonly cpu?: number;
  /** Bytes that its largest process used; undefined where nobody measured it. */
  readonly memory?: number;
}

/** How a command ended. */
export interface Ended extends Usage {
  /** Undefined where a signal ended it. */
  readonly code: number | undefined;
  /** Number of the signal that ended it. */
  readonly signal?: number;
}

/** A command that runs. */
export interface Running {
  readonly ended: Promise<Ended>;
  /** Its processes as text, one a line, children indented. */
  processes(): Promise<string>;
  /** Interrupts it, and kills what is left some seconds later. */
  end(): void;
}

/** Runs commands of one Spack: a resident one that forks for each, or a new one for each. */
export interface Commands {
  readonly version: string;
  /** The folder that Spack lies in, with `lib/spack`. */
  readonly prefix: string;
  start(command: Command): Promise<Running>;
  /** Ends every process that was started here. */
  close(): Promise<void>;
}

/** Bounds of one command. */
export interface Limits {
  /** Seconds that it may take. */
  readonly timeout?: number;
  /** Seconds that it may print nothing. */
  readonly silence?: number;
}

export interface CommandOptions extends Limits {
  readonly log: string;
  readonly append?: boolean;
  readonly signal?: AbortSignal;
  /** Called with what the command printed, as it grows in the log. */
  readonly onOutput?: (text: string) => void;
}

export interface InstallOptions extends CommandOptions {
  /** Run the package's build-time tests. */
  readonly tests?: boolean;
  /** Processes of the package's own build. */
  readonly jobs?: number;
  /**
   * Where dependencies come from: `mirrors` alone, `anywhere` (mirrors or their sources, the default), `sources` alone.
   * What is installed is used in any case.
   */
  readonly dependencies?: keyof typeof dependencyRules;
  /** Build it again although it is installed. */
  readonly overwrite?: boolean;
}

/** Spack's words for where dependencies come from. */
const dependencyRules = { mirrors: 'only', anywhere: 'auto', sources: 'never' } as const;

/** How `spack install` is told to build one package of an environment from source. */
export function installArguments(
  hash: string,
  options: Pick<InstallOptions, 'dependencies' | 'overwrite' | 'tests' | 'jobs'>,
): string[] {
  return [
    '--only-concrete',
    `--use-buildcache=package:never,dependencies:${dependencyRules[options.dependencies ?? 'anywhere']}`,
    '--fail-fast',
    // What the build says is the log.
    '--verbose',
    ...(options.overwrite ? ['--overwrite', '--yes-to-all'] : []),
    ...(options.tests ? ['--test=root'] : []),
    ...(options.jobs ? [`--jobs=${options.jobs}`] : []),
    `/${hash}`,
  ];
}

/**
 * A Spack that works on one environment until it is closed. Everything that it starts ends with this process, however
 * that ends.
 */
export class SpackSession {
  private constructor(
    private readonly commands: Commands,
    /** What keeps builds from seeing the processes around them; undefined for nothing. */
    readonly sandbox: Sandbox['name'] | undefined,
    /** Why Spack is not resident, where it is not. */
    readonly note: string | undefined,
  ) {}

  get version(): string {
    return this.commands.version;
  }

  /** The folder that Spack lies in, with `lib/spack`. */
  get prefix(): string {
    return this.commands.prefix;
  }

  /**
   * Starts a resident Spack. Where it cannot be resident, one Spack is started for each command.
   * @throws SpackError as `Spack.require` does, and `no-sandbox`
   */
  static async open(options: SessionOptions): Promise<SpackSession> {
    const { executable, env } = await chosenSpack(options.why, options);
    const sandbox = await chooseSandbox(options.sandbox ?? 'auto', env, options.signal);
    const start = {
      command: [...(sandbox?.prefix ?? []), executable, ...globalOptions(options)],
      env,
      signal: options.signal,
    };
    try {
      return new SpackSession(await Resident.start(start), sandbox?.name, undefined);
    } catch (error) {
      options.signal?.throwIfAborted();
      // Says what is wrong with a Spack that does not run at all.
      const spack = await Spack.require(options.why, { ...options, env });
      const commands = new SingleCommands(start, spack.version, await spack.prefix(options.signal));
      return new SpackSession(commands, sandbox?.name, (error as Error).message);
    }
  }

  /**
   * Installs one package of the environment from source, its dependencies from the environment's mirrors.
   * @param hash dag hash
   * @throws SpackError `command-failed`, `timed-out`, `silent`; AbortError when `signal` says so
   */
  install(hash: string, options: InstallOptions): Promise<Usage> {
    return this.run('install', installArguments(hash, options), options);
  }

  /**
   * Runs the stand-alone tests of an installed package of the environment.
   * @param hash dag hash
   * @throws as `install` does
   */
  test(hash: string, options: CommandOptions): Promise<Usage> {
    return this.run('test', ['run', `/${hash}`], { append: true, ...options });
  }

  /** Has Spack trust the public keys of a file. @param log gets what Spack prints */
  trust(file: string, options: CommandOptions): Promise<Usage> {
    return this.run('gpg', ['trust', file], options);
  }

  /** Ends every process that was started here. */
  close(): Promise<void> {
    return this.commands.close();
  }

  private async run(name: Command['name'], args: readonly string[], options: CommandOptions): Promise<Usage> {
    const { log, append, signal } = options;
    signal?.throwIfAborted();
    await mkdir(dirname(log), { recursive: true });
    const watch = await LogWatch.open(log, { append, ...options });
    const running = await this.commands.start({ name, args, log, append });
    const stop = () => running.end();
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    try {
      const exceeded = watch.start(running);
      const ended = await running.ended;
      const reason = await exceeded();
      signal?.throwIfAborted();
      if (reason) throw reason;
      if (ended.code === 0) return { cpu: ended.cpu, memory: ended.memory };
      throw await failure([name, ...args], log, ended);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }
}

async function failure(args: readonly string[], log: string, { code, signal }: Ended): Promise<SpackError> {
  const how = code === undefined ? `was killed by signal ${signal}` : 'failed';
  const output = await tailOf(log).catch(() => '');
  return new SpackError(
    'command-failed',
    `spack ${args[0]} ${how}:\n${explain(output) || 'It printed nothing.'}`,
    { log, exitCode: code, signal, hint: `All of its output: ${log}` },
  );
}

async function chooseSandbox(
  choice: SandboxChoice,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Sandbox | undefined> {
  if (choice === 'off') return undefined;
  const found = await findSandbox(env, signal);
  if (found || choice === 'auto') return found;
  throw new SpackError('no-sandbox', 'No PID namespace can be made here, so builds would see this process.', {
    hint: 'Install bubblewrap, allow user namespaces, or build without: --sandbox off.',
  });
}
