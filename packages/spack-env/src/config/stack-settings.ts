import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { type Finding, SpackEnvError } from '../error.js';
import { nearest } from './nearest.js';

/** `stackwright.yaml` beside `spack.yaml`: what Stackwright needs to know and Spack's schema has no place for. */
export interface StackSettings {
  /** Files of public keys whose signatures count, as written. */
  readonly trust: readonly string[];
  readonly image: {
    /** What the image is: the packages, installed (the usual), or a mirror of them, to install from. */
    readonly kind?: 'software' | 'mirror';
    /** Absolute folder of the mirror in an image of that kind. */
    readonly mirrorRoot?: string;
    /** `scratch`, `oci:FOLDER[:TAG]` or a registry's reference. */
    readonly base?: string;
    readonly command?: readonly string[];
    readonly entrypoint?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly user?: string;
    readonly workdir?: string;
    /** Absolute folder that packages lie under in the image; where they were built when left out. */
    readonly installRoot?: string;
    /** Groups of specs that an image and a push hold; those that no other group needs when left out. */
    readonly groups?: readonly string[];
  };
  /** Kinds of failed builds by name: new ones, and changes of those that `run` and `rebuild` know. */
  readonly failures: Readonly<Record<string, FailureSettings>>;
}

export interface FailureSettings {
  /** A regular expression; a build whose output has it in one line failed for this reason. */
  readonly match?: string;
  /** How many times such a build is started again. */
  readonly retries?: number;
  /** Start it again with half as many processes. */
  readonly fewerJobs?: boolean;
}

type Report = (offset: number, code: string, message: string) => void;

type Shape =
  | 'text'
  | 'texts'
  | 'map'
  | 'count'
  | 'flag'
  | 'pattern'
  | ReadonlySet<string>
  | EachOf
  | { readonly [key: string]: Shape };

/** A mapping whose keys are names. */
class EachOf {
  constructor(readonly shape: Shape) {}
}

const shape: { readonly [key: string]: Shape } = {
  trust: 'texts',
  image: {
    kind: new Set(['software', 'mirror']),
    mirrorRoot: 'text',
    base: 'text',
    command: 'texts',
    entrypoint: 'texts',
    env: 'map',
    labels: 'map',
    user: 'text',
    workdir: 'text',
    installRoot: 'text',
    groups: 'texts',
  },
  failures: new EachOf({ match: 'pattern', retries: 'count', fewerJobs: 'flag' }),
};

/**
 * Reads `stackwright.yaml` of a stack; a stack without one has the defaults.
 * @throws SpackEnvError with every wrong place
 */
export async function readStackSettings(stack: string): Promise<StackSettings> {
  const file = join(stack, 'stackwright.yaml');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const problems: Finding[] = [];
  const report: Report = (offset, code, message) => {
    const { line, col } = lines.linePos(offset);
    problems.push({ severity: 'error', code, message, position: { file, line, column: col, offset } });
  };
  for (const error of document.errors)
    report(error.pos[0], 'broken-yaml', error.message.split('\n')[0] as string);
  if (problems.length === 0 && document.contents) check(document.contents, shape, 'the file', report);
  if (problems.length > 0) throw new SpackEnvError(problems);
  const read = document.toJS() ?? {};
  return { trust: read.trust ?? [], image: read.image ?? {}, failures: read.failures ?? {} };
}

function check(node: Node, wanted: Shape, name: string, report: Report): void {
  const at = node.range?.[0] ?? 0;
  if (wanted === 'text') {
    if (!isScalar(node) || typeof node.value !== 'string')
      report(at, 'wrong-type', `${name} has to be a text.`);
  } else if (wanted === 'texts') {
    if (!isSeq(node) || node.items.some((item) => !isScalar(item) || typeof item.value !== 'string')) {
      report(at, 'wrong-type', `${name} has to be a list of texts.`);
    }
  } else if (wanted === 'count') {
    if (!isScalar(node) || !Number.isInteger(node.value) || Number(node.value) < 0)
      report(at, 'wrong-type', `${name} has to be a whole number.`);
  } else if (wanted === 'flag') {
    if (!isScalar(node) || typeof node.value !== 'boolean')
      report(at, 'wrong-type', `${name} has to be true or false.`);
  } else if (wanted === 'pattern') {
    if (!isScalar(node) || !isPattern(node.value))
      report(at, 'wrong-value', `${name} has to be a regular expression.`);
  } else if (isChoice(wanted)) {
    if (!isScalar(node) || !wanted.has(String(node.value)))
      report(at, 'wrong-value', `${name} has to be ${[...wanted].join(' or ')}.`);
  } else if (!isMap(node)) {
    report(at, 'wrong-type', `${name} has to be a mapping.`);
  } else if (wanted === 'map') {
    for (const { value } of node.items) {
      if (!isScalar(value) || typeof value.value !== 'string')
        report(
          (value as Node | null)?.range?.[0] ?? at,
          'wrong-type',
          `a value of ${name} has to be a text.`,
        );
    }
  } else if (wanted instanceof EachOf) {
    for (const { key, value } of (node as YAMLMap<Node, Node | null>).items)
      if (value) check(value, wanted.shape, isScalar(key) ? String(key.value) : '', report);
  } else {
    for (const { key, value } of (node as YAMLMap<Node, Node | null>).items) {
      const word = isScalar(key) ? String(key.value) : '';
      const inner = Object.hasOwn(wanted, word) ? wanted[word] : undefined;
      if (!inner) report(key.range?.[0] ?? at, 'unknown-key', unknownKey(name, word, Object.keys(wanted)));
      else if (value) check(value, inner, word, report);
    }
  }
}

function isChoice(wanted: Shape): wanted is ReadonlySet<string> {
  return wanted instanceof Set;
}

function isPattern(value: unknown): boolean {
  try {
    return typeof value === 'string' && value !== '' && new RegExp(value) instanceof RegExp;
  } catch {
    return false;
  }
}

function unknownKey(name: string, word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  return `${name} knows no "${word}"${meant ? `; did you mean "${meant}"?` : `; it has ${known.join(', ')}.`}`;
}
