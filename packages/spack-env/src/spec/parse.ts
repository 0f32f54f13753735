import type { HostArchitecture } from '../config/host.js';
import { hostArchitecture } from '../config/host.js';
import { SpackEnvError } from '../error.js';
import type { DependencyType } from '../lock/node.js';
import { formatSpec } from './format.js';
import { constrain } from './relation.js';
import type { Architecture, CompilerFlag, Spec, SpecEdge, Variant } from './spec.js';
import {
  anySpec,
  appendEdge,
  compilerFlagNames,
  compilerPackages,
  dependencyTypes,
  sameCondition,
  typeWeight,
} from './spec.js';
import { isExactTarget } from './target.js';
import { compareText, strip, words } from './text.js';
import type { Token, TokenKind } from './token.js';
import { specError, tokenize } from './token.js';
import { parseVersions } from './version.js';

/** `toolchains:` of the configuration: a spec, or several with conditions, by name. */
export type Toolchains = Readonly<
  Record<string, string | readonly { readonly spec: string; readonly when?: string | undefined }[]>
>;

export interface ParseOptions {
  /** Names that `%NAME` stands for. */
  readonly toolchains?: Toolchains | undefined;
  /**
   * `0.x`: as Spack before 1.0, where a compiler is a name and versions on its node, and what stands behind it is
   * said of the node again: `zlib %gcc target=zen2`.
   */
  readonly dialect?: '0.x' | '1.x' | undefined;
  /** What `os=default_os`, `target=frontend` and the like stand for; this machine when left out. */
  readonly host?: HostArchitecture | undefined;
}

/** While a spec is read, nodes are filled in place: later parts of the text add to earlier ones. */
type Draft = { -readonly [K in keyof Spec]: Spec[K] };

const reservedForPropagation = [
  'arch',
  'architecture',
  'branch',
  'commit',
  'dev_path',
  'namespace',
  'operating_system',
  'os',
  'patches',
  'platform',
  'ref',
  'tag',
  'target',
];
const reservedOs = ['default_os', 'frontend', 'fe', 'backend', 'be'];
const reservedTarget = ['default_target', 'frontend', 'fe', 'backend', 'be'];

/**
 * Parses one spec in Spack's syntax.
 * @throws SpackEnvError with the position of the character where the text stops to make sense
 */
export function parseSpec(text: string, options: ParseOptions = {}): Spec {
  const parser = new Parser(text, options);
  const spec = parser.spec() ?? anySpec;
  parser.end();
  return spec;
}

/** Parses a text of several specs, as a command line has them: `zlib hdf5+mpi ^mpich`. */
export function parseSpecs(text: string, options: ParseOptions = {}): Spec[] {
  const parser = new Parser(text, options);
  const specs: Spec[] = [];
  for (let before = parser.offset; ; before = parser.offset) {
    const spec = parser.spec();
    if (!spec) return specs;
    if (parser.offset === before) parser.end();
    specs.push(spec);
  }
}

class Parser {
  private readonly tokens: readonly Token[];
  private at = 0;
  /** A package name that an assignment such as `^mpi=openmpi` puts in front of what follows. */
  private provider: Token | undefined;

  constructor(
    private readonly text: string,
    private readonly options: ParseOptions,
  ) {
    this.tokens = tokenize(text);
  }

  get offset(): number {
    return this.tokens[this.at]?.start ?? this.text.length;
  }

  private peek(): Token | undefined {
    return this.provider ?? this.tokens[this.at];
  }

  private accept(...kinds: readonly TokenKind[]): Token | undefined {
    const token = this.peek();
    if (!token || !kinds.includes(token.kind)) return undefined;
    if (this.provider) this.provider = undefined;
    else this.at++;
    return token;
  }

  private fail(message: string, token: Token | undefined, hint?: string): never {
    const offset = token?.start ?? this.text.length;
    throw specError(
      'bad-spec',
      this.text,
      offset,
      `${message} in spec ${JSON.stringify(this.text)}.`,
      hint,
      token?.text,
    );
  }

