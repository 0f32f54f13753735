import { isConfidential } from '@stackwright/http';
import type { MirrorConnection } from '@stackwright/spack-env';
import { StackError } from './error.js';
import { secretsOf } from './secrets.js';

/** Where a variable is to be sent, and as what. */
export interface Destination {
  readonly url: URL;
  /** `header`: itself, as token, user or password. `s3`: as one of the keys that requests to S3 are signed with. */
  readonly as: 'header' | 's3';
  /** Who names the server: the stack, or the user by an option or the environment. */
  readonly namedBy: 'stack' | 'user';
  /** The server's certificate is not checked, so anyone may be there. */
  readonly unverified?: boolean;
}

/** What signs packages is shown to nobody. */
const signing = ['SPACK_SIGNING_KEY', 'SPACK_SIGNING_KEY_PASSPHRASE'];
/** What signs requests to S3 stands in none. */
const s3Secrets = ['AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];
/** What the environment has for S3 without the stack asking for it. */
const s3Variables = [...s3Secrets, 'AWS_ACCESS_KEY_ID', 'AWS_WEB_IDENTITY_TOKEN_FILE'];
const s3Host = 'https://s3.amazonaws.com';

/**
 * The one rule for which variable goes to which server. The signing key goes nowhere; the secrets of S3 sign requests and
 * stand in none; what the stack of a pull request asks for needs leave from outside of it (`--allow-variable`,
 * `STACKWRIGHT_ALLOW`); and nothing is sent where others can read it.
 * @returns the value; undefined for a variable that is not set
 * @throws StackError `credential` naming variable, server and what would allow it
 */
export function credential(env: NodeJS.ProcessEnv, name: string, to: Destination): string | undefined {
  const value = env[name];
  if (!value) return undefined;
  const refused = (why: string, hint: string) =>
    new StackError('credential', `${name} is not sent to ${to.url.host}: ${why}.`, { hint });
  if (holdsOneOf(env, signing, name)) {
    throw refused('it holds the signing key', 'Nothing allows this. Name another variable.');
  }
  if (to.as === 'header' && holdsOneOf(env, s3Secrets, name)) {
    throw refused('it holds a secret of S3, which signs requests only', 'Name another variable.');
  }
  if (to.namedBy === 'stack' && isPullRequest(env) && !isAllowed(env, name, to.url)) {
    throw refused(
      'the stack of a pull request asks for it',
      `If that server may have it: --allow-variable ${name}=${to.url.host}, or STACKWRIGHT_ALLOW.`,
    );
  }
  if (!isConfidential(to.url) || (to.unverified && to.url.protocol === 'https:')) {
    throw refused(
      to.unverified ? 'its certificate is not checked' : 'others could read it on the way',
      to.unverified ? 'Have the certificate checked.' : 'Use an address that starts with https://.',
    );
  }
  return value;
}

/** Whether a variable is one of those of `names`, or has a value that holds the value of one. */
function holdsOneOf(env: NodeJS.ProcessEnv, names: readonly string[], name: string): boolean {
  if (names.includes(name)) return true;
  const named = Object.fromEntries(names.map((one) => [one, env[one]]));
  return secretsOf(named).some((secret) => env[name]?.includes(secret));
}

/**
 * Whether this is a job for a pull request, whose stack anyone may have written, by the variables of GitHub, GitLab and
 * Spack's own pipelines.
 */
export function isPullRequest(env: NodeJS.ProcessEnv): boolean {
  return (
    /^pull_request/.test(env.GITHUB_EVENT_NAME ?? '') ||
    Boolean(env.GITHUB_HEAD_REF || env.CI_MERGE_REQUEST_IID || env.CI_EXTERNAL_PULL_REQUEST_IID) ||
    /^(?:merge_request_event|external_pull_request_event)$/.test(env.CI_PIPELINE_SOURCE ?? '') ||
    env.SPACK_PIPELINE_TYPE === 'spack_pull_request'
  );
}

/** Whether somebody outside of the stack said that a server may have a variable. A host without a port is any port. */
function isAllowed(env: NodeJS.ProcessEnv, name: string, { protocol, hostname, port }: URL): boolean {
  const places = [hostname, `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`];
  return allowances(env).some(([variable, place]) => variable === name && places.includes(place));
}

function allowances({ STACKWRIGHT_ALLOW: text = '' }: NodeJS.ProcessEnv): [string, string][] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
    .map((part) => {
      const [, name, host] = /^([A-Za-z_]\w*)=([^\s=/]+)$/.exec(part) ?? [];
      if (name !== undefined && host !== undefined) return [name, host.toLowerCase()];
      throw new StackError('bad-value', `"${part}" does not say which variable a server may have.`, {
        hint: 'Write NAME=HOST or NAME=HOST:PORT (--allow-variable, or STACKWRIGHT_ALLOW with commas between).',
      });
    });
}

