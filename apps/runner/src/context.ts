import { secretsOf, withoutSecrets } from '@stackwright/stack';
import { visible } from './control-characters.js';

/** What a command may touch of the process around it; tests give their own. */
export interface Context {
  /** Results only. */
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  /** Everything else: progress, notes, warnings, errors. */
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stdin: NodeJS.ReadableStream;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborted on the first ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** Errors and warnings only on stderr. */
  readonly quiet?: boolean;
  /** Whether text is coloured; what the stream and `NO_COLOR` say when left out. */
  readonly color?: boolean;
}

/**
 * Prints `text` and a line break to stdout. Secrets of the environment are taken out, and control sequences, which names
 * and messages of others may hold, are shown instead of sent.
 */
export function print(context: Context, text: string): void {
  const clean = painted(context, context.stdout, shown(context, text));
  context.stdout.write(clean.endsWith('\n') ? clean : `${clean}\n`);
}

/** Prints one JSON document to stdout, without secrets of the environment. */
export function printJson(context: Context, value: unknown): void {
  const secrets = secretsOf(context.env);
  const clean = (_key: string, one: unknown) =>
    typeof one === 'string' ? withoutSecrets(one, secrets) : one;
  // What is written out here is an escape of JSON too, so that programs read the same text.
  context.stdout.write(visible(`${JSON.stringify(value, clean, 2)}\n`));
}

/** Prints what was asked for as it is: a secret key for the one who makes or exports it. */
export function printSecret(context: Context, text: string): void {
  context.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Prints a line for a person to stderr, as `print` does. With `--quiet` only errors, warnings and failures are. */
export function note(context: Context, text: string): void {
  if (context.quiet && !/^\s*(?:Error|Warning|✗)/.test(text)) return;
  context.stderr.write(`${painted(context, context.stderr, shown(context, text))}\n`);
}

/** Colours the marks and words that a line begins with, on a terminal. The text says the same without. */
function painted({ env, color }: Context, stream: Context['stderr'], text: string): string {
  const inColor = color ?? (stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb');
  if (!inColor) return text;
  return text.replace(
    /^(\s*)(✓|✗|⊘|!|→|Error:|Warning:)(?=\s)/gm,
    (_line, indent: string, mark: string) => `${indent}\u001b[${marks[mark]}m${mark}\u001b[0m`,
  );
}

/** Codes of ANSI: green, red, yellow, blue; bold for words. */
const marks: Readonly<Record<string, string>> = {
  '✓': '32',
  '✗': '31',
  '⊘': '33',
  '!': '33',
  '→': '34',
  'Error:': '1;31',
  'Warning:': '1;33',
};

/**
 * A text with line breaks where the terminal's lines end, so that words stay whole. Elsewhere it is one line, which
 * programs such as grep read more easily.
 * @param indent stands before each line after the first
 */
export function wrapped({ stdout }: Context, text: string, indent: string): string {
  const width = (stdout.isTTY ? (stdout.columns ?? 80) : Number.POSITIVE_INFINITY) - indent.length;
  if (text.length <= width || width < 20) return text;
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${indent}`);
}

/** A text as a person gets to see it: no secret of the environment, no control sequence. */
export function shown({ env }: Context, text: string): string {
  return visible(withoutSecrets(text, secretsOf(env)));
}
