import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { hasCode, type InstallTree, readInstallTree } from '@stackwright/buildcache';
import type { SandboxChoice } from '@stackwright/spack';
import {
  type BuildMirror,
  type InstallOptions,
  paddedRoot,
  SpackSession,
  type CommandOptions as TestOptions,
  writeBuildEnvironment,
} from '@stackwright/spack';
import { childEnvironment, referredVariables } from '../secrets.js';
import type { Stack } from '../stack.js';
import type { WorkFolder } from '../work.js';

/** Where and with what packages are built on this machine. */
export interface BuildSite {
  readonly spack: SpackSession;
  /** The installation tree, absolute and unpadded. */
  readonly root: string;
  /** What is installed; undefined before anything was. */
  installed(): Promise<InstallTree | undefined>;
  /** Builds one package from source, its dependencies being installed or in the mirror. */
  build(hash: string, options: Omit<InstallOptions, 'dependencies'>): Promise<void>;
  /** Runs the stand-alone tests of a package that is installed. */
  test(hash: string, options: TestOptions): Promise<void>;
  /** Ends Spack with all that it started, the gpg-agent of the keys that it was given, and forgets these keys. */
  close(): Promise<void>;
}

export interface SiteOptions {
  readonly why: string;
  readonly env: NodeJS.ProcessEnv;
  /** The mirror that dependencies come from before the stack's others. */
  readonly mirror: BuildMirror;
  /** Files of public keys that Spack is to trust. */
  readonly trusted: readonly string[];
  /** `config:install_tree:root` of the stack, where it says so. */
  readonly installRoot: string | undefined;
  /**
   * Where the dependencies of what is built come from: `mirrors`, and a missing one is an error; `anywhere`, mirrors or
   * their sources; `sources`, nothing is taken from a mirror. What is installed is used in any case.
   */
  readonly dependencies: 'mirrors' | 'anywhere' | 'sources';
  /** Go on with what an earlier run installed in the work folder. */
  readonly resume: boolean;
  /** Whether builds are kept from seeing other processes. */
  readonly sandbox: SandboxChoice | undefined;
  readonly signal: AbortSignal;
}

// Long enough for what an image or another machine may call its root; binaries can be made shorter, never longer.
const padding = 128;

/**
 * Gets ready to build: finds Spack, writes the environment it builds in, has it trust the keys.
 * @throws SpackError (`missing`) when there is no Spack
 */
export async function openSite(stack: Stack, work: WorkFolder, options: SiteOptions): Promise<BuildSite> {
  const needsCredentials = /^s3:/.test(options.mirror.url)
    ? ['AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']
    : [];
  const { signal } = options;
  const { config: settings } = await stack.environment();
  // Of this process alone: another one in this folder trusts its keys anew at the same time.
  await mkdir(work.keys, { recursive: true, mode: 0o700 });
  const keys = await mkdtemp(join(work.keys, 'spack-'));
  const env = {
    ...childEnvironment(options.env, [...needsCredentials, ...referredVariables(settings)]),
    SPACK_GNUPGHOME: keys,
  };
  const { spack: writer } = await stack.lock();
  const root = await chooseRoot(work, options.installRoot);
  if (!options.resume) {
    await rm(work.logs, { recursive: true, force: true });
    if (root === work.tree) await rm(root, { recursive: true, force: true });
  }
  await writeBuildEnvironment(stack.folder, work.environment, {
    ...(options.dependencies === 'sources' ? {} : { mirror: options.mirror }),
    ...(root === work.tree ? { installRoot: root, paddedLength: padding } : {}),
  });
  const spack = await SpackSession.open({
    why: options.why,
    env,
    writer,
    environment: work.environment,
    // Spack looks for gpg on PATH only where bootstrapping is allowed; nothing is downloaded when it is there.
    config: ['bootstrap:enable:true', `config:test_stage:${work.tests}`],
    sandbox: options.sandbox,
    signal,
  });
  const close = async () => {
    await spack.close();
    await promisify(execFile)('gpgconf', ['--homedir', keys, '--kill', 'gpg-agent']).catch(() => {});
    await rm(keys, { recursive: true, force: true });
  };
  try {
    if (options.dependencies !== 'sources' && options.trusted.length > 0) {
      // One file, since every call of gpg takes its time.
      const texts = await Promise.all(options.trusted.map((file) => readFile(file, 'utf8')));
      const all = join(keys, 'trusted.pub');
      await writeFile(all, [...new Set(texts)].join('\n'));
      await spack.trust(all, { log: join(keys, 'trust.txt'), signal });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    spack,
    root,
    installed: async () =>
      readInstallTree(await paddedRoot(root)).catch((error: unknown) => {
        if (hasCode(error, 'install-tree')) return undefined;
        throw error;
      }),
    build: async (hash, how) => {
      await spack.install(hash, { ...how, dependencies: options.dependencies });
    },
    test: async (hash, how) => {
      await spack.test(hash, how);
    },
    close,
  };
}

/** The stack's own root where it can be written to, else a padded one in the work folder. */
async function chooseRoot(work: WorkFolder, wanted: string | undefined): Promise<string> {
  if (wanted === undefined) return work.tree;
  for (let folder = wanted; ; folder = dirname(folder)) {
    const answer = await access(folder, constants.W_OK).then(
      () => 'writable',
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (answer === 'writable') return wanted;
    if (answer !== 'ENOENT' || folder === '/') return work.tree;
  }
}
