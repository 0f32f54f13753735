import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

/**
 * What `docker login` or `podman login` left for a registry: `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`
 * or `~/.docker/config.json`, with credential helpers (`docker-credential-NAME get`).
 * @returns undefined where nothing is stored
 */
export async function storedCredentials(
  registry: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Credentials | undefined> {
  const file =
    env.REGISTRY_AUTH_FILE ??
    join(env.DOCKER_CONFIG ?? join(env.HOME ?? homedir(), '.docker'), 'config.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const config = JSON.parse(text) as DockerConfig;
  const names =
    registry === 'docker.io'
      ? ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io']
      : [registry, `https://${registry}`];
  for (const name of names) {
    const helper = config.credHelpers?.[name];
    if (helper) return fromHelper(helper, name);
    const entry = config.auths?.[name];
    if (entry?.auth) {
      const [username = '', ...password] = Buffer.from(entry.auth, 'base64').toString('utf8').split(':');
      return { username, password: password.join(':') };
    }
  }
  return config.credsStore ? fromHelper(config.credsStore, names[0] as string) : undefined;
}

async function fromHelper(helper: string, registry: string): Promise<Credentials | undefined> {
  const running = promisify(execFile)(`docker-credential-${helper}`, ['get']);
  running.child.stdin?.end(registry);
  const answer = await running.catch(() => undefined);
  if (!answer) return undefined;
  const { Username, Secret } = JSON.parse(answer.stdout);
  return { username: Username, password: Secret };
}
