/** What a line of a build log complains of. */
export interface Finding {
  readonly kind: 'error' | 'warning';
  /** Line in the log, from 1. */
  readonly line: number;
  readonly text: string;
  /** Where in the sources, if the log says it. */
  readonly file?: string;
  readonly fileLine?: number;
  /** It only says that something before it failed: `make: *** [a.o] Error 1`. */
  readonly follows?: boolean;
  /** Lines of the log before and after it, without line ends. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** What is known of a line by itself. */
export interface Complaint {
  readonly kind: Finding['kind'];
  readonly follows?: boolean;
}

/** What looks like a complaint and is none. */
const harmless = [
  /\b0 (?:errors?|warnings?|failed|failures?)\b/i,
  /^\s*(?:checking|Performing Test|--) /i,
  /^(?!.*:\d+:).*-W(?:no-)?error\b/,
  /^# \w+: +0$/,
  /\(ignored\)\s*$/,
  /\*\*\* Waiting for unfinished jobs/,
  /^\s*=* (?:FAILURES|ERRORS) =+\s*$/,
];

const warnings = [
  /(?:^|[\s:(])warning(?: ?#?[a-z]?\d+(?:-[A-Z])?)?\s*:/i,
  /^CMake (?:Deprecation )?Warning\b/,
  // NVIDIA HPC and PGI; Cray; IBM XL; Fujitsu.
  /^(?:NV|PG)[A-Z0-9+]*-W-\d/,
  /^(?:ftn|CC)-\d+ \S+: (?:WARNING|CAUTION)\b/,
  /^"[^"]+", line \d+\.\d+: \d{4}-\d+ \(W\)/,
  /^jwd\d+\w-w\b/,
  /^Warning (?:in .* :|message)/,
];

/** Errors that only say that something before them failed. */
const consequences = [
  /^(?:g?make|ninja)(?:\[\d+\])?: \*\*\* (?!No rule|No targets|missing)/,
  /^ninja: build stopped/,
  /^FAILED: /,
  /^collect2: error: ld returned/,
  /^clang(?:\+\+)?(?:-\d+)?: error: linker command failed/,
  /^ld: symbol\(s\) not found/,
  /^error: (?:could not compile|aborting due to|build failed|test failed)/,
  /^configure: error: \S+ failed for /,
  // pip, setuptools
  /^\s*(?:error: subprocess-exited-with-error|ERROR: Failed (?:building|to build)|error: (?:command|metadata-generation-failed).*)/i,
  /CalledProcessError: /,
  // R
  /^ERROR: (?:configuration|compilation|lazy loading) failed for package|^(?:ERROR|Error): loading failed$|^Execution halted/,
  // What ends a run of tests.
  /^\s*\d+ FAILED TESTS?\b/,
  /^The following tests FAILED:/,
  /\b[1-9]\d* tests? failed out of \d+/,
  /^Errors while running CTest/,
  /^# (?:FAIL|ERROR|XPASS): +[1-9]/,
  /^=+ .*\b[1-9]\d* (?:failed|errors?)\b.* in [\d.:]+s?.*=+$/,
  /^test result: FAILED/,
  /^test \S.* \.\.\. FAILED$/,
  /^\[ {2}FAILED {2}\] \w/,
  /^(?:FAILED|ERROR) \S+\.py\b/,
  /^FAIL(?:\s+\S+\s+(?:[\d.]+s|\[.*\]))?$/,
];

const errors = [
  /(?:^|[\s:(])(?:fatal |internal compiler |syntax )?error(?: ?#?[a-z]?\d+)?\s*:/i,
  /^error\[\w+\]:/,
  /^CMake Error\b/,
  /^==> (?:\[[\d.:-]+\] )?Error\b/,
  /^(?:nvcc|ptxas|nvlink|cicc|cudafe\+\+) (?:fatal|error)\s*:/,
  /^(?:NV|PG)[A-Z0-9+]*-[SF]-\d|^nv\w+-(?:Fatal|Error)-/,
  /^(?:ftn|CC)-\d+ \S+: (?:ERROR|LIMIT|INTERNAL)\b/,
  /^"[^"]+", line \d+\.\d+: \d{4}-\d+ \([SUE]\)/,
  /^jwd\d+\w-[su]\b/,
  /undefined reference to|multiple definition of|relocation truncated to fit|can ?not be used when making/,
  /^Undefined symbols for architecture\b/,
  /(?:^|\/)(?:ld|ld\.\w+): .*(?:cannot find|not found|undefined)/,
  /Library not loaded:/,
  /^(?:g?make|ninja)(?:\[\d+\])?: \*\*\*/,
  /^[^\s:]+:\d+: \*\*\* /,
  // Go names the place and no kind.
  /^(?:vet: )?[^\s:]+\.go:\d+:\d+: /,
  /^go: .*\b(?:not found|cannot|no matching|no required|unknown|missing|invalid)\b/,
  /^--- FAIL: /,
  /^Error in .* :\s*$|^Error in .* : /,
  /^ERROR: dependenc(?:y|ies) .* not available/,
  /^thread '.*' .*panicked at /,
  /^\S+:\d+: Failure$/,
  /\*\*\*(?:Failed|Exception|Timeout|Not Run)\b/,
  /^(?:FAIL|ERROR|XPASS): \S/,
  /^\S+\.py:\d+: \w*(?:Error|Exception|Failed)\b/,
  /^\[ERROR\] /,
  /^\s*Traceback \(most recent call last\)/,
  /^(?:[A-Za-z_.]+)?(?:Error|Exception): /,
  /^(?:syntax error|Can't locate \S+ in @INC).*/,
  /: (?:command not found|Permission denied|No such file or directory|No space left on device|Killed)\s*$/,
  /^\S*sh: (?:line )?\d+: .*: not found\s*$/,
  /^(?:Segmentation fault|Bus error|Aborted|Killed)\b/,
  /^Assertion .*failed|: Assertion .* failed\.?$/,
];

/**
 * A word of every line that any rule can match: lines without one are not looked at, which is what makes reading fast.
 * `Executing phase` and `==> ` are what Spack writes.
 */
export const candidate =
  /error|warn|fatal|undefined|traceback|fail|\*\*\*|build stopped|not found|cannot |can ?not be used|can't locate|permission denied|no such file|no space left|killed|fault|aborted|assertion|exception|xpass|panic|halted|\.go:\d|not loaded|multiple definition|truncated to fit|-[sfw]-[01]|\([suew]\)|jwd\d|==> /gi;

/** What a line complains of. Nobody writes a message of over 4000 characters. */
export function complaintOf(line: string): Complaint | undefined {
  if (line.length > 4000 || harmless.some((rule) => rule.test(line))) return undefined;
  if (warnings.some((rule) => rule.test(line))) return { kind: 'warning' };
  if (consequences.some((rule) => rule.test(line))) return { kind: 'error', follows: true };
  return errors.some((rule) => rule.test(line)) ? { kind: 'error' } : undefined;
}

interface Place {
  readonly file: string;
  readonly fileLine: number;
}

/** Where a line says that it is of. */
const places = [
  /^\s*"([^"]+)", line (\d+)/,
  /^CMake (?:Error|(?:Deprecation )?Warning)[^:]* (?:at|in) ([^:\s]+):(\d+)/,
  /^\s*File "([^"]+)", line (\d+)/,
  /\bFile = ([^,]+), Line = (\d+)/,
  /^\[ERROR\] ([^:]+):\[(\d+),/,
  /^(?:NV|PG)[A-Z0-9+]*-[SFW]-.*\(([^():]+): (\d+)\)\s*$/,
  /^jwd\d+\w-\w\s+"([^"]+)", line (\d+)/,
  /panicked at (?:'.*', )?([^\s:']+):(\d+)/,
  / at (\S+) line (\d+)[.,]/,
  /(?:^|[\s`'])([^\s:()]+\.\w+):(\d+): (?:undefined reference|multiple definition)/,
  /^([^\s:()][^:()]*)\((\d+)(?:[,-]\d+)?\)\s*:/,
  /^(?:vet: )?([^\s:][^:]*):(\d+)(?::\d+)?:/,
];
/** Where a line after it says that: rustc, and Go's tests. */
const placesAfter = [/^\s*--> ([^:]+):(\d+)/, /^\s+(\S+\.go):(\d+): /];
/** Where a line before it says that: gfortran, and Python's frames, the last of which counts. */
const placesBefore = [/^([^\s:][^:]*):(\d+)(?::\d+)?:\s*$/, /^\s*File "([^"]+)", line (\d+)/];

/** The place in the sources that an error is of, by its line or by those around it. */
export function placeOf(
  text: string,
  before: readonly string[],
  after: readonly string[],
): Place | undefined {
  const near = /^(?:error|warning)(?:\[\w+\])?:|^--- FAIL/.test(text) ? after.slice(0, 3) : [];
  const far = /^(?:Fatal |Internal )?(?:Error|Warning):|^[\w.]+(?:Error|Exception)\b/.test(text)
    ? [...before].reverse()
    : [];
  return first(places, [text]) ?? first(placesAfter, near) ?? first(placesBefore, far);
}

function first(patterns: readonly RegExp[], lines: readonly string[]): Place | undefined {
  for (const line of lines) {
    for (const pattern of patterns) {
      const [, file, number] = pattern.exec(line) ?? [];
      if (file !== undefined) return { file, fileLine: Number(number) };
    }
  }
  return undefined;
}
