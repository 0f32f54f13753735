import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import {
  type BuildLog,
  LogReader,
  logTexts,
  readBuildLog,
  TestReader,
  type TestResult,
} from '@stackwright/cdash';
import { Masking } from './secrets.js';

/** A build's log as it may be shown. */
export interface ReadLog {
  readonly log: BuildLog;
  /** Its text as gzip; of more than 16 MiB the first and the last half. Undefined where there is none. */
  readonly packed: Uint8Array | undefined;
  /** Tests that ran while it was built. */
  readonly tests: readonly TestResult[];
  /** Why the file could not be read. */
  readonly unread: string | undefined;
}

/** Characters of a log's start and of its end that are sent. */
const half = 8 * 1024 * 1024;

/**
 * Reads a build's log of any size, without the secrets that a build may print.
 * @param file undefined where nothing was built
 * @param options.start how the line starts with which the build's own part starts
 */
export async function readLog(
  file: string | undefined,
  { secrets, start }: { readonly secrets: readonly string[]; readonly start?: string },
): Promise<ReadLog> {
  if (file === undefined) return { log: readBuildLog(''), packed: undefined, tests: [], unread: undefined };
  const reader = new LogReader({ start });
  const tests = new TestReader();
  const ends = new Ends();
  try {
    for await (const text of masked(logTexts(file), secrets)) {
      reader.add(text);
      tests.add(text);
      ends.add(text);
    }
  } catch (error) {
    const unread = `The log ${file} cannot be read: ${(error as Error).message}.`;
    return { log: readBuildLog(unread), packed: undefined, tests: [], unread };
  }
  const packed = ends.length > 0 ? await promisify(gzip)(ends.text) : undefined;
  return { log: reader.end(), packed, tests: tests.end(), unread: undefined };
}

/** The tests that a file of Spack's tells of. */
export async function readTests(file: string, secrets: readonly string[]): Promise<TestResult[]> {
  const reader = new TestReader();
  for await (const text of masked(logTexts(file), secrets)) reader.add(text);
  return reader.end();
}

async function* masked(texts: AsyncIterable<string>, secrets: readonly string[]): AsyncGenerator<string> {
  const masking = new Masking(secrets);
  for await (const text of texts) yield masking.add(text);
  yield masking.end();
}

/** The start and the end of a long text. */
class Ends {
  length = 0;
  #head = '';
  readonly #tail: string[] = [];
  #kept = 0;

  add(text: string): void {
    this.length += text.length;
    const room = half - this.#head.length;
    if (room > 0) this.#head += text.slice(0, room);
    const rest = text.slice(Math.max(0, room));
    this.#kept += rest.length;
    this.#tail.push(rest);
    while (this.#kept - (this.#tail[0]?.length ?? 0) >= half) this.#kept -= this.#tail.shift()?.length ?? 0;
  }

  get text(): string {
    const tail = this.#tail.join('').slice(-half);
    const left = this.length - this.#head.length - tail.length;
    return left > 0
      ? `${this.#head}\n[… ${left} characters are left out here …]\n${tail}`
      : this.#head + tail;
  }
}
