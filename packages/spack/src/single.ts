import { spawn } from 'node:child_process';
import { open, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { execa } from 'execa';
import type { Start } from './resident.js';
import type { Command, Commands, Ended, Running } from './session.js';

/** Milliseconds between an interrupt and a kill. */
const grace = 10_000;

/** Starts one Spack for each command, where none can be resident. */
export class SingleCommands implements Commands {
  private readonly running = new Map<number, Promise<unknown>>();

  constructor(
    private readonly how: Start,
    readonly version: string,
    readonly prefix: string,
  ) {}

  async start({ name, args, log, append }: Command): Promise<Running> {
    const [program = '', ...rest] = [...this.how.command, name, ...args];
    if (log && !append) await writeFile(log, '');
    // At the end: the caller may write a line of its own.
    const file = log ? await open(log, 'a') : undefined;
    const child = spawn(program, rest, {
      env: this.how.env,
      detached: true,
      stdio: ['ignore', file?.fd ?? 'ignore', file?.fd ?? 'ignore'],
    });
    await file?.close();
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) =>
        resolve({ code: code ?? undefined, signal: signal ? constants.signals[signal] : undefined }),
      );
    });
    const { pid } = child;
    if (pid === undefined) return { ended, processes: async () => '', end: () => {} };
    const over = ended.catch(() => {}).finally(() => this.running.delete(pid));
    this.running.set(pid, over);
    return {
      ended,
      processes: () => processesOf(pid),
      end: () => {
        killGroup(pid, 'SIGINT');
        const later = setTimeout(() => killGroup(pid, 'SIGKILL'), grace);
        void over.finally(() => clearTimeout(later));
      },
    };
  }

  async close(): Promise<void> {
    const all = [...this.running];
    for (const [pid] of all) killGroup(pid, 'SIGKILL');
    await Promise.all(all.map(([, over]) => over));
  }
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

/** What `ps` shows of a process group. */
async function processesOf(group: number): Promise<string> {
  const shown = await execa('ps', ['-e', '-o', 'pgid=,pid=,stat=,args='], { reject: false });
  return String(shown.stdout ?? '')
    .split('\n')
    .filter((line) => Number.parseInt(line, 10) === group)
    .map((line) => line.trim().replace(/^\d+\s+/, ''))
    .join('\n');
}
