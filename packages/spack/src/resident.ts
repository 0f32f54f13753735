import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SpackError } from './error.js';
import type { Command, Commands, Ended, Running } from './session.js';

/** How Spack is started: its command line without the command, and its whole environment. */
export interface Start {
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

// Beside `dist` here, and beside `bundle` in the command that carries this package.
const script = fileURLToPath(new URL('../assets/resident.py', import.meta.url));
const protocol = 1;
/** Milliseconds that a start may take: long, as the first one on a network file system is slow. */
const startTime = 300_000;

/** One line of the script, as it documents them. */
type Answer =
  | { readonly event: 'ready'; readonly protocol: number; readonly version: string; readonly prefix: string }
  | { readonly event: 'started'; readonly id: number; readonly pid: number }
  | { readonly event: 'processes'; readonly id: number; readonly text: string }
  | { readonly event: 'refused'; readonly id: number; readonly reason: string }
  | {
      readonly event: 'ended';
      readonly id: number;
      readonly code: number | null;
      readonly signal: number | null;
      readonly cpu: number;
      readonly memory: number;
    };

interface Pending {
  readonly ended: (value: Ended) => void;
  readonly failed: (error: Error) => void;
  processes?: (text: string) => void;
}

/**
 * One Spack that has read configuration, environment and recipes and forks for every command. Its script ends, with all
 * that it started, as soon as its input does: also when this process is killed.
 */
export class Resident implements Commands {
  private readonly pending = new Map<number, Pending>();
  private readonly gone: Promise<void>;
  private died: Error | undefined;
  private last = 0;
  /** The end of what it printed besides its answers. */
  private said = '';
  version = '';
  prefix = '';

  private constructor(private readonly child: ChildProcess) {
    this.gone = new Promise((resolve) => {
      const end = (why: string) => {
        this.died ??= new SpackError(
          'resident-ended',
          `The resident Spack ended: ${this.said.trim() || why}`,
        );
        for (const one of this.pending.values()) one.failed(this.died);
        this.pending.clear();
        resolve();
      };
      child.once('error', (error) => end(error.message));
      child.once('close', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.said = (this.said + text).slice(-4096);
    });
    // A write after its end is told by its end.
    child.stdin?.on('error', () => {});
  }

  /** @throws Error that says why it cannot be resident; AbortError when the signal fires */
  static async start({ command, env, signal }: Start): Promise<Resident> {
    signal?.throwIfAborted();
    const [program = '', ...args] = [...command, 'python', script];
    // A group of its own: an interrupt from the terminal, or a kill of the caller's group, reaches only the caller.
    const child = spawn(program, args, { env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const resident = new Resident(child);
    const abort = () => child.stdin?.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    const limit = setTimeout(abort, startTime);
    try {
      await resident.listen();
      signal?.throwIfAborted();
      return resident;
    } catch (error) {
      await resident.close();
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(limit);
      signal?.removeEventListener('abort', abort);
    }
  }

  async start({ name, args, log, append }: Command): Promise<Running> {
    if (this.died) throw this.died;
    this.last += 1;
    const id = this.last;
    const ended = new Promise<Ended>((resolve, reject) => {
      this.pending.set(id, { ended: resolve, failed: reject });
    });
    // Whoever waits for it gets the error; nobody may be waiting yet.
    ended.catch(() => {});
    this.send({ id, command: name, args, log, append });
    return {
      ended,
      processes: () =>
        new Promise((resolve) => {
          const one = this.pending.get(id);
          if (!one) return resolve('');
          one.processes = resolve;
          void ended.finally(() => resolve('')).catch(() => {});
          this.send({ id, do: 'processes' });
        }),
      end: () => this.send({ id, do: 'end' }),
    };
  }

  async close(): Promise<void> {
    this.child.stdin?.end();
    await this.gone;
  }

  private send(request: object): void {
    this.child.stdin?.write(`${JSON.stringify(request)}\n`);
  }

  /** Resolves with its first answer; from then on each answer is handed to its command. */
  private async listen(): Promise<void> {
    if (!this.child.stdout) return;
    const lines = createInterface({ input: this.child.stdout });
    const first = new Promise<Answer>((resolve, reject) => {
      lines.once('line', (line) => {
        try {
          resolve(JSON.parse(line) as Answer);
          lines.on('line', (each) => this.take(JSON.parse(each) as Answer));
        } catch {
          reject(new SpackError('resident-ended', `The resident Spack printed: ${line.slice(0, 200)}`));
        }
      });
    });
    const answer = await Promise.race([first, this.gone.then(() => Promise.reject(this.died))]);
    if (answer.event !== 'ready' || answer.protocol !== protocol) {
      throw new SpackError('resident-ended', 'The resident Spack speaks another protocol.');
    }
    this.version = answer.version;
    this.prefix = answer.prefix;
  }

  private take(answer: Answer): void {
    if (answer.event === 'ready') return;
    const one = this.pending.get(answer.id);
    if (answer.event === 'processes') one?.processes?.(answer.text);
    if (answer.event === 'refused') one?.failed(new SpackError('resident-ended', answer.reason));
    if (answer.event !== 'ended') return;
    this.pending.delete(answer.id);
    one?.ended({
      code: answer.code ?? undefined,
      signal: answer.signal ?? undefined,
      cpu: answer.cpu,
      memory: answer.memory,
    });
  }
}