/**
 * How to open a mirror: the endpoint and profile that the stack names, and the values of the variables that it names for
 * its credentials, where they may go there.
 * @param connection how the stack says that the mirror is reached; undefined where it is the user's own
 * @throws StackError `credential` for a variable that may not
 */
export function connectionOptions(env: NodeJS.ProcessEnv, connection: MirrorConnection | undefined) {
  if (!connection) return { env };
  const { id, idVariable, secretVariable, tokenVariable, profile, endpointUrl } = connection;
  const to = destinationOf(env, connection);
  const held = (name: string | undefined) => (name && to ? credential(env, name, to) : undefined);
  const [user, secret, token] = [
    idVariable ? held(idVariable) : id,
    held(secretVariable),
    held(tokenVariable),
  ];
  const login = user && secret ? { username: user, password: secret } : undefined;
  if (to?.as !== 's3') return { env, login, token };
  if (!login) return { env, profile, endpoint: endpointUrl, anonymous: isAnonymous(env, to) };
  return {
    env: {
      ...env,
      AWS_ACCESS_KEY_ID: login.username,
      AWS_SECRET_ACCESS_KEY: login.password,
      AWS_SESSION_TOKEN: token,
    },
    endpoint: endpointUrl,
  };
}

/** The server that a mirror of the stack is on; undefined for a folder. */
function destinationOf(
  env: NodeJS.ProcessEnv,
  { url, endpointUrl }: MirrorConnection,
): Destination | undefined {
  if (/^s3:/i.test(url)) {
    const own = env.S3_ENDPOINT_URL || env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL;
    return { url: addressOf(endpointUrl ?? own ?? s3Host), as: 's3', namedBy: 'stack' };
  }
  if (!/^(?:oci|oci\+http|https?):/i.test(url)) return undefined;
  const address = url.replace(/^oci:/i, 'https:').replace(/^oci\+http:/i, 'http:');
  return { url: addressOf(address), as: 'header', namedBy: 'stack' };
}

function addressOf(text: string): URL {
  const address = text.includes('://') ? text : `https://${text}`;
  if (URL.canParse(address)) return new URL(address);
  throw new StackError('bad-value', 'The address of a mirror is no valid URL.', {
    hint: 'Correct "url:" or "endpoint_url:" of the mirrors in spack.yaml.',
  });
}

/**
 * Whether requests to S3 go without the user's own credentials: where the stack names another server than Amazon's and
 * the environment's, which may not have them. Credentials in variables are then an error, so that nobody wonders.
 */
function isAnonymous(env: NodeJS.ProcessEnv, to: Destination): true | undefined {
  const own = [s3Host, env.S3_ENDPOINT_URL, env.AWS_ENDPOINT_URL_S3, env.AWS_ENDPOINT_URL];
  if (own.some((address) => address && addressOf(address).host === to.url.host)) return undefined;
  if (/\.amazonaws\.com(?:\.cn)?$/.test(to.url.hostname) && to.url.protocol === 'https:') return undefined;
  // They go together: leave for the first is leave for all.
  const first = s3Variables.find((name) => env[name]);
  if (first) credential(env, first, to);
  else if (!isConfidential(to.url)) return true;
  return isPullRequest(env) && !isAllowed(env, first ?? 'AWS_SECRET_ACCESS_KEY', to.url) ? true : undefined;
}
