import type { MirrorConnection } from '@stackwright/spack-env';

/** How to open a mirror as the configuration says: its endpoint and profile, and the variables that hold its secrets. */
export function mirrorOptions(connection: MirrorConnection | undefined, env: NodeJS.ProcessEnv) {
  if (!connection) return { env };
  const { id, idVariable, secretVariable, tokenVariable, profile, endpointUrl } = connection;
  const user = idVariable ? env[idVariable] : id;
  const secret = secretVariable ? env[secretVariable] : undefined;
  const token = tokenVariable ? env[tokenVariable] : undefined;
  return {
    env: {
      ...env,
      ...(user && secret ? { AWS_ACCESS_KEY_ID: user, AWS_SECRET_ACCESS_KEY: secret } : {}),
      ...(token && user && secret ? { AWS_SESSION_TOKEN: token } : {}),
    },
    ...(user && secret ? { login: { username: user, password: secret } } : {}),
    ...(token ? { token } : {}),
    ...(profile ? { profile } : {}),
    ...(endpointUrl ? { endpoint: endpointUrl } : {}),
  };
}
