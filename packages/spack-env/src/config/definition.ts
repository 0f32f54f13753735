import type { Finding, Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import { formatSpec } from '../spec/format.js';
import { satisfies } from '../spec/match.js';
import type { ParseOptions } from '../spec/parse.js';
import { parseSpec } from '../spec/parse.js';
import { constrain } from '../spec/relation.js';
import type { Spec, Variant } from '../spec/spec.js';
import type { ConditionFacts } from './condition.js';
import { evaluateCondition } from './condition.js';
import { nearest } from './nearest.js';
import type { ConfigNode, MapNode } from './node.js';
import { nodeAt, textOf, textPlace } from './node.js';

/** One element of a list of specs: a spec's text, or a matrix. */
export type SpecItem = TextItem | Matrix;

interface TextItem {
  readonly text: string;
  readonly at: Position;
}

interface Matrix {
  readonly rows: readonly (readonly SpecItem[])[];
  readonly exclude: readonly TextItem[];
  readonly at: Position;
  /**
   * `^` or `%`, put in front of the first row. Spack keeps one matrix for all references to a definition, so
   * `$^name` in one place changes what `$name` gives in another.
   */
  sigil: string;
}

export type Definitions = ReadonlyMap<string, readonly SpecItem[]>;

const isMatrix = (item: SpecItem): item is Matrix => 'rows' in item;

function fail(
  code: string,
  message: string,
  at: Position,
  hint?: string,
  about: { readonly text?: string; readonly nearest?: string } = {},
): never {
  throw new SpackEnvError({ severity: 'error', code, message, position: at, hint, ...about });
}

/** What goes wrong with one definition or spec must not hide the next. */
function collect<T>(findings: Finding[], step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    findings.push(...error.findings);
    return undefined;
  }
}

/**
 * Reads `definitions:`. Those of one name whose condition holds add up, in the place of the first; a reference
 * must be to a name that comes before.
 */
export function readDefinitions(
  node: ConfigNode | undefined,
  facts: ConditionFacts,
  findings: Finding[],
): Definitions {
  const parts = new Map<string, { items: ConfigNode[]; at: Position }>();
  for (const item of node?.kind === 'list' ? node.items : []) {
    if (item.kind !== 'map') continue;
    const names = [...item.entries].filter(([key]) => key !== 'when');
    if (names.length !== 1) {
      findings.push({
        severity: 'error',
        code: 'bad-definition',
        message: `A definition names one list, not ${names.length === 0 ? 'none' : names.map(([key]) => key).join(', ')}.`,
        position: item.at,
        hint: 'Write each name as an element of its own.',
      });
      continue;
    }
    const [key, entry] = names[0]!;
    // A definition is no scope: only "::" means something in its key.
    const name = key + { merge: '', override: '', prepend: '+', append: '-' }[entry.mode];
    const part = parts.get(name) ?? { items: [], at: entry.at };
    parts.set(name, part);
    const when = nodeAt(item, 'when');
    const condition = textOf(when);
    const holds =
      !condition || collect(findings, () => evaluateCondition(condition, facts, textPlace(when!)));
    if (holds && entry.node.kind === 'list') part.items.push(...entry.node.items);
  }
  const definitions = new Map<string, readonly SpecItem[]>();
  for (const [name, part] of parts) {
    // A name stands for nothing while its own list is read: a cycle is a reference to what is not there yet.
    const items = readItems(part.items, definitions, findings, [...parts.keys()]);
    definitions.set(name, items);
  }
  return definitions;
}

/** Reads a list of specs, matrices and references. */
export function readItems(
  nodes: readonly ConfigNode[],
  definitions: Definitions,
  findings: Finding[],
  later: readonly string[] = [],
): SpecItem[] {
  return nodes.flatMap((node) => collect(findings, () => readItem(node, definitions, findings, later)) ?? []);
}

function readItem(
  node: ConfigNode,
  definitions: Definitions,
  findings: Finding[],
  later: readonly string[],
): readonly SpecItem[] {
  if (node.kind === 'map') return [readMatrix(node, definitions, findings, later)];
  if (node.kind === 'list') return fail('wrong-type', 'A list stands where a spec should.', node.at);
  const text = textOf(node) ?? '';
  if (!text.startsWith('$')) return [{ text, at: textPlace(node) }];
  const sigil = /^\$[\^%]/.test(text) ? text[1]! : '';
  const name = text.slice(1 + sigil.length);
  const items = definitions.get(name);
  if (!items) {
    const known = [...definitions.keys()];
    const near = nearest(name, known);
    return fail(
      'unknown-definition',
      later.includes(name)
        ? `"${text}" refers to the definition "${name}", which is not complete here: it comes later, or refers back to this one.`
        : `"${text}" refers to a definition that is not there.`,
      node.at,
      later.includes(name)
        ? `Put "${name}" before what uses it.`
        : near
          ? `Did you mean "$${sigil}${near}"?`
          : known.length > 0
            ? `Defined are ${known.join(', ')}.`
            : 'Nothing is defined.',
      { text, nearest: near },
    );
  }
  if (!sigil) return items;
  return items.map((item) => {
    if (!isMatrix(item)) return { text: sigil + item.text, at: node.at };
    item.sigil = sigil;
    return item;
  });
}

