import { Script } from 'node:vm';
import type { Position } from '../error.js';
import { SpackEnvError } from '../error.js';
import { formatSpec } from '../spec/format.js';
import { lookup } from '../spec/graph.js';
import { satisfies } from '../spec/match.js';
import { parseSpec } from '../spec/parse.js';
import type { Spec } from '../spec/spec.js';
import { targetFamily } from '../spec/target.js';
import type { HostArchitecture } from './host.js';

/** What a `when:` may ask. */
export interface ConditionFacts {
  readonly host: HostArchitecture;
  readonly hostname: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Objects that a condition can hold besides texts, numbers, booleans, None and lists. */
type Value = string | number | boolean | null | readonly Value[] | Thing;

interface Thing {
  /** What it prints as. */
  readonly text: string;
  readonly get: (name: string) => Value | undefined;
  readonly call?: (args: readonly Value[]) => Value | undefined;
  readonly item?: (key: Value) => Value | undefined;
  readonly has?: (key: Value) => boolean;
}

const isThing = (value: Value): value is Thing =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

type Token = {
  readonly kind: 'name' | 'text' | 'number' | 'sign';
  readonly text: string;
  readonly start: number;
};

const tokenPattern =
  /\s*(?:(?<prefix>[rRuU]?)(?<quote>'''|"""|'|")|(?<number>\d+(?:\.\d+)?)|(?<name>[A-Za-z_]\w*)|(?<sign>==|!=|<=|>=|[<>()[\]{},.:+-]))/y;

/**
 * Evaluates the Python expression of a `when:` key, of which the part that people write is known: comparisons,
 * `in`, `and`, `or`, `not`, `x if c else y`, strings and their methods, `env.get`, `env[...]`, `re.match` and
 * friends, `arch.satisfies`, and the names platform, os, target, arch, arch_str, hostname.
 * @param at where the expression starts, for messages
 * @throws SpackEnvError for anything else, with its place
 */
export function evaluateCondition(text: string, facts: ConditionFacts, at?: Position): boolean {
  return truth(new Evaluation(text, facts, at).whole());
}

const truth = (value: Value): boolean =>
  Array.isArray(value) ? value.length > 0 : isThing(value) ? true : Boolean(value);

const mostDepth = 100;

class Evaluation {
  private readonly tokens: readonly Token[];
  private next = 0;
  private depth = 0;
  /** Operands behind a decided `and` or `or` are read but must not fail. */
  private skipping = 0;

  constructor(
    private readonly source: string,
    private readonly facts: ConditionFacts,
    private readonly at: Position | undefined,
  ) {
    this.tokens = this.tokenize();
  }

  private fail(message: string, offset: number, hint?: string): never {
    const { at } = this;
    const simple = at && !this.source.includes('\n');
    throw new SpackEnvError({
      severity: 'error',
      code: 'bad-condition',
      message: `${message} in the condition ${JSON.stringify(this.source)}.`,
      position: simple ? { ...at, column: at.column + offset } : at,
      hint:
        hint ??
        'Known are comparisons, in, and, or, not, parentheses, strings, env.get, env[...], re.match, re.search, and the names platform, os, target, arch, arch_str, hostname.',
    });
  }

  private tokenize(): Token[] {
    const { source } = this;
    const tokens: Token[] = [];
    let at = 0;
    while (at < source.trimEnd().length) {
      tokenPattern.lastIndex = at;
      const match = tokenPattern.exec(source);
      if (!match)
        this.fail(
          `Unexpected ${JSON.stringify(source.slice(at).trim()[0])}`,
          source.length - source.slice(at).trimStart().length,
        );
      const { prefix, quote, number, name, sign } = match.groups!;
      const start =
        at + match[0].length - (quote ? quote.length + prefix!.length : (number ?? name ?? sign)!.length);
      at += match[0].length;
      if (quote) {
        const raw = /r/i.test(prefix!);
        let text = '';
        while (!source.startsWith(quote, at)) {
          if (at >= source.length) this.fail('A quote is not closed', start);
          if (source[at] === '\\' && at + 1 < source.length) {
            text += raw ? source.slice(at, at + 2) : unescaped(source[at + 1]!);
            at += 2;
          } else {
            text += source[at++];
          }
        }
        at += quote.length;
        tokens.push({ kind: 'text', text, start });
      } else if (number !== undefined) {
        tokens.push({ kind: 'number', text: number, start });
      } else {
        tokens.push({ kind: name ? 'name' : 'sign', text: (name ?? sign)!, start });
      }
    }
    return tokens;
  }

  private is(...texts: readonly string[]): boolean {
    const token = this.tokens[this.next];
    return token !== undefined && token.kind !== 'text' && texts.includes(token.text);
  }

  private take(...texts: readonly string[]): boolean {
    if (!this.is(...texts)) return false;
    this.next++;
    return true;
  }

  private offset(): number {
    return this.tokens[this.next]?.start ?? this.source.length;
  }

  private expect(text: string): void {
    if (!this.take(text)) this.fail(`"${text}" is missing`, this.offset());
  }

  whole(): Value {
    const value = this.choice();
    if (this.next < this.tokens.length) {
      this.fail(`Unexpected ${JSON.stringify(this.tokens[this.next]!.text)}`, this.offset());
    }
    return value;
  }

  private nested<T>(step: () => T): T {
    if (++this.depth > mostDepth) this.fail('Too many parentheses', this.offset());
    const value = step();
    this.depth--;
    return value;
  }

  private skip<T>(skipped: boolean, step: () => T): T {
    if (skipped) this.skipping++;
    const value = step();
    if (skipped) this.skipping--;
    return value;
  }

  private choice(): Value {
    return this.nested(() => {
      const first = this.disjunction();
      if (!this.take('if')) return first;
      const condition = truth(this.disjunction());
      this.expect('else');
      const other = this.skip(condition, () => this.choice());
      return condition ? first : other;
    });
  }

  private disjunction(): Value {
    let value = this.conjunction();
    while (this.take('or')) {
      const decided = truth(value);
      const right = this.skip(decided, () => this.conjunction());
      if (!decided) value = right;
    }
    return value;
  }

  private conjunction(): Value {
    let value = this.negation();
    while (this.take('and')) {
      const decided = !truth(value);
      const right = this.skip(decided, () => this.negation());
      if (!decided) value = right;
    }
    return value;
  }

  private negation(): Value {
    if (this.take('not')) return this.nested(() => !truth(this.negation()));
    return this.comparison();
  }

  private comparison(): Value {
    let left = this.sum();
    let result: boolean | undefined;
    for (let operator = this.operator(); operator; operator = this.operator()) {
      const { text, start } = operator;
      const right = this.sum();
      result = (result ?? true) && this.compare(left, text, right, start);
      left = right;
    }
    return result ?? left;
  }

  private operator(): { text: string; start: number } | undefined {
    const start = this.offset();
    if (this.is('==', '!=', '<', '<=', '>', '>=', 'in'))
      return { text: this.tokens[this.next++]!.text, start };
    if (this.take('is')) return { text: this.take('not') ? '!=' : '==', start };
    if (this.is('not') && this.tokens[this.next + 1]?.text === 'in') {
      this.next += 2;
      return { text: 'not in', start };
    }
    return undefined;
  }

  private compare(a: Value, operator: string, b: Value, start: number): boolean {
    switch (operator) {
      case '==':
        return same(a, b);
      case '!=':
        return !same(a, b);
      case 'in':
        return this.contains(b, a, start);
      case 'not in':
        return !this.contains(b, a, start);
    }
    const comparable =
      (typeof a === 'string' && typeof b === 'string') || (typeof a === 'number' && typeof b === 'number');
    if (!comparable) return this.skipping > 0 || this.fail(`"${operator}" cannot compare these`, start);
    if (operator === '<') return a < b;
    if (operator === '<=') return a <= b;
    return operator === '>' ? a > b : a >= b;
  }

  private contains(whole: Value, part: Value, start: number): boolean {
    if (typeof whole === 'string' && typeof part === 'string') return whole.includes(part);
    if (Array.isArray(whole)) return whole.some((item) => same(item, part));
    if (isThing(whole) && whole.has) return whole.has(part);
    return this.skipping > 0 ? false : this.fail('"in" needs a text, a list or env on its right', start);
  }

  private sum(): Value {
    let value = this.postfix();
    while (this.is('+')) {
      const start = this.offset();
      this.next++;
      const right = this.postfix();
      if (typeof value === 'string' && typeof right === 'string') value += right;
      else if (typeof value === 'number' && typeof right === 'number') value += right;
      else if (this.skipping === 0) this.fail('"+" cannot join these', start);
    }
    return value;
  }

  private postfix(): Value {
    let value = this.atom();
    for (;;) {
      const start = this.offset();
      if (this.take('.')) {
        const token = this.tokens[this.next++];
        if (token?.kind !== 'name') this.fail('A name is missing after "."', start);
        value = this.known(attribute(value, token.text), `"${token.text}" is not known here`, token.start);
      } else if (this.take('(')) {
        const args = this.list(')');
        const call = isThing(value) ? value.call : undefined;
        value = this.known(
          this.attempt(() => call?.(args), start),
          'This cannot be called so',
          start,
        );
      } else if (this.take('[')) {
        value = this.subscript(value, start);
      } else {
        return value;
      }
    }
  }

  private attempt<T>(step: () => T, start: number): T | undefined {
    try {
      return step();
    } catch (error) {
      if (this.skipping > 0) return undefined;
      const message = error instanceof SpackEnvError ? error.findings[0]!.message : (error as Error).message;
      return this.fail(message.replace(/\.$/, ''), start);
    }
  }

  /** In an operand that does not count, what is not known is nothing. */
  private known(value: Value | undefined, message: string, start: number): Value {
    return value ?? (value === null || this.skipping > 0 ? null : this.fail(message, start));
  }

  private subscript(value: Value, start: number): Value {
    const index = this.is(':') ? undefined : this.choice();
    if (this.take(':')) {
      const end = this.is(']') ? undefined : this.choice();
      this.expect(']');
      const bounds = [index, end].map((bound) => (typeof bound === 'number' ? bound : undefined));
      if (typeof value === 'string' || Array.isArray(value))
        return (value as string).slice(bounds[0], bounds[1]);
      return this.known(undefined, 'Only a text or list has parts', start);
    }
    this.expect(']');
    if ((typeof value === 'string' || Array.isArray(value)) && typeof index === 'number') {
      return this.known((value as string).at(index), 'The index is outside', start);
    }
    const item = isThing(value) && index !== undefined ? value.item?.(index) : undefined;
    return this.known(item, typeof index === 'string' ? `${index} is not set` : 'This has no parts', start);
  }

  private list(end: string): Value[] {
    const items: Value[] = [];
    while (!this.take(end)) {
      items.push(this.choice());
      if (!this.is(end)) this.expect(',');
    }
    return items;
  }

  private atom(): Value {
    const token = this.tokens[this.next];
    const start = this.offset();
    if (!token) return this.fail('Something is missing at the end', start);
    this.next++;
    if (token.kind === 'text') {
      let { text } = token;
      while (this.tokens[this.next]?.kind === 'text') text += this.tokens[this.next++]!.text;
      return text;
    }
    if (token.kind === 'number') return Number(token.text);
    if (token.text === '[') return this.list(']');
    // A set; a dictionary's colon is refused.
    if (token.text === '{') return this.list('}');
    if (token.text === '-') {
      const value = this.postfix();
      return typeof value === 'number' ? -value : this.known(undefined, '"-" needs a number', start);
    }
    if (token.text === '(') {
      if (this.take(')')) return [];
      const value = this.choice();
      if (this.take(')')) return value;
      this.expect(',');
      return [value, ...this.list(')')];
    }
    if (token.kind === 'name')
      return this.known(this.name(token.text), `Unknown name "${token.text}"`, start);
    return this.fail(`Unexpected "${token.text}"`, start);
  }

  private name(name: string): Value | undefined {
    const { host, hostname, env } = this.facts;
    switch (name) {
      case 'True':
        return true;
      case 'False':
        return false;
      case 'None':
        return null;
      case 'platform':
      case 'os':
      case 'target':
        return host[name];
      case 'hostname':
        return hostname;
      case 'arch':
      case 'architecture':
        return archThing(host);
      case 'arch_str':
        return `platform=${host.platform} os=${host.os} target=${host.target}`;
      case 'env':
        return environmentThing(env);
      case 're':
        return regexThing(this.facts);
      case 'str':
        return method((value) => (value === undefined ? '' : textOf(value)));
      case 'bool':
        return method((value) => value !== undefined && truth(value));
      case 'len':
        return method((value) =>
          typeof value === 'string' || Array.isArray(value) ? (value as string).length : undefined,
        );
      case 'int':
        return method((value) =>
          typeof value === 'number' || (typeof value === 'string' && /^\s*[+-]?\d+\s*$/.test(value))
            ? Math.trunc(Number(value))
            : undefined,
        );
      case 'any':
        return method((value) => (Array.isArray(value) ? value.some(truth) : undefined));
      case 'all':
        return method((value) => (Array.isArray(value) ? value.every(truth) : undefined));
      default:
        return undefined;
    }
  }
}

const textOf = (value: Value): string => {
  if (typeof value === 'string') return value;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return isThing(value) ? value.text : String(value);
};

const unescaped = (character: string): string =>
  ({ n: '\n', t: '\t', r: '\r', '\n': '', '\\': '\\', "'": "'", '"': '"' })[character] ?? `\\${character}`;

function same(a: Value, b: Value): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => same(item, b[i]!));
  }
  if (a === null || b === null) return a === b;
  if (isThing(a) || isThing(b)) return textOf(a) === textOf(b);
  return typeof a === typeof b
    ? a === b
    : Number(a) === Number(b) && typeof a !== 'string' && typeof b !== 'string';
}

/** A function of a condition's world; what it returns `undefined` for, it does not take. */
const method = (call: (...args: readonly (Value | undefined)[]) => Value | undefined): Thing => ({
  text: '<function>',
  get: () => undefined,
  call: (args) => call(...args),
});

function attribute(value: Value, name: string): Value | undefined {
  if (isThing(value)) return value.get(name);
  return typeof value === 'string' ? textMethod(value, name) : undefined;
}

function textMethod(text: string, name: string): Value | undefined {
  const anyOf = (given: Value | undefined, test: (part: string) => boolean) => {
    const parts = Array.isArray(given) ? given : [given];
    return parts.every((part) => typeof part === 'string') ? parts.some(test) : undefined;
  };
  const one = (use: (part: string) => Value) =>
    method((part) => (typeof part === 'string' ? use(part) : undefined));
  switch (name) {
    case 'startswith':
      return method((given) => anyOf(given, (part) => text.startsWith(part)));
    case 'endswith':
      return method((given) => anyOf(given, (part) => text.endsWith(part)));
    case 'lower':
      return method(() => text.toLowerCase());
    case 'upper':
      return method(() => text.toUpperCase());
    case 'strip':
      return method(() => text.trim());
    case 'isdigit':
      return method(() => /^\d+$/.test(text));
    case 'find':
      return one((part) => text.indexOf(part));
    case 'count':
      return one((part) => (part === '' ? text.length + 1 : text.split(part).length - 1));
    case 'split':
      return method((separator) => {
        if (separator === undefined || separator === null) return text.trim().split(/\s+/).filter(Boolean);
        return typeof separator === 'string' && separator !== '' ? text.split(separator) : undefined;
      });
    case 'replace':
      return method((from, to) =>
        typeof from === 'string' && typeof to === 'string' ? text.split(from).join(to) : undefined,
      );
    default:
      return undefined;
  }
}

const environmentThing = (env: ConditionFacts['env']): Thing => {
  const own = (key: Value | undefined): string | undefined =>
    typeof key === 'string' && Object.hasOwn(env, key) ? env[key] : undefined;
  return {
    text: 'environ',
    get: (name) =>
      name === 'get'
        ? method((key, fallback) => (key === undefined ? undefined : (own(key) ?? fallback ?? null)))
        : undefined,
    item: own,
    has: (key) => own(key) !== undefined,
  };
};

/** Python's regular expressions are JavaScript's, but for named groups and the ends of the text. */
function regex(pattern: Value | undefined, prefix: string, suffix: string): RegExp | undefined {
  if (typeof pattern !== 'string') return undefined;
  const body = pattern.replaceAll('(?P<', '(?<').replaceAll('\\A', '^').replaceAll('\\Z', '$');
  return new RegExp(`${prefix}(?:${body})${suffix}`, 's');
}

/** In milliseconds, for one expression. What people write is decided in microseconds. */
const mostTime = 200;
/** The same for all expressions of a stack together. */
const mostOfAll = 1000;
/** How much of it is used up, by the facts that all conditions of a stack share. */
const used = new WeakMap<ConditionFacts, number>();

/** An expression such as (a+)+$ can take longer than anyone waits, and only V8's own clock can end it. */
const matchScript = new Script('expression.exec(text)');

/** @throws an Error when the expression, or all of the stack, take too long */
function execute(expression: RegExp, text: string, facts: ConditionFacts): RegExpExecArray | null {
  const before = used.get(facts) ?? 0;
  if (before >= mostOfAll) throw new Error('the regular expressions of the stack take too long');
  const started = performance.now();
  try {
    const found: unknown = matchScript.runInNewContext({ expression, text }, { timeout: mostTime });
    return found as RegExpExecArray | null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    used.set(facts, before + performance.now() - started);
    throw new Error('the regular expression takes too long');
  }
}

const regexThing = (facts: ConditionFacts): Thing => ({
  text: 're',
  get: (name) => {
    const [prefix, suffix] = { match: ['^', ''], search: ['', ''], fullmatch: ['^', '$'] }[name] ?? [];
    if (prefix === undefined || suffix === undefined) return undefined;
    return method((pattern, text) => {
      const expression = regex(pattern, prefix, suffix);
      if (!expression || typeof text !== 'string') return undefined;
      const match = execute(expression, text, facts);
      return match && matchThing(match);
    });
  },
});

const matchThing = (match: RegExpExecArray): Thing => ({
  text: '<match>',
  get: (name) =>
    name === 'group'
      ? method((group = 0) =>
          typeof group === 'number' ? (match[group] ?? null) : (match.groups?.[textOf(group)] ?? null),
        )
      : undefined,
});

function archThing(host: HostArchitecture): Thing {
  const spec: Spec = parseSpec(`platform=${host.platform} os=${host.os} target=${host.target}`);
  const contains = (key: Value | undefined): boolean => {
    const wanted = parseSpec(textOf(key ?? ''));
    return (!wanted.name || lookup(spec, wanted.name) !== undefined) && satisfies(spec, wanted);
  };
  return {
    text: formatSpec(spec),
    get: (name) => {
      if (name === 'satisfies' || name === 'intersects') {
        return method((wanted) => (typeof wanted === 'string' ? contains(wanted) : undefined));
      }
      if (name === 'platform' || name === 'os') return host[name];
      if (name === 'target') {
        return {
          text: host.target,
          get: (part) => {
            if (part === 'name') return host.target;
            return part === 'family' ? targetFamily(host.target) : undefined;
          },
        };
      }
      return name === 'architecture' ? archThing(host) : undefined;
    },
    has: contains,
  };
}
