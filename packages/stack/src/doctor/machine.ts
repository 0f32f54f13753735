import { findSandbox, Spack } from '@stackwright/spack';
import { execa } from 'execa';
import type { Caller } from '../caller.js';
import { childEnvironment } from '../secrets.js';
import { checking, type Diagnosis, ok, problem, warning } from './diagnosis.js';

/** What has to be on this machine: Node, git, Spack, and what Spack itself needs. */
export async function checkMachine(caller: Caller): Promise<readonly Diagnosis[]> {
  const { signal } = caller;
  const env = childEnvironment(caller.env);
  const tool = (name: string, args: string[], why: string, fix: string) =>
    checking(name, async () => {
      const { failed, stdout } = await execa(name, args, {
        env,
        extendEnv: false,
        reject: false,
        cancelSignal: signal,
      });
      signal.throwIfAborted();
      const version = /\d+(?:\.\d+)+/.exec(String(stdout ?? ''))?.[0];
      return failed ? warning(name, `Not on PATH: ${why}.`, fix) : ok(name, version ?? 'there');
    });
  const all = await Promise.all([
    checking('Node', async () => checkNode(process.versions.node)),
    tool('git', ['--version'], 'needed to clone Spack and to see what changed', 'apt-get install git'),
    tool('gpg', ['--version'], 'Spack needs it to check signatures', 'apt-get install gnupg'),
    tool('gcc', ['-dumpfullversion'], 'Spack needs a compiler to build', 'apt-get install gcc g++ make'),
    checking('Sandbox', async () => {
      const found = await findSandbox(env, signal);
      return found
        ? ok('Sandbox', `${found.name}: builds cannot see other processes`)
        : warning(
            'Sandbox',
            'No PID namespace can be made: builds can read the environment of stackwright.',
            'apt-get install bubblewrap, or allow user namespaces.',
          );
    }),
    checking('Spack', async () => {
      if (!env.SPACK_ROOT && (env.SPACK_REPO || env.SPACK_REF)) {
        const what = [
          env.SPACK_REF || 'The Spack that wrote the lock',
          ...(env.SPACK_REPO ? [`of ${env.SPACK_REPO}`] : []),
        ].join(' ');
        return ok('Spack', `${what} will be cloned (SPACK_REF, SPACK_REPO)`);
      }
      const spack = await Spack.find({ env, signal });
      if (!spack) {
        return warning(
          'Spack',
          'Neither on PATH nor in SPACK_ROOT: nothing can be concretized or built here.',
          'Set SPACK_REF, for example v1.1.0, and it is cloned when needed.',
        );
      }
      return Number.parseInt(spack.version, 10) >= 1
        ? ok('Spack', `${spack.version} (${spack.executable})`)
        : problem(
            'Spack',
            `${spack.version} is too old: its mirrors have another layout.`,
            'Use Spack 1.0 or later.',
          );
    }),
  ]);
  return all.flat();
}

function checkNode(version: string): Diagnosis {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const enough = major > 20 || (major === 20 && minor >= 19);
  return enough ? ok('Node', version) : problem('Node', `${version} is too old.`, 'Use Node 20.19 or later.');
}