  /** Runs a step that knows nothing of positions and puts the token's on its error. */
  private located<T>(token: Token | undefined, step: () => T): T {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof SpackEnvError)) throw error;
      const { message, code, hint } = error.findings[0]!;
      throw specError(code, this.text, token?.start ?? this.text.length, message, hint, token?.text);
    }
  }

  /** Refuses what is left over after a whole spec. */
  end(): void {
    const token = this.peek();
    if (!token) return;
    if (token.kind === 'name' || token.kind === 'dotted-name') {
      this.fail(
        `Unexpected ${JSON.stringify(token.text)}`,
        token,
        'One spec is expected: write a variant as "+name" or "name=value", a dependency as "^name".',
      );
    }
    this.fail(`Unexpected ${JSON.stringify(token.text)}`, token);
  }

  spec(): Spec | undefined {
    if (!this.peek()) return undefined;
    const root = this.node();
    // "%" belongs to the node that was written last, "^" to the root.
    let current = root;
    for (let token: Token | undefined; (token = this.accept('edge-open', 'dependency')); ) {
      const direct = token.text.startsWith('%');
      const propagate = token.text.startsWith('%%');
      let edge: { types: readonly DependencyType[]; virtuals: readonly string[]; when: Spec | undefined };
      if (token.kind === 'edge-open') {
        edge = this.edgeAttributes();
      } else {
        const virtuals = this.assignment(token);
        edge = { types: [], virtuals: sortedUnique(virtuals), when: undefined };
        const next = this.peek();
        if (direct && virtuals.length === 0) {
          if (!next) this.fail('A dependency is missing after "%"', undefined, 'Name it, as in "%gcc@12".');
          const toolchain = this.options.toolchains && Object.hasOwn(this.options.toolchains, next.text);
          if (toolchain) {
            if (!this.accept('name')) this.fail(`Toolchain ${next.text} is no simple name`, next);
            this.located(next, () => {
              Object.assign(current, constrain(current, this.toolchain(next.text, propagate)));
            });
            continue;
          }
        }
      }
      const older = direct && this.options.dialect === '0.x';
      const dependency = older ? this.compiler() : this.node();
      if (direct) dependency.name = compilerPackages[dependency.name] ?? dependency.name;
      const parent = direct ? current : root;
      if (!direct) current = dependency;
      this.located(token, () => addDependency(parent, { ...edge, spec: dependency, direct, propagate }));
      if (older) this.attributes(parent);
    }
    return root;
  }

  private assignment(token: Token): readonly string[] {
    if (!token.assignment) return [];
    const { virtuals, provider } = token.assignment;
    const start = token.end - provider.length;
    const kind = provider.includes('.') ? 'dotted-name' : 'name';
    this.provider = { kind, text: provider, start, end: token.end, assignment: undefined };
    return virtuals;
  }

  private edgeAttributes() {
    const found = new Map<string, { readonly values: string[]; readonly token: Token }>();
    for (;;) {
      const pair = this.accept('pair');
      if (pair) {
        const equals = pair.text.indexOf('=');
        const name = pair.text.slice(0, equals).replace(/:$/, '');
        if (!['deptypes', 'virtuals', 'when'].includes(name)) {
          this.fail(
            `Unknown edge attribute ${JSON.stringify(name)}`,
            pair,
            'Known are deptypes, virtuals and when.',
          );
        }
        const values = pair.text
          .slice(equals + 1)
          .replace(/^['" ]+|['" ]+$/g, '')
          .split(',');
        found.set(name, { values, token: pair });
        continue;
      }
      const close = this.accept('edge-close');
      if (!close) this.fail('An edge attribute or "]" is missing', this.peek());
      const virtuals = [...(found.get('virtuals')?.values ?? []), ...this.assignment(close)];
      const deptypes = found.get('deptypes');
      for (const type of deptypes?.values ?? []) {
        if (!(dependencyTypes as readonly string[]).includes(type)) {
          this.fail(
            `Unknown dependency type ${JSON.stringify(type)}`,
            deptypes!.token,
            `Known are ${dependencyTypes.join(', ')}.`,
          );
        }
      }
      const condition = found.get('when');
      const when = condition && this.condition(condition.values[0]!, condition.token);
      return {
        types: dependencyTypes.filter((type) => deptypes?.values.includes(type)),
        virtuals: sortedUnique(virtuals),
        when,
      };
    }
  }

  private condition(text: string, token: Token): Spec | undefined {
    if (text === '') this.fail('The condition is empty', token);
    return this.located(token, () => {
      const spec = parseSpec(text, this.options);
      return sameCondition(spec, undefined) ? undefined : spec;
    });
  }

  private toolchain(name: string, propagate: boolean): Spec {
    // A toolchain may not name itself: its parts are parsed without toolchains of the same name.
    const { [name]: parts, ...others } = this.options.toolchains!;
    const options = { ...this.options, toolchains: others };
    const list = typeof parts === 'string' ? [{ spec: parts, when: undefined }] : parts!;
    let whole = anySpec;
    for (const { spec, when } of list) {
      let part = parseSpec(spec, options);
      assertDirect(part, name);
      if (when) part = withCondition(part, parseSpec(when, options));
      whole = constrain(whole, part);
    }
    return propagate ? withPropagation(whole) : whole;
  }

  private node(): Draft {
    const node: Draft = { ...anySpec };
    const first = this.accept('name', 'dotted-name', 'file');
    if (first?.kind === 'file') {
      this.fail(
        `${JSON.stringify(first.text)} names a file`,
        first,
        'Specs in files are not read here; write the spec itself.',
      );
    }
    if (first && first.text !== '*') {
      const dot = first.text.lastIndexOf('.');
      node.name = first.text.slice(dot + 1);
      if (dot >= 0) node.namespace = first.text.slice(0, dot);
    }
    return this.attributes(node);
  }

  /** A compiler of Spack 0.x: a name and versions. */
  private compiler(): Draft {
    const name = this.accept('name');
    if (!name) this.fail('The name of a compiler is missing', this.peek());
    const version = this.accept('version');
    return {
      ...anySpec,
      name: name.text,
      versions: version
        ? this.located(version, () => parseVersions(version.text.slice(1)))
        : anySpec.versions,
    };
  }

  /** What may follow a name: versions, variants, flags, architecture, hash. */
  private attributes(node: Draft): Draft {
    let versioned = node.versions !== anySpec.versions;
    for (;;) {
      const token = this.peek();
      switch (token?.kind) {
        case 'git-version-pair':
        case 'git-version':
        case 'version':
          if (versioned) this.fail('A second version', token, 'Write one list: "@1.2,1.4:".');
          node.versions = this.located(token, () => parseVersions(token.text.slice(1)));
          versioned = true;
          break;
        case 'switch':
          this.attribute(node, token, strip(token.text.slice(1)), token.text[0] === '+', false, true);
          break;
        case 'propagated-switch':
          this.attribute(node, token, strip(token.text.slice(2)), token.text[0] === '+', true, true);
          break;
        case 'pair':
        case 'propagated-pair': {
          const propagated = token.kind === 'propagated-pair';
          const equals = token.text.indexOf(propagated ? '==' : '=');
          const key = token.text.slice(0, equals);
          const given = unquote(token.text.slice(equals + (propagated ? 2 : 1)));
          this.attribute(node, token, key.replace(/:$/, ''), given, propagated, key.endsWith(':'));
          break;
        }
        case 'hash':
          if (node.hash) return node;
          node.hash = token.text.slice(1);
          break;
        default:
          return node;
      }
      this.accept(token.kind);
    }
  }

  private attribute(
    node: Draft,
    token: Token,
    name: string,
    value: string | boolean,
    propagate: boolean,
    exact: boolean,
  ): void {
    if (propagate && reservedForPropagation.includes(name)) {
      this.fail(`"${name}" cannot be propagated`, token, `Write it with one "=" or sigil.`);
    }
    const textOnly = (): string =>
      typeof value === 'string' ? value : this.fail(`"${name}" needs a value`, token, `Write ${name}=VALUE.`);
    switch (name) {
      case 'arch':
      case 'architecture': {
        const parts = textOnly().split('-');
        const [platform, os, target] = parts.length === 3 ? parts : [undefined, undefined, textOnly()];
        this.architecture(node, token, [
          ['platform', platform],
          ['os', os],
          ['target', target],
        ]);
        return;
      }
      case 'platform':
        this.architecture(node, token, [['platform', value]]);
        return;
      case 'os':
      case 'operating_system':
        this.architecture(node, token, [['os', value]]);
        return;
      case 'target':
        if (value !== false) this.architecture(node, token, [['target', textOnly()]]);
        else this.architecture(node, token, [['target', undefined]]);
        return;
      case 'namespace':
        node.namespace = typeof value === 'string' ? value : value ? 'True' : 'False';
        return;
    }
    if ((compilerFlagNames as readonly string[]).includes(name)) {
      const added = splitFlags(textOnly()).map((flag): CompilerFlag => ({ flag, propagate }));
      if (added.length > 0) {
        node.flags = new Map(node.flags).set(name, [...(node.flags.get(name) ?? []), ...added]);
      }
      return;
    }
    if (node.variants.has(name)) {
      this.fail(`Variant "${name}" is given twice`, token, 'Leave one of the two out.');
    }
    const variant = this.located(token, () => makeVariant(name, value, propagate, exact));
    node.variants = new Map(node.variants).set(name, variant);
  }

  private architecture(
    node: Draft,
    token: Token,
    fields: readonly (readonly [keyof Architecture, string | boolean | undefined])[],
  ): void {
    const twice = (what: string) =>
      this.fail(`The ${what} is given twice`, token, 'Leave one of the two out.');
    const before = node.arch;
    if (before?.platform && before.os && before.target && isExactTarget(before.target)) twice('architecture');
    const arch: { -readonly [K in keyof Architecture]: Architecture[K] } = before
      ? { ...before }
      : { platform: undefined, os: undefined, target: undefined };
    for (const [field, value] of fields) {
      if (arch[field]) twice(field);
      const text = value === undefined || (value === false && !before) ? undefined : pythonText(value);
      // The word None stands for nothing, but an operating system or platform added to others keeps it.
      const given = text === '' || (text === 'None' && (!before || field === 'target')) ? undefined : text;
      this.resolve(arch, field, given, token);
    }
    node.arch = arch;
  }

  /** `os=default_os` and the like stand for the host's. */
  private resolve(
    arch: { -readonly [K in keyof Architecture]: Architecture[K] },
    field: keyof Architecture,
    value: string | undefined,
    token: Token,
  ): void {
    const reserved = field === 'os' ? reservedOs : field === 'target' ? reservedTarget : [];
    if (value === undefined || !reserved.includes(value)) {
      arch[field] = value;
      return;
    }
    const host = this.options.host ?? hostArchitecture();
    arch.platform ||= host.platform;
    if (arch.platform !== host.platform) {
      this.fail(
        `${field}=${value} stands for this machine's, whose platform is ${host.platform} and not ${arch.platform}`,
        token,
      );
    }
    arch[field] = host[field as 'os' | 'target'];
  }
}

const pythonText = (value: string | boolean): string =>
  typeof value === 'string' ? value : value ? 'True' : 'False';

const sortedUnique = (list: readonly string[]): string[] => [...new Set(list)].sort(compareText);

/** Takes one pair of quotes off; the same quote inside, escaped, stays without its backslash. */
function unquote(text: string): string {
  const match = /^(['"])([^\n]*)\1$/.exec(text);
  return match ? match[2]!.replaceAll(`\\${match[1]}`, match[1]!) : text;
}

/** Splits `-O2 -I include` into flags, each with the arguments that follow it. */
function splitFlags(text: string): string[] {
  const flags: string[] = [];
  for (const part of words(text)) {
    if (part.startsWith('-') || flags.length === 0) flags.push(part);
    else flags.push(`${flags.pop()} ${part}`);
  }
  return flags;
}

/** A variant as a user writes it. */
function makeVariant(name: string, value: string | boolean, propagate: boolean, exact: boolean): Variant {
  if (typeof value === 'boolean' || ['TRUE', 'FALSE'].includes(value.toUpperCase())) {
    const on = typeof value === 'boolean' ? value : value.toUpperCase() === 'TRUE';
    return { name, type: 'bool', values: [on], exact: true, propagate };
  }
  if (value === '*') return { name, type: 'multi', values: [], exact: false, propagate };
  const values = sortedUnique(value.split(','));
  if (values.includes('*')) {
    throw new SpackEnvError({
      severity: 'error',
      code: 'bad-spec',
      message: `Variant "${name}" cannot have "*" among other values.`,
      hint: `Write ${name}=* alone for any value.`,
    });
  }
  return { name, type: 'multi', values, exact, propagate };
}

/** Whether a package may be depended on twice with these types: once to build, once to link or run. */
function compatibleTypes(a: readonly DependencyType[], b: readonly DependencyType[]): boolean {
  const used = (types: readonly DependencyType[]) => types.includes('link') || types.includes('run');
  return !a.some((type) => b.includes(type)) && !(used(a) && used(b));
}

/** Adds a dependency in place; one that is there already under the same condition is constrained instead. */
function addDependency(parent: Draft, edge: SpecEdge): void {
  const conflict = (other: SpecEdge) =>
    new SpackEnvError({
      severity: 'error',
      code: 'duplicate-dependency',
      message: `${edge.spec.name || 'An unnamed package'} is a dependency twice, with types that exclude each other (${other.types} and ${edge.types}).`,
      hint: 'Only one to build and another to link or run can be told apart.',
    });
  const same = parent.dependencies.filter((other) => other.spec.name === edge.spec.name);
  let added = edge;
  if (edge.spec.name !== '' && same.length > 0) {
    const existing = same.find(
      (other) => typeWeight(other.types) === typeWeight(edge.types) && sameCondition(other.when, edge.when),
    );
    if (existing) {
      // In place: what the text says of the first one later must still reach it.
      Object.assign(existing.spec, constrain(existing.spec, edge.spec));
      Object.assign(existing, { virtuals: sortedUnique([...existing.virtuals, ...edge.virtuals]) });
      return;
    }
    const clash = same.find((other) => !compatibleTypes(other.types, edge.types));
    if (clash && same.every((other) => sameCondition(other.when, edge.when))) throw conflict(clash);
    added = { ...edge, propagate: false };
  }
  for (const other of same) {
    if (sameCondition(other.when, edge.when) && !compatibleTypes(other.types, edge.types))
      throw conflict(other);
  }
  parent.dependencies = appendEdge(parent.dependencies, added);
}

function assertDirect(spec: Spec, name: string): void {
  for (const edge of spec.dependencies) {
    if (!edge.direct) {
      throw new SpackEnvError({
        severity: 'error',
        code: 'bad-toolchain',
        message: `Toolchain ${name} has "^" in "${formatSpec(spec)}".`,
        hint: 'A toolchain says what a package is built with: write "%".',
      });
    }
    assertDirect(edge.spec, name);
  }
}

/** Puts a condition on every edge, together with the one it has. */
const withCondition = (spec: Spec, when: Spec): Spec => ({
  ...spec,
  dependencies: spec.dependencies.map((edge) => ({
    ...edge,
    spec: withCondition(edge.spec, when),
    when: edge.when ? constrain(edge.when, when) : when,
  })),
});

const withPropagation = (spec: Spec): Spec => ({
  ...spec,
  dependencies: spec.dependencies.map((edge) => ({
    ...edge,
    spec: withPropagation(edge.spec),
    propagate: true,
  })),
});
