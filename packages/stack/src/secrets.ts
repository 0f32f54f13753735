import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/** A word of a variable's name that says that its value is a secret. */
const secretWord =
  /(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|JWT|AUTH|AUTHORIZATION|WEBHOOK|PAT|DSN|COOKIE|PRIVATE)S?(?:_|$|\d)/i;
/** Names that run words together: `MYAPIKEY`. */
const secretEnd = /(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|JWT)S?$/i;
/** Public by their nature although their names look secret. */
const harmless = /^(?:AWS_ACCESS_KEY_ID|SSH_AUTH_SOCK)$/;

/** Secrets of known forms: private keys, as text or in base64, tokens of GitHub, GitLab and Slack, and JSON web tokens. */
const secretForm =
  /-----BEGIN [A-Z ]*PRIVATE KEY|^LS0tLS1CRUdJTi|\b(?:gh[opsru]_|github_pat_|gl[a-z]{2,5}-|xox[abeprs]-)[\w-]{16}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\./;
/** A URL with a password in it. */
const urlPassword = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi;
/** A web address with a user alone, who is then a token. */
const urlUser = /(\bhttps?:\/\/)[^\s/:@]+@/gi;
/** Bytes of the shortest text that is taken for a secret: a shorter one would hit plain words. */
const shortest = 6;

/** Whether a variable's name says that its value is a secret. */
export function isSecretName(name: string): boolean {
  return (secretWord.test(name) || secretEnd.test(name)) && !harmless.test(name);
}

/** The values of environment variables that hold secrets, by name or by form, the longest first. Short ones are left out. */
export function secretsOf(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env)
    .flatMap(([name, value]) =>
      value && value.length >= shortest && (isSecretName(name) || secretForm.test(value)) ? [value] : [],
    )
    .sort((a, b) => b.length - a.length);
}

/**
 * The one rule for which variables no path, URL or condition of a stack may use: those that are secret by name, by the
 * form of their value, or because their value holds that of another secret or a password.
 */
export function withheldFrom(env: NodeJS.ProcessEnv): (name: string) => boolean {
  const secrets = secretsOf(env);
  return (name) => {
    const value = env[name] ?? '';
    return isSecretName(name) || withoutSecrets(value, secrets) !== value;
  };
}

/** `text` with every secret, and the password of every URL, replaced by `***`. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text.replace(urlPassword, '$1:***@').replace(urlUser, '$1***@');
  for (const secret of secrets) clean = clean.replaceAll(secret, '***');
  return clean;
}

/** Characters of one line that are looked at together: a line without an end does not have to fit into memory. */
const longestLine = 64 * 1024;

/**
 * Takes secrets out of a text that comes in pieces, a line at a time, since a secret may be cut by the end of a piece.
 * Of a longer line the end is kept back, as far as a secret can reach.
 */
export class Masking {
  private rest = '';
  private ended = false;
  private readonly reach: number;

  constructor(private readonly secrets: readonly string[]) {
    this.reach = Math.max(512, ...secrets.map((secret) => secret.length));
  }

  /** @returns what can be shown of all that came */
  add(text: string): string {
    this.rest += text;
    const end = this.rest.lastIndexOf('\n') + 1;
    const cut = end > 0 ? end : this.rest.length > longestLine ? this.rest.length - this.reach : 0;
    return this.take(cut);
  }

  /** What is left at the end. */
  end(): string {
    this.ended = true;
    return this.take(this.rest.length);
  }

  /** The last place up to `length` at which no secret is cut, neither a whole one nor one whose end is still to come. */
  private safeCut(length: number): number {
    let at = length;
    for (const secret of this.secrets) {
      for (let start = Math.max(0, length - secret.length + 1); start < at; start += 1) {
        const there = this.rest.slice(start, start + secret.length);
        if (secret.startsWith(there)) at = start;
      }
    }
    return at;
  }

  private take(length: number): string {
    if (length <= 0) return '';
    const at = length < this.rest.length || !this.ended ? this.safeCut(length) : length;
    const taken = this.rest.slice(0, at);
    this.rest = this.rest.slice(at);
    return withoutSecrets(taken, this.secrets);
  }
}

/**
 * What children need of the environment: programs, home and locale, where temporary files go, proxies and certificates,
 * compilers and modules, Spack's own settings, SSH for git, where S3 is.
 */
const needed = [
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|TERM|COLUMNS|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TMP|TEMP|HOSTNAME|PWD|CI)$/,
  /^(?:XDG_\w+|(?:https?|no|all|ftp)_proxy|SSL_CERT_(?:FILE|DIR)|NODE_EXTRA_CA_CERTS|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE)$/i,
  /^(?:CC|CXX|FC|F77|F90|LD|AR|[CF]FLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|CPATH|LIBRARY_PATH|LD_LIBRARY_PATH|DYLD_\w+)$/,
  /^(?:PKG_CONFIG_PATH|CMAKE_PREFIX_PATH|MANPATH|ACLOCAL_PATH|PYTHON(?:PATH|HOME)|VIRTUAL_ENV|PERL5LIB|MAKEFLAGS)$/,
  /^(?:MODULE\w*|LOADEDMODULES|_LMFILES_|LMOD_\w+|__LMOD_\w+|CRAY\w*|PE_\w+|CUDA_\w+|ROCM_\w+|INTEL\w*|I_MPI_\w+)$/,
  /^(?:SPACK_\w+|SLURM_\w+|GIT_SSH|GIT_SSH_COMMAND|GIT_SSL_\w+|SSH_AUTH_SOCK)$/,
  /^(?:AWS_ACCESS_KEY_ID|AWS_(?:DEFAULT_)?REGION|AWS_PROFILE|AWS_ENDPOINT_URL\w*|S3_ENDPOINT_URL)$/,
];

/**
 * The environment of a child process: what children are known to need and nothing that is a secret.
 * @param keep names of further variables that this child gets, also where the name says that they are secret
 */
export function childEnvironment(env: NodeJS.ProcessEnv, keep: readonly string[] = []): NodeJS.ProcessEnv {
  const secrets = new Set(secretsOf(env));
  return Object.fromEntries(
    Object.entries(env).filter(([name, value]) => {
      if (isSecretName(name)) return keep.includes(name);
      // A secret under a harmless name was not meant to be kept.
      if (secrets.has(value ?? '')) return false;
      return keep.includes(name) || needed.some((names) => names.test(name));
    }),
  );
}

/** Names of variables that strings of a configuration refer to (`$NAME`, `${NAME}`) and that hold no secret. */
export function referredVariables(config: unknown): string[] {
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value === 'string') {
      for (const [, name = ''] of value.matchAll(/\$\{?([A-Za-z_]\w*)\}?/g))
        if (!isSecretName(name)) found.add(name);
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(visit);
  };
  visit(config);
  return [...found];
}

/** Copies a file of text without secrets, a piece at a time. */
export async function copyMasked(from: string, to: string, secrets: readonly string[]): Promise<void> {
  await pipeline(
    createReadStream(from, 'utf8'),
    async function* (texts: AsyncIterable<string>) {
      const masking = new Masking(secrets);
      for await (const text of texts) yield masking.add(text);
      yield masking.end();
    },
    createWriteStream(to),
  );
}
