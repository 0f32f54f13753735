import { spawn } from 'node:child_process';
import { BuildcacheError } from '../error.js';
import type { Signer } from './signature.js';

/** Signs with the `gpg` program: for smart cards, agents and key services, whose keys cannot be read. */
export class GpgSigner implements Signer {
  private constructor(
    readonly fingerprint: string,
    private readonly program: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  /**
   * Finds the secret key that `user` names: a fingerprint, key id or user id.
   * @param env the child's environment; secrets of other kinds should not be in it
   * @throws BuildcacheError `gpg` when the program or the key is missing
   */
  static async find(
    user: string,
    options: {
      readonly program?: string;
      readonly env?: NodeJS.ProcessEnv;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<GpgSigner> {
    const program = options.program ?? 'gpg';
    const {
      SPACK_SIGNING_KEY: _key,
      SPACK_SIGNING_KEY_PASSPHRASE: _pass,
      ...env
    } = options.env ?? process.env;
    const listed = await run(
      program,
      ['--batch', '--with-colons', '--list-secret-keys', '--', user],
      '',
      env,
      options.signal,
    );
    const fingerprints = [...listed.matchAll(/^sec:(?:.*\n)(?:grp:.*\n)*fpr:+([0-9A-F]{40}):/gm)].map(
      ([, fingerprint]) => fingerprint!,
    );
    if (fingerprints.length !== 1) {
      throw new BuildcacheError(
        'gpg-missing',
        `gpg knows ${fingerprints.length || 'no'} secret keys of "${user}".`,
        {
          hint: 'Give the fingerprint of one: gpg --list-secret-keys',
        },
      );
    }
    return new GpgSigner(fingerprints[0]!, program, env);
  }

  async publicKey(): Promise<string> {
    return run(this.program, ['--batch', '--armor', '--export', this.fingerprint], '', this.env);
  }

  async sign(text: string, signal?: AbortSignal): Promise<string> {
    const args = ['--batch', '--armor', '--digest-algo', 'SHA512', '--local-user', this.fingerprint];
    return run(this.program, [...args, '--output', '-', '--clear-sign'], text, this.env, signal);
  }
}

function run(
  program: string,
  args: readonly string[],
  input: string,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, signal, stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => {});
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.name === 'AbortError') return reject(error);
      reject(
        new BuildcacheError('gpg-missing', `Cannot start ${program}: ${error.message}.`, {
          hint: 'Install GnuPG, or sign with SPACK_SIGNING_KEY.',
        }),
      );
    });
    child.on('close', (code) => {
      if (code === 0) return resolve(Buffer.concat(out).toString('utf8'));
      const last = Buffer.concat(err).toString('utf8').trim().split('\n').at(-1) ?? '';
      reject(new BuildcacheError('gpg', `${program} failed (exit code ${code}): ${last}.`));
    });
    child.stdin.end(input);
  });
}
