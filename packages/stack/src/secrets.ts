const secretName = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|JWT|JWT_V\d|AUTH_CONFIG)S?$/i;
// Public by their nature although their names look secret.
const harmless = /^(AWS_ACCESS_KEY_ID|SSH_AUTH_SOCK)$/;

/** The values of environment variables that hold secrets, by their names. Short ones are left out: they would hit plain words. */
export function secretsOf(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env)
    .filter(([name, value]) => value && value.length >= 6 && secretName.test(name) && !harmless.test(name))
    .map(([, value]) => value as string);
}

/** `text` with every secret, and the password of every URL, replaced by `***`. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi, '$1:***@');
  for (const secret of secrets) clean = clean.replaceAll(secret, '***');
  return clean;
}

/** A child's environment without the variables that hold secrets, but for those named in `keep`. */
export function environmentWithoutSecrets(
  env: NodeJS.ProcessEnv,
  keep: readonly string[] = [],
): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !secretName.test(name) || harmless.test(name) || keep.includes(name),
    ),
  );
}
