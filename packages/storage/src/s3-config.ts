import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { OpenOptions } from './open.js';

/** What the SDK's client is made with, by the options and the environment. */
export function configOf(options: OpenOptions): S3ClientConfig {
  const env = options.env ?? process.env;
  const endpoint =
    options.endpoint ?? env['S3_ENDPOINT_URL'] ?? env['S3_ENDPOIT_URL'] ?? env['AWS_ENDPOINT_URL_S3'];
  const profile = options.profile ?? env['AWS_PROFILE'];
  const region = options.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];
  const accessKeyId = env['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'];
  return {
    ...(endpoint
      ? { endpoint: endpoint.includes('://') ? endpoint : `https://${endpoint}`, forcePathStyle: true }
      : {}),
    ...(region || !profile ? { region: region || 'us-east-1' } : {}),
    ...(options.profile || !accessKeyId || !secretAccessKey
      ? { ...(profile ? { profile } : {}) }
      : { credentials: { accessKeyId, secretAccessKey, sessionToken: env['AWS_SESSION_TOKEN'] } }),
    // Older servers refuse the checksums that newer SDKs add of their own accord.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: 20_000,
      requestTimeout: 120_000,
      httpAgent: new HttpAgent({ keepAlive: true, maxSockets: 64 }),
      httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 64 }),
    }),
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
