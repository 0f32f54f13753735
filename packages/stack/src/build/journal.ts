import { appendFile, readFile, rm } from 'node:fs/promises';
import type { Signer } from '@stackwright/buildcache';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { WorkFolder } from '../work.js';

/** What happened to a package, in this order. */
export type JournalEvent = 'started' | 'built' | 'signed' | 'pushed' | 'failed';

/** One line of the journal. */
export interface JournalEntry {
  /** ISO 8601. */
  readonly at: string;
  readonly event: JournalEvent;
  readonly hash: string;
  readonly name: string;
  readonly version: string;
}

/** Writes down, in the work folder, what a run does with each package: JSON, one object a line. */
export class Journal {
  private constructor(private readonly file: string) {}

  /** @param more go on with the journal of an earlier run */
  static async open({ journal }: WorkFolder, { more }: { readonly more: boolean }): Promise<Journal> {
    if (!more) await rm(journal, { force: true });
    // A line that was cut by a crash is ended, so that the next one is a line of its own.
    else if (!/(?:^|\n)$/.test(await readFile(journal, 'utf8').catch(() => '')))
      await appendFile(journal, '\n');
    return new Journal(journal);
  }

  async note(event: JournalEvent, { hash, name, version }: ConcreteNode): Promise<void> {
    const entry: JournalEntry = { at: new Date().toISOString(), event, hash, name, version };
    await appendFile(this.file, `${JSON.stringify(entry)}\n`);
  }

  /** A signer whose signature of a package is written down. */
  noting(signer: Signer | undefined, node: ConcreteNode): Signer | undefined {
    return (
      signer && {
        fingerprint: signer.fingerprint,
        publicKey: () => signer.publicKey(),
        sign: async (text, signal) => {
          const signed = await signer.sign(text, signal);
          await this.note('signed', node);
          return signed;
        },
      }
    );
  }
}

/** The hashes of packages to which something happened in an earlier run in this work folder. */
export async function hashesOf(event: JournalEvent, { journal }: WorkFolder): Promise<ReadonlySet<string>> {
  const text = await readFile(journal, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const found = new Set<string>();
  for (const line of text.split('\n')) {
    const entry = entryOf(line);
    if (entry?.event === event) found.add(entry.hash);
  }
  return found;
}

function entryOf(line: string): JournalEntry | undefined {
  try {
    return JSON.parse(line) as JournalEntry;
  } catch {
    // Cut by a crash: what it was to say is looked up in the mirror.
    return undefined;
  }
}
