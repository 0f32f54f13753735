import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OciError } from './error.js';

/** What a registry lets somebody in with. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** A refresh token, which the registry's token server exchanges for access; counts before the password. */
  readonly identityToken?: string;
}

interface AuthEntry {
  readonly auth?: string;
  readonly identitytoken?: string;
}

interface AuthFile {
  readonly auths?: Readonly<Record<string, AuthEntry>>;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

/**
 * What `docker login` or `podman login` left for a registry, with credential helpers (`docker-credential-NAME get`). Files
 * are read in podman's order (containers-auth.json(5)): `$REGISTRY_AUTH_FILE` alone where it is set, else
 * `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`, `$DOCKER_CONFIG/config.json`; the
 * first that knows the registry counts. A key may name a namespace or a repository; the longest that fits counts.
 * @returns undefined where nothing is stored
 * @throws OciError `invalid` for a file that is no JSON
 */
export async function storedCredentials(
  registry: string,
  env: NodeJS.ProcessEnv = process.env,
  repository?: string,
): Promise<Credentials | undefined> {
  for (const file of authFiles(env)) {
    const config = await readAuthFile(file);
    const found = config && (await credentialsIn(config, keysOf(registry, repository), env));
    if (found) return found;
  }
  return undefined;
}

function authFiles(env: NodeJS.ProcessEnv): string[] {
  if (env.REGISTRY_AUTH_FILE) return [env.REGISTRY_AUTH_FILE];
  const home = env.HOME ?? homedir();
  const docker = join(env.DOCKER_CONFIG ?? join(home, '.docker'), 'config.json');
  // Docker's own variable names the place that is meant.
  if (env.DOCKER_CONFIG) return [docker];
  return [
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'containers/auth.json')] : []),
    join(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers/auth.json'),
    docker,
  ];
}

async function readAuthFile(file: string): Promise<AuthFile | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as AuthFile;
  } catch {
    // Not what the parser says: it quotes the file.
    throw new OciError('invalid', `${file} is not JSON.`, {
      hint: 'Log in again with "docker login" or "podman login", or remove the file.',
    });
  }
}

/** The keys under which a file may know a repository, the most special first. */
function keysOf(registry: string, repository: string | undefined): string[] {
  const parts = repository?.split('/') ?? [];
  const namespaces = parts.map((_, index) => `${registry}/${parts.slice(0, parts.length - index).join('/')}`);
  const hub = ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io'];
  return [...namespaces, ...(registry === 'docker.io' ? hub : [registry, `https://${registry}`])];
}

async function credentialsIn(
  { auths, credHelpers, credsStore }: AuthFile,
  keys: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  for (const key of keys) {
    const helper = credHelpers?.[key];
    if (helper) return fromHelper(helper, key, env);
    const entry = auths?.[key];
    if (entry?.auth || entry?.identitytoken) return fromEntry(entry);
  }
  const host = keys.find((key) => !key.replace(/^https:\/\//, '').includes('/')) ?? keys[0];
  const name = keys.find((key) => key === 'https://index.docker.io/v1/') ?? host;
  return credsStore && name !== undefined ? fromHelper(credsStore, name, env) : undefined;
}

function fromEntry({ auth = '', identitytoken }: AuthEntry): Credentials {
  const [username = '', ...password] = Buffer.from(auth, 'base64').toString('utf8').split(':');
  return { username, password: password.join(':'), identityToken: identitytoken };
}

async function fromHelper(
  helper: string,
  registry: string,
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  const running = promisify(execFile)(`docker-credential-${helper}`, ['get'], {
    env: { ...process.env, ...env },
  });
  running.child.stdin?.on('error', () => {});
  running.child.stdin?.end(registry);
  const answer = await running.catch(() => undefined);
  if (!answer) return undefined;
  const { Username, Secret } = JSON.parse(answer.stdout);
  // By this name a helper says that the secret is an identity token.
  if (Username === '<token>') return { username: '', password: '', identityToken: Secret };
  return { username: Username, password: Secret };
}
