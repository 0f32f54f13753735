import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { quickstart } from '../src/testing.js';

/** Why tests with real Spack cannot run here; undefined where they can. */
export const spackMissing = (() => {
  try {
    execFileSync('which', ['spack', 'gpg'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs spack and gpg on PATH: git clone https://github.com/spack/spack';
  }
})();

/** Real Spack with a folder of its own for keys, environments and install trees. */
export class RealSpack {
  constructor(
    readonly base: string,
    private readonly variables: NodeJS.ProcessEnv = {},
  ) {
    mkdirSync(join(base, 'gpg'), { mode: 0o700, recursive: true });
  }

  async run(environment: string, ...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('spack', ['-e', environment, ...args], {
      env: {
        ...process.env,
        SPACK_GNUPGHOME: join(this.base, 'gpg'),
        SPACK_DISABLE_LOCAL_CONFIG: '1',
        ...this.variables,
      },
      maxBuffer: 1 << 26,
    });
    return stdout;
  }

  /** An environment of the quickstart stack with its own install tree and one mirror. */
  environment(name: string, url: string): string {
    const folder = join(this.base, name);
    cpSync(join(quickstart, 'spack_repo'), join(folder, 'spack_repo'), { recursive: true });
    cpSync(join(quickstart, 'spack.lock'), join(folder, 'spack.lock'));
    const text = readFileSync(join(quickstart, 'spack.yaml'), 'utf8')
      .replace('root: /opt/quickstart', `root: ${this.base}/tree-${name}`)
      .replace('url: ./mirror', `url: ${url}`)
      .replace(/\n {2}ci:[\s\S]*$/, '\n  bootstrap:\n    enable: true\n    sources:: []\n');
    writeFileSync(join(folder, 'spack.yaml'), text);
    return folder;
  }

  /** The padded root of an environment's install tree. */
  treeOf(name: string): string {
    let at = join(this.base, `tree-${name}`);
    while (!readdirSync(at).includes('.spack-db'))
      at = join(at, readdirSync(at).find((one) => '__spack_path_placeholder__'.startsWith(one))!);
    return at;
  }
}
