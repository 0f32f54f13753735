import { legalText } from './text.js';

/** What a line of a build log complains of. */
export interface Finding {
  readonly kind: 'error' | 'warning';
  /** Line in the log, from 1. */
  readonly line: number;
  readonly text: string;
  /** Where in the sources, if the line says it. */
  readonly file?: string;
  readonly fileLine?: number;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** One phase of a build, as Spack's log tells them apart. */
export interface LogPhase {
  readonly name: string;
  /** First and last line in the log, from 1. */
  readonly from: number;
  readonly to: number;
}

export interface BuildLog {
  readonly lines: readonly string[];
  readonly phases: readonly LogPhase[];
  readonly findings: readonly Finding[];
}

/** Lines of context kept around a finding. */
const context = 6;

const errors = [
  /(?:^|[\s:(])(?:fatal |internal compiler |syntax )?error(?: ?#?[a-z]?\d+)?\s*:/i,
  /^error\[\w+\]:/,
  /^CMake Error\b/,
  /^==> Error\b/,
  /undefined reference to/,
  /(?:^|\/)(?:ld|ld\.\w+): .*(?:cannot find|not found|undefined)/,
  /^(?:g?make|ninja)(?:\[\d+\])?: \*\*\*/,
  /^ninja: build stopped/,
  /^FAILED: /,
  /^Traceback \(most recent call last\)/,
  /^(?:[A-Za-z_.]+)?(?:Error|Exception): /,
  /: (?:command not found|Permission denied|No such file or directory|No space left on device|Killed)\s*$/,
  /^(?:Segmentation fault|Bus error|Aborted|Killed)\b/,
  /^Assertion .*failed/,
];
const warnings = [
  /(?:^|[\s:(])warning(?: ?#?[a-z]?\d+)?\s*:/i,
  /^CMake (?:Deprecation )?Warning\b/,
  /\[-W[a-z]/,
];
/** What looks like one of these and is none. */
const harmless = [
  /\b0 (?:errors?|warnings?)\b/i,
  /^\s*(?:checking|Performing Test|--) /i,
  /-W(?:no-)?error\b(?!.*:\d+:)/,
  /\(ignored\)\s*$/,
];
const places = [
  /^\s*"([^"]+)", line (\d+)/,
  /^CMake (?:Error|Warning)[^:]* at ([^:\s]+):(\d+)/,
  /^\s*File "([^"]+)", line (\d+)/,
  /^([^\s:()][^:()]*)\((\d+)(?:,\d+)?\)\s*:/,
  /^([^\s:][^:]*):(\d+)(?::\d+)?:/,
];

/**
 * Reads a build log of Spack: its phases (`==> NAME: Executing phase: 'PHASE'`), errors and warnings. The patterns are
 * those of common compilers, linkers and build systems; a failed build whose log says nothing of the kind has none.
 */
export function readBuildLog(text: string): BuildLog {
  const lines = legalText(text).replace(/\r\n?/g, '\n').replace(/\n$/, '').split('\n');
  return { lines, phases: phasesOf(lines), findings: findingsOf(lines) };
}

function phasesOf(lines: readonly string[]): LogPhase[] {
  const starts = lines.flatMap((line, at) => {
    const name = /^==> (?:\[[\d.:-]+\] )?\S+: Executing phase: '([^']+)'/.exec(line)?.[1];
    return name === undefined ? [] : [{ name, at }];
  });
  return starts.map(({ name, at }, index) => ({
    name,
    from: at + 1,
    to: starts[index + 1]?.at ?? lines.length,
  }));
}

function findingsOf(lines: readonly string[]): Finding[] {
  return lines.flatMap((text, at) => {
    const kind = kindOf(text);
    if (!kind) return [];
    const place = places.map((pattern) => pattern.exec(text)).find((match) => match !== null);
    return [
      {
        kind,
        line: at + 1,
        text,
        ...(place ? { file: place[1]!, fileLine: Number(place[2]) } : {}),
        before: lines.slice(Math.max(0, at - context), at),
        after: lines.slice(at + 1, at + 1 + context),
      },
    ];
  });
}

function kindOf(line: string): Finding['kind'] | undefined {
  // Nobody writes a message of this length; a minified file on a command line is no place to search in.
  if (line.length > 4000 || harmless.some((pattern) => pattern.test(line))) return undefined;
  if (warnings.some((pattern) => pattern.test(line))) return 'warning';
  return errors.some((pattern) => pattern.test(line)) ? 'error' : undefined;
}
