import { homedir } from 'node:os';
import { join } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { type Finding, SpackEnvError } from '../error.js';
import { readPlainFile } from '../plain-file.js';
import { withoutForeignTexts } from './foreign.js';
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
    /** Absolute folder of a merged view of the packages, `false` for none. */
    readonly view?: string | boolean;
    /** Whether an image is refused whose programs could not start. */
    readonly check?: boolean;
    /** Libraries and interpreters that are missing in the image because the host brings them at run time. */
    readonly hostProvides?: readonly string[];
    /** Keep, in packages that are moved, files that describe the machine they were built on. */
    readonly buildFiles?: boolean;
    readonly files?: readonly ImageFile[];
    readonly users?: readonly ImageUser[];
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

/** A file of the stack, or a text, that an image gets. */
export interface ImageFile {
  /** Absolute, in the image. */
  readonly path: string;
  /** A file or folder, relative to the stack. */
  readonly source?: string;
  /** The text of the file, instead of a source. */
  readonly content?: string;
  /** Octal; of the source, 0644 or 0755, when left out. */
  readonly mode?: string;
  /** A user of `users`, or `UID:GID`; root when left out. */
  readonly owner?: string;
}

/** A user that an image gets besides those of its base. */
export interface ImageUser {
  readonly name: string;
  readonly uid?: number;
  /** `/home/NAME` when left out; it is made, and is the user's. */
  readonly home?: string;
  readonly shell?: string;
}

type Report = (offset: number, code: string, message: string) => void;

/** `[Shape]` is a list of such. */
type Shape =
  | 'text'
  | 'texts'
  | 'map'
  | 'count'
  | 'flag'
  | 'number'
  | 'pattern'
  | 'text or flag'
  | ReadonlySet<string>
  | EachOf
  | readonly [Shape]
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
    view: 'text or flag',
    check: 'flag',
    hostProvides: 'texts',
    buildFiles: 'flag',
    files: [{ path: 'text', source: 'text', content: 'text', mode: 'text', owner: 'text' }],
    users: [{ name: 'text', uid: 'number', home: 'text', shell: 'text' }],
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
  const text = await readPlainFile(file).catch((error: NodeJS.ErrnoException) => {
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
  if (problems.length > 0) throw new SpackEnvError(withoutForeignTexts(problems, stack, homedir()));
  const read = document.toJS() ?? {};
  return { trust: read.trust ?? [], image: read.image ?? {}, failures: read.failures ?? {} };
}

const scalars: Readonly<Record<'text' | 'flag' | 'number' | 'text or flag', [readonly string[], string]>> = {
  text: [['string'], 'a text'],
  flag: [['boolean'], 'true or false'],
  number: [['number'], 'a number'],
  'text or flag': [['string', 'boolean'], 'a text, true or false'],
};

function check(node: Node, wanted: Shape, name: string, report: Report): void {
  const at = node.range?.[0] ?? 0;
  if (wanted === 'text' || wanted === 'flag' || wanted === 'number' || wanted === 'text or flag') {
    const [types, words] = scalars[wanted];
    if (!isScalar(node) || !types.includes(typeof node.value))
      report(at, 'wrong-type', `${name} has to be ${words}.`);
  } else if (isList(wanted)) {
    if (!isSeq<Node>(node)) report(at, 'wrong-type', `${name} has to be a list.`);
    else for (const item of node.items) check(item, wanted[0], `an item of ${name}`, report);
  } else if (wanted === 'texts') {
    if (!isSeq(node) || node.items.some((item) => !isScalar(item) || typeof item.value !== 'string')) {
      report(at, 'wrong-type', `${name} has to be a list of texts.`);
    }
  } else if (wanted === 'count') {
    if (!isScalar(node) || !Number.isInteger(node.value) || Number(node.value) < 0)
      report(at, 'wrong-type', `${name} has to be a whole number.`);
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

function isList(wanted: Shape): wanted is readonly [Shape] {
  return Array.isArray(wanted);
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