function readMatrix(
  node: MapNode,
  definitions: Definitions,
  findings: Finding[],
  later: readonly string[],
): Matrix {
  const rows = nodeAt(node, 'matrix');
  if (rows?.kind !== 'list')
    return fail(
      'bad-matrix',
      'A matrix is missing its rows.',
      node.at,
      'Write "matrix:" and a list of lists.',
    );
  if (rows.items.length === 0) return fail('bad-matrix', 'A matrix has no rows.', rows.at);
  const exclude = nodeAt(node, 'exclude');
  return {
    rows: rows.items.map((row) =>
      row.kind === 'list'
        ? readItems(row.items, definitions, findings, later)
        : fail('bad-matrix', 'A row of a matrix must be a list.', row.at, 'Put brackets around it.'),
    ),
    exclude: (exclude?.kind === 'list' ? exclude.items : []).map((item) => ({
      text: textOf(item) ?? '',
      at: textPlace(item),
    })),
    at: node.at,
    sigil: '',
  };
}

export interface ExpandedSpec {
  readonly spec: Spec;
  /** Where the spec, matrix or definition stands. */
  readonly at: Position;
}

/** A matrix may not explode: no stack comes near. */
const mostSpecs = 1_000_000;

/** The specs of a list, matrices multiplied out, in order. */
export function expandItems(
  items: readonly SpecItem[],
  options: ParseOptions,
  findings: Finding[],
): ExpandedSpec[] {
  const specs: ExpandedSpec[] = [];
  for (const item of items) {
    const made = collect(findings, () =>
      isMatrix(item) ? expandMatrix(item, options, findings) : [[parseAt(item, options)]],
    );
    for (const parts of made ?? []) {
      const spec = collect(findings, () => joined(parts, item.at));
      if (spec) specs.push({ spec, at: item.at });
    }
  }
  return specs;
}

/** Parses a spec of a file; the error says where in the file. */
function parseAt({ text, at }: TextItem, options: ParseOptions): Spec {
  try {
    return parseSpec(text, options);
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    throw new SpackEnvError(
      error.findings.map((finding) => ({
        ...finding,
        position: {
          ...at,
          column: at.column + (finding.position?.line === 1 ? finding.position.column - 1 : 0),
        },
      })),
    );
  }
}

function joined(parts: readonly Spec[], at: Position): Spec {
  try {
    return parts.slice(1).reduce(constrain, parts[0]!);
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    throw new SpackEnvError(error.findings.map((finding) => ({ ...finding, position: at })));
  }
}

function expandMatrix(matrix: Matrix, options: ParseOptions, findings: Finding[]): Spec[][] {
  const rows = matrix.rows.map((row) =>
    row.flatMap((item): TextItem[] => {
      if (!isMatrix(item)) return [item];
      return expandMatrix(item, options, findings).map((parts) => ({
        text: parts.map((part) => formatSpec(part)).join(' '),
        at: item.at,
      }));
    }),
  );
  const size = rows.reduce((product, row) => product * row.length, 1);
  if (size > mostSpecs) return fail('bad-matrix', `A matrix of ${size} specs is too large.`, matrix.at);
  const parsed = rows.map((row) =>
    row.flatMap((item) => collect(findings, () => parseAt(item, options)) ?? []),
  );
  const excluded = matrix.exclude.flatMap((item) => collect(findings, () => parseAt(item, options)) ?? []);
  const results: Spec[][] = [];
  for (const parts of product(parsed)) {
    const kept = collect(findings, () => {
      const whole = exactVariants(joined(parts, matrix.at));
      return !excluded.some((one) => satisfies(whole, one));
    });
    if (!kept) continue;
    const [first, ...rest] = parts;
    if (!first) continue;
    results.push([matrix.sigil ? parseSpec(matrix.sigil + formatSpec(first), options) : first, ...rest]);
  }
  return results;
}

function* product<T>(rows: readonly (readonly T[])[]): Generator<T[]> {
  if (rows.some((row) => row.length === 0)) return;
  const at = rows.map(() => 0);
  for (;;) {
    yield at.map((index, row) => rows[row]![index]!);
    let row = rows.length - 1;
    while (row >= 0 && ++at[row]! === rows[row]!.length) at[row--] = 0;
    if (row < 0) return;
  }
}

/**
 * Spack looks up in the recipe which variants take one value before it tests what is excluded. Without the recipe,
 * one value is taken for all there is.
 */
function exactVariants(spec: Spec): Spec {
  const variants = new Map<string, Variant>();
  for (const [name, variant] of spec.variants) {
    variants.set(name, variant.values.length === 1 ? { ...variant, exact: true } : variant);
  }
  return { ...spec, variants };
}
