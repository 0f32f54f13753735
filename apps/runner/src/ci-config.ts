import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Locate } from '@stackwright/job-graph';
import type { Position } from '@stackwright/spack-env';
import { isMap, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { RunnerError } from './exit.js';

/** A mirror of the configuration, with addresses instead of paths. */
export interface ConfiguredMirror {
  readonly name: string;
  readonly fetch: string;
  readonly push: string;
  /** Whether only signed binaries of it count. */
  readonly signed: boolean;
}

/** What the configuration of a stack says of its pipeline. */
export interface CiConfig {
  readonly ci: unknown;
  readonly cdash: Readonly<Record<string, unknown>> | undefined;
  /** Those for binaries, in order. */
  readonly mirrors: readonly ConfiguredMirror[];
  readonly locate: Locate;
}

/** Reads the `ci`, `cdash` and `mirrors` sections of a stack. */
export async function readCiConfig(folder: string): Promise<CiConfig> {
  const file = join(folder, 'spack.yaml');
  const lines = new LineCounter();
  const document = parseDocument(await readFile(file, 'utf8'), { lineCounter: lines });
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  const [broken] = document.errors;
  if (broken) {
    const { line, column } = position(broken.pos[0]);
    throw new RunnerError('input', `${file}:${line}:${column}: ${broken.message.split('\n')[0]}`);
  }
  const spack = (document.toJS() as { spack?: Record<string, unknown> } | null)?.spack ?? {};
  const locate: Locate = (path) => {
    let node: unknown = document.get('spack');
    let found: Node | undefined;
    for (const step of ['ci', ...path]) {
      if (isMap(node)) {
        const pair = node.items.find((item) => String(item.key) === String(step));
        if (!pair) break;
        found = pair.key as Node;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        found = node as Node;
      } else break;
    }
    return found?.range ? position(found.range[0]) : undefined;
  };
  return {
    ci: spack.ci,
    cdash: spack.cdash as CiConfig['cdash'],
    mirrors: mirrorsOf(spack.mirrors ?? {}, folder),
    locate,
  };
}

type Entry = string | { url?: string; fetch?: Entry; push?: Entry; signed?: boolean; binary?: boolean };

function mirrorsOf(section: object, folder: string): ConfiguredMirror[] {
  return Object.entries(section as Record<string, Entry>).flatMap(([name, entry]) => {
    const data = typeof entry === 'string' ? { url: entry } : entry;
    if (data.binary === false) return [];
    const url = (direction: 'fetch' | 'push') => {
      const own = data[direction];
      const text = typeof own === 'string' ? own : (own?.url ?? data.url);
      if (!text) throw new RunnerError('input', `${folder}/spack.yaml: the mirror ${name} has no url.`);
      return mirrorUrl(text, folder);
    };
    return [{ name, fetch: url('fetch'), push: url('push'), signed: data.signed ?? true }];
  });
}

/** A mirror's address; what is no address is a path from the stack's folder. */
export function mirrorUrl(text: string, folder: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text;
  return pathToFileURL(resolve(folder, text)).href;
}
