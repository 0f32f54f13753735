import type { TarItem } from '../pack/tar.js';

/** Bytes of a script's first two lines that are looked at; a kernel reads far fewer. */
const headLimit = 8192;

/**
 * What a script's first line asks for: its interpreter, and for `env` and `sbang` the word after it, which is what they
 * start or where it is. A script under `sbang` asks for what its second line names, too. Undefined for other files.
 */
export function shebangsOf(head: Buffer): string[] | undefined {
  const [first = '', second = ''] = head.toString('latin1', 0, headLimit).split('\n', 2);
  const words = wordsOf(first);
  if (!words) return undefined;
  const [interpreter = '', argument = ''] = words;
  if (argument.endsWith('/sbang')) {
    // Languages to which `#` is no comment have the second line in one of theirs.
    const inner = wordsOf(second.replace(/^(?:--|\/\/|<\?php )\s*#?!/, '#!'));
    return [`${interpreter} ${argument}`, ...(inner ? [asked(inner)] : [])];
  }
  return [asked(words)];
}

function wordsOf(line: string): string[] | undefined {
  const words = /^#![ \t]*(\/[^\0]*)$/
    .exec(line)?.[1]
    ?.trim()
    .split(/[ \t]+/);
  return words?.[0] ? words : undefined;
}

/** `env` may be told to split what follows (`-S`), and to set variables first. */
function asked([interpreter = '', ...rest]: readonly string[]): string {
  if (!interpreter.endsWith('/env')) return interpreter;
  const started = rest.find((word) => !word.startsWith('-') && !word.includes('='));
  return started === undefined ? interpreter : `${interpreter} ${started}`;
}

/** Reads first lines of a package's programs while its files pass by. */
export class ScriptScan {
  readonly #shebangs = new Set<string>();

  /** A file's content as it is, looked at on its way. */
  watch({ entry, content }: TarItem): TarItem['content'] {
    const program = entry.type === 'file' && (entry.mode & 0o100) !== 0 && entry.size > 4;
    if (!program || entry.name.includes('/.spack/')) return content;
    const [only] = Array.isArray(content) ? (content as Buffer[]) : [];
    if (only?.length !== entry.size) return this.#streamed(content);
    this.#see(only);
    return content;
  }

  /** Sorted, without repetitions; see `shebangsOf`. */
  result(): string[] {
    return [...this.#shebangs].sort();
  }

  async *#streamed(content: TarItem['content']): AsyncGenerator<Buffer> {
    let head: Buffer | undefined = Buffer.alloc(0);
    for await (const chunk of content) {
      if (head) {
        head = Buffer.concat([head, chunk.subarray(0, headLimit)]);
        const over = head.length >= headLimit || (head.length >= 2 && !isScript(head));
        if (over) {
          this.#see(head);
          head = undefined;
        }
      }
      yield chunk;
    }
    if (head) this.#see(head);
  }

  #see(head: Buffer): void {
    if (!isScript(head)) return;
    for (const one of shebangsOf(head) ?? []) this.#shebangs.add(one);
  }
}

function isScript(head: Buffer): boolean {
  return head[0] === 0x23 && head[1] === 0x21;
}
