import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  createKey,
  describeKey,
  formatPublicKey,
  formatSigningKey,
  type KeyInfo,
  pemOf,
  readPublicKeys,
} from '@stackwright/buildcache';
import { readSigningKey } from '@stackwright/stack';
import { Option } from 'commander';
import type { Define } from '../command.js';
import { type Context, note, print, printJson, printSecret } from '../context.js';
import { RunnerError } from '../exit.js';
import {
  assertHoldsKeys,
  open,
  openTarget,
  readText,
  type StoreOptions,
  storeOptions,
} from './mirror/shared.js';

interface CreateOptions {
  readonly email?: string;
  readonly comment?: string;
  readonly algorithm: 'ed25519' | 'rsa3072' | 'rsa4096';
  readonly expires?: string;
  readonly output?: string;
  readonly public?: string;
  readonly json?: boolean;
}

export const define: Define = (command, context) => {
  const subcommand = (name: string, summary: string) =>
    command
      .command(name)
      .summary(summary)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
      .option('--debug', 'print a stack trace with an error');

  subcommand('create', 'make a signing key')
    .argument('<name>', 'whose key it is')
    .option('--email <address>', 'part of the user id')
    .option('--comment <text>', 'part of the user id')
    .addOption(
      new Option('--algorithm <name>', 'kind of key')
        .choices(['ed25519', 'rsa3072', 'rsa4096'])
        .default('ed25519'),
    )
    .option('--expires <days>', 'days until it expires; never when left out')
    .option('-o, --output <file>', 'file for the secret key, as SPACK_SIGNING_KEY takes it; else stdout')
    .option('--public <file>', 'file for the public key')
    .option('--json', 'print the key as JSON, its secret in "signingKey" unless --output is given')
    .addHelpText('after', '\nSPACK_SIGNING_KEY_PASSPHRASE, where set, locks the key.')
    .action((name: string, options: CreateOptions) => create(context, name, options));

  subcommand('export', 'print the public key of a signing key, or the value for SPACK_SIGNING_KEY')
    .argument('[file]', 'secret key: armored, or as SPACK_SIGNING_KEY takes it (else SPACK_SIGNING_KEY)')
    .option('--secret', 'print the base64 value for SPACK_SIGNING_KEY instead')
    .option('--pem', 'print the public key as PEM instead, as "cosign verify --key" takes it')
    .option('--json', 'print {"fingerprint",…,"publicKey"} and with --secret "signingKey"')
    .action(
      async (file: string | undefined, options: { secret?: boolean; pem?: boolean; json?: boolean }) => {
        const key = await secretKey(context, file);
        if (options.pem) return print(context, pemOf(key).trimEnd());
        const text = options.secret ? formatSigningKey(key) : formatPublicKey(key);
        if (!options.json) return printSecret(context, text);
        printSecret(
          context,
          JSON.stringify(
            {
              ...plain(await describeKey(key)),
              publicKey: formatPublicKey(key),
              ...(options.secret ? { signingKey: formatSigningKey(key) } : {}),
            },
            null,
            2,
          ),
        );
      },
    );

  storeOptions(subcommand('import', 'publish public keys in a mirror'))
    .argument('<mirror>', 'path or URL of the mirror')
    .argument('<files...>', 'armored public keys')
    .option('--json', 'print {"mirror","keys":[FINGERPRINT]}')
    .action(async (url: string, files: string[], options: StoreOptions & { json?: boolean }) => {
      const mirror = await openTarget(context, url, options);
      assertHoldsKeys(mirror, 'Publish the keys elsewhere.');
      try {
        const keys: string[] = [];
        for (const file of files) {
          const { text, from } = await readText(context, file);
          for (const key of await readPublicKeys(text, from)) {
            keys.push(...(await mirror.publishKey(formatPublicKey(key), context.signal)));
          }
        }
        if (options.json) return printJson(context, { mirror: mirror.url, keys });
        for (const key of keys) print(context, key);
        note(context, `${keys.length} published in ${mirror.url}`);
      } finally {
        await mirror.close();
      }
    });

  storeOptions(subcommand('list', 'show the keys in files or published by mirrors'))
    .argument('<from...>', 'key files, paths or URLs of mirrors')
    .option('--json', 'print [{"fingerprint","userIds","algorithm","created","expires","from"}]')
    .action(async (sources: string[], options: StoreOptions & { json?: boolean }) => {
      const found: (ReturnType<typeof plain> & { from: string })[] = [];
      for (const from of sources) {
        for (const key of await keysAt(context, from, options))
          found.push({ ...plain(await describeKey(key)), from });
      }
      if (options.json) return printJson(context, found);
      for (const key of found) {
        const until = key.expires ? `until ${key.expires.slice(0, 10)}` : 'never expires';
        print(context, `${key.fingerprint}  ${key.algorithm}, ${until}\n  ${key.userIds.join(', ')}`);
      }
    });
};

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const days = options.expires === undefined ? 0 : Number(options.expires);
  if (!Number.isFinite(days) || days < 0) {
    throw new RunnerError('usage', `"${options.expires}" is no number of days.`);
  }
  const key = await createKey({
    name,
    email: options.email,
    comment: options.comment,
    algorithm: options.algorithm,
    expires: Math.round(days * 86_400),
    passphrase: context.env['SPACK_SIGNING_KEY_PASSPHRASE'],
  });
  const secret = formatSigningKey(key);
  // Both places are known to be free before either is written: a secret whose public half is lost is worth nothing.
  for (const file of [options.output, options.public]) if (file) await assertFree(context, file);
  if (options.public) await writeNew(context, options.public, formatPublicKey(key), 0o644);
  if (options.output) await writeNew(context, options.output, `${secret}\n`, 0o600);
  const about = plain(await describeKey(key));
  if (options.json) {
    printSecret(
      context,
      JSON.stringify(
        {
          ...about,
          publicKey: formatPublicKey(key),
          ...(options.output ? {} : { signingKey: secret }),
        },
        null,
        2,
      ),
    );
  } else if (!options.output) printSecret(context, secret);
  note(context, `Key ${about.fingerprint} of ${about.userIds.join(', ')}`);
  if (options.output)
    note(context, `Its secret is in ${options.output}: put it into SPACK_SIGNING_KEY, then delete the file.`);
}

async function assertFree(context: Context, file: string): Promise<void> {
  const found = await stat(resolve(context.cwd, file)).catch(() => undefined);
  if (found)
    throw new RunnerError('exists', `${file} is there already.`, {
      hint: 'Keys are never overwritten: choose another name.',
    });
}

async function writeNew(context: Context, file: string, text: string, mode: number): Promise<void> {
  const path = resolve(context.cwd, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text, { mode, flag: 'wx' });
}

async function secretKey(context: Context, file: string | undefined) {
  const key = await readSigningKey(context, file);
  if (key) return key;
  throw new RunnerError('no-key', 'There is no key.', { hint: 'Give its file, or set SPACK_SIGNING_KEY.' });
}

async function keysAt(context: Context, from: string, options: StoreOptions) {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(from)
    ? undefined
    : await readText(context, from).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'EISDIR') return undefined;
        throw error;
      });
  if (text) return readPublicKeys(text.text, from);
  const mirror = await open(context, from, options);
  try {
    return await mirror.publishedKeys(context.signal);
  } finally {
    await mirror.close();
  }
}

function plain(info: KeyInfo) {
  const { secret: _, created, expires, ...rest } = info;
  return { ...rest, created: created.toISOString(), expires: expires?.toISOString() };
}
