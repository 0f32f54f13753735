import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { loadSharedConfigFiles } from '@smithy/core/config';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { defaultLimits } from '@stackwright/http';
import { StorageError } from './error.js';
import type { OpenOptions } from './open.js';

/** Variables that say where credentials come from; whoever sets one does not want to be nobody. */
const sources = [
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_ROLE_ARN',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
];
const profileSources =
  /^(aws_access_key_id|role_arn|credential_process|web_identity_token_file|sso_.*|login_session)$/;

/**
 * What the SDK's client is made with, by the options, the environment and the profile, and whether any of them names
 * credentials.
 * @throws StorageError `denied` for a profile that does not exist
 */
export async function configOf(
  options: OpenOptions,
): Promise<{ config: S3ClientConfig; credentials: boolean }> {
  const env = options.env ?? process.env;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  const keys =
    accessKeyId && secretAccessKey && !options.profile
      ? { accessKeyId, secretAccessKey, sessionToken: env['AWS_SESSION_TOKEN'] }
      : undefined;
  const name = options.profile ?? env['AWS_PROFILE'];
  const profile = await readProfile(name || 'default', env);
  if (name && !profile && !keys) {
    throw new StorageError('denied', `There is no profile "${name}" for S3.`, {
      hint: 'Look into ~/.aws/config and ~/.aws/credentials.',
    });
  }
  // The SDK would read most of this by itself, but for its own environment and default profile only, and without
  // knowing that a server of one's own wants the bucket in the path.
  const endpoint =
    options.endpoint ??
    env['S3_ENDPOINT_URL'] ??
    env['S3_ENDPOIT_URL'] ??
    env['AWS_ENDPOINT_URL_S3'] ??
    env['AWS_ENDPOINT_URL'] ??
    profile?.endpoint;
  const region = options.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? profile?.region;
  const limits = { ...defaultLimits, ...options.limits };
  const config: S3ClientConfig = {
    ...(endpoint
      ? { endpoint: endpoint.includes('://') ? endpoint : `https://${endpoint}`, forcePathStyle: true }
      : {}),
    region: region || 'us-east-1',
    ...(keys ? { credentials: keys } : name ? { profile: name } : {}),
    // Older servers refuse the checksums that newer SDKs add of their own accord.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: limits.connect,
      // Without any byte, in either direction.
      socketTimeout: limits.idle,
      // Until the answer begins. Each request sends a part of an object at most.
      requestTimeout: 300_000,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
    }),
  };
  const named = sources.some((one) => env[one]) || profile?.credentials;
  return { config, credentials: keys !== undefined || named === true };
}

/** What the configuration and credentials files say of a profile. */
async function readProfile(
  name: string,
  env: NodeJS.ProcessEnv,
): Promise<{ region: string | undefined; endpoint: string | undefined; credentials: boolean } | undefined> {
  const { configFile, credentialsFile } = await loadSharedConfigFiles({
    configFilepath: env['AWS_CONFIG_FILE'] || undefined,
    filepath: env['AWS_SHARED_CREDENTIALS_FILE'] || undefined,
  });
  if (!configFile[name] && !credentialsFile[name]) return undefined;
  const profile = { ...configFile[name], ...credentialsFile[name] };
  const services = profile['services'] ? configFile[`services.${profile['services']}`] : undefined;
  return {
    region: profile['region'],
    endpoint: services?.['s3.endpoint_url'] ?? profile['endpoint_url'],
    credentials: Object.keys(profile).some((key) => profileSources.test(key)),
  };
}

/** The same for requests that carry no signature. */
export function unsigned(config: S3ClientConfig): S3ClientConfig {
  return {
    ...config,
    credentials: { accessKeyId: 'anonymous', secretAccessKey: '' },
    signer: { sign: async (request) => request },
  };
}
