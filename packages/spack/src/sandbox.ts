import { execa } from 'execa';

/** Whether builds run where they cannot see the processes around them: `auto` does where the kernel allows it. */
export type SandboxChoice = 'auto' | 'on' | 'off';

/** A program that starts another one in a PID namespace of its own, with a `/proc` that shows nothing else. */
export interface Sandbox {
  readonly name: 'bwrap' | 'unshare';
  /** What stands before the command line. */
  readonly prefix: readonly string[];
}

/**
 * The ways to get a namespace, the best first. Whoever is root keeps most capabilities in it; the two that would let a
 * build mount the outer `/proc` again, or look into other processes, are taken away where the program can do that.
 */
const ways: readonly Sandbox[] = [
  {
    name: 'bwrap',
    prefix: [
      'bwrap',
      ...['--dev-bind', '/', '/'],
      '--unshare-pid',
      ...['--proc', '/proc'],
      '--die-with-parent',
      ...['--cap-drop', 'CAP_SYS_ADMIN', '--cap-drop', 'CAP_SYS_PTRACE'],
      '--',
    ],
  },
  {
    name: 'bwrap',
    prefix: [
      'bwrap',
      ...['--dev-bind', '/', '/'],
      '--unshare-pid',
      ...['--proc', '/proc'],
      '--die-with-parent',
      '--',
    ],
  },
  { name: 'unshare', prefix: ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', '--'] },
  {
    name: 'unshare',
    prefix: [
      'unshare',
      ...['--user', '--map-current-user'],
      ...['--pid', '--fork', '--mount-proc', '--kill-child', '--'],
    ],
  },
];

/** The first way that works on this machine: the kernel, a container or a policy may forbid each. */
export async function findSandbox(
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Sandbox | undefined> {
  for (const way of ways) {
    const [program = '', ...args] = way.prefix;
    // The first process of the namespace sees itself and nobody else.
    const tried = await execa(program, [...args, 'sh', '-c', 'test -r /proc/self/stat && test $$ -lt 10'], {
      env,
      extendEnv: false,
      reject: false,
      cancelSignal: signal,
    });
    signal?.throwIfAborted();
    if (!tried.failed) return way;
  }
  return undefined;
}
