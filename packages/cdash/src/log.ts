import { createReadStream } from 'node:fs';
import { type Complaint, candidate, complaintOf, type Finding, placeOf } from './finding.js';
import { legalText } from './text.js';

/** One phase of a build, as Spack's log tells them apart. What stands before the first has an empty name. */
export interface LogPhase {
  readonly name: string;
  /** First and last line in the log, from 1. */
  readonly from: number;
  readonly to: number;
  /** How many errors and warnings it has; of many, the log's findings are the first and the last. */
  readonly errors: number;
  readonly warnings: number;
  /** What it printed; of over 128 KiB the first and the last half. */
  readonly text: string;
}

export interface BuildLog {
  /** How many lines there are. */
  readonly lines: number;
  readonly phases: readonly LogPhase[];
  /** In order. Of more than 100 errors or warnings of a phase, the first 51 and the last 50. */
  readonly findings: readonly Finding[];
  /** The first error that does not only say that something before it failed. */
  readonly cause?: Finding;
  /** The last lines. */
  readonly end: readonly string[];
}

export interface LogOptions {
  /** Number of the first line; 1 when left out. */
  readonly line?: number;
  /** The last line that starts so is where this build's own log starts; what stands before is of other packages. */
  readonly start?: string;
}

/** Lines of context kept around a finding. */
const context = 6;
/** Lines that are looked at after one that may be an error: a traceback is one finding. */
const ahead = 200;
/** Characters that are searched at a time. */
const blockSize = 1024 * 1024;
/** Characters of a line: what follows is left out. A minified file on a command line is no place to search in. */
const longestLine = 64 * 1024;
/** Characters of a line that are kept as context. */
const longestContext = 1000;
/** Findings of a kind and a phase that are kept from its start and from its end. */
const kept = 50;
/** Characters of a phase that are kept from its start and from its end. */
const excerpt = 64 * 1024;
/** Lines of the log's end that are kept. */
const endLines = 60;

const phaseLine = /^==> (?:\[[\d.:-]+\] )?\S+: Executing phase: '([^']+)'/;
/** What Spack prints after a failed build: the error again, and what its own search of the log found. */
const epilogueLine = /^==> (?:\[[\d.:-]+\] )?Error\b/;

/** Reads a build log that is in memory. */
export function readBuildLog(text: string, options: LogOptions = {}): BuildLog {
  const reader = new LogReader(options);
  reader.add(text);
  return reader.end();
}

/** Reads a build log as it comes, of any size. */
export async function readLogTexts(
  texts: AsyncIterable<string> | Iterable<string>,
  options: LogOptions = {},
): Promise<BuildLog> {
  const reader = new LogReader(options);
  for await (const text of texts) reader.add(text);
  return reader.end();
}

/** The text of a file in pieces. @throws the system's error for a file that is missing or cannot be read */
export function logTexts(file: string): AsyncIterable<string> {
  return createReadStream(file, { encoding: 'utf8', highWaterMark: blockSize });
}

/** The first and the last of many. */
class Ends {
  readonly #first: Finding[] = [];
  readonly #last: Finding[] = [];
  count = 0;

  add(finding: Finding): void {
    this.count += 1;
    if (this.#first.length <= kept) this.#first.push(finding);
    else if (this.#last.push(finding) > kept) this.#last.shift();
  }

  get all(): Finding[] {
    return [...this.#first, ...this.#last];
  }
}

/** A phase while it is read. */
class Phase {
  readonly errors = new Ends();
  readonly warnings = new Ends();
  #head = '';
  #tail = '';
  #length = 0;

  constructor(
    readonly name: string,
    readonly from: number,
  ) {}

  add(text: string): void {
    this.#length += text.length;
    const room = excerpt - this.#head.length;
    if (room > 0) this.#head = own(this.#head + text.slice(0, room));
    if (text.length > room) this.#tail = own((this.#tail + text.slice(Math.max(0, room))).slice(-excerpt));
  }

  get text(): string {
    const left = this.#length - this.#head.length - this.#tail.length;
    const gap = left > 0 ? `\n[… ${left} characters are left out here …]\n` : '';
    return legalText(`${this.#head}${gap}${this.#tail}`).replace(/\r\n?/g, '\n').replace(/\n$/, '');
  }

  ended(to: number): LogPhase {
    const { name, from, text, errors, warnings } = this;
    return { name, from, to, errors: errors.count, warnings: warnings.count, text };
  }
}

/**
 * Finds phases, errors and warnings in a build log of Spack that comes in pieces. The patterns are those of common
 * compilers, linkers, build systems and test programs; memory does not grow with the log.
 */
export class LogReader {
  /** Some lines that were read, and what was not read yet. */
  #text = '';
  /** Where in it reading goes on, and the number of the line there. */
  #at = 0;
  #line: number;
  /** Where in it this build's own log starts: what stands before is no context. */
  #floor = 0;
  /** An over-long line goes on: what comes is left out until it ends. */
  #dropping = false;
  /** Of Spack's own messages after a failure. */
  #epilogue: Finding | undefined;
  #inEpilogue = false;
  #cause: Finding | undefined;
  #consequence: Finding | undefined;
  #phases: Phase[] = [];
  readonly #start: string | undefined;

  constructor({ line = 1, start }: LogOptions = {}) {
    this.#line = line;
    this.#start = start;
    this.#phases = [new Phase('', line)];
  }

  /** Takes the next piece of the log; it may end anywhere. */
  add(text: string): void {
    // Pieces of their own, so that no more than a block is searched at a time, whatever the caller has in memory.
    for (let from = 0; from < text.length; from += blockSize) this.#add(text.slice(from, from + blockSize));
  }

  /** What the log says, once all of it was added. */
  end(): BuildLog {
    this.#read(this.#text.length);
    const last = this.#text.length > 0 && !this.#text.endsWith('\n');
    const lines = last ? this.#line : this.#line - 1;
    const phases = this.#finished(lines);
    const cause = this.#cause ?? this.#consequence ?? this.#epilogue;
    return {
      lines,
      phases,
      findings: this.#findings(),
      cause,
      end: (phases.at(-1)?.text ?? '').split('\n').slice(-endLines),
    };
  }

  #add(text: string): void {
    const from = this.#dropping ? text.indexOf('\n') : 0;
    if (from < 0) return;
    this.#dropping = false;
    this.#text += text.slice(from);
    const tail = this.#text.lastIndexOf('\n') + 1;
    if (this.#text.length - tail > longestLine) {
      this.#text = this.#text.slice(0, tail + longestLine);
      this.#dropping = true;
    }
    if (this.#text.length - this.#at >= blockSize) this.#read(this.#enough());
  }

  /** Up to where reading is safe: the lines that belong to an error are there. */
  #enough(): number {
    let at = this.#text.lastIndexOf('\n');
    const newest = at + 1;
    for (let lines = 0; lines < ahead && at > this.#at; lines += 1) at = this.#text.lastIndexOf('\n', at - 1);
    return at > this.#at ? at + 1 : Math.max(newest, this.#at);
  }

  /** Reads what is there up to `to`, and forgets it but for some lines of context. */
  #read(to: number): void {
    let counted = this.#at;
    // Up to where the text belongs to the last phase.
    let given = this.#at;
    // Up to where lines were looked at, which may be behind `to`.
    let seen = this.#at;
    for (let match = next(this.#text, seen); match < to; match = next(this.#text, seen)) {
      const start = this.#text.lastIndexOf('\n', match - 1) + 1;
      this.#line += countLines(this.#text, counted, start);
      counted = start;
      const end = endOfLine(this.#text, match);
      // A lone carriage return overwrites the line: a progress bar.
      const whole = this.#text.slice(start, end);
      const shown = whole.lastIndexOf('\r', match - start) + 1;
      const line = plain(whole.slice(shown).split('\r', 1)[0] ?? '');
      const phase = phaseLine.exec(line)?.[1];
      if (phase !== undefined || this.#startsHere(line)) {
        this.#current.add(this.#text.slice(given, start));
        given = start;
        if (phase === undefined) this.#floor = start;
        this.#begin(phase);
      }
      seen = Math.min(this.#look(line, start, end) + 1, this.#text.length);
    }
    seen = Math.max(seen, to);
    this.#current.add(this.#text.slice(given, seen));
    this.#line += countLines(this.#text, counted, seen);
    const keep = startOfContext(this.#text, seen);
    this.#text = this.#text.slice(keep);
    this.#at = seen - keep;
    this.#floor = Math.max(0, this.#floor - keep);
  }

  get #current(): Phase {
    return this.#phases.at(-1) as Phase;
  }

  #startsHere(line: string): boolean {
    return this.#start !== undefined && line.startsWith(this.#start);
  }

  #begin(name: string | undefined): void {
    this.#inEpilogue = false;
    if (name !== undefined) {
      this.#phases.push(new Phase(name, this.#line));
      return;
    }
    this.#phases = [new Phase('', this.#line)];
    this.#cause = undefined;
    this.#consequence = undefined;
    this.#epilogue = undefined;
  }

  /** Looks at a line that may be a finding. @returns where the last line that belongs to it ends */
  #look(line: string, start: number, end: number): number {
    if (epilogueLine.test(line)) {
      this.#epilogue ??= this.#finding({ kind: 'error' }, line, this.#line, start, end);
      this.#inEpilogue = true;
    } else if (line.startsWith('==> ') && !/^==> (?:Warning|Error)\b/.test(line)) this.#inEpilogue = false;
    if (this.#inEpilogue) return end;
    const complaint = complaintOf(line);
    if (!complaint) return end;
    if (/^\s*Traceback \(most/.test(line)) return this.#traceback(line, start, end);
    this.#note(this.#finding(complaint, line, this.#line, start, end));
    return end;
  }

  /** A traceback with those that it is chained to is one finding: the exception at its end. */
  #traceback(header: string, start: number, end: number): number {
    const indent = header.search(/\S/);
    let found: { line: string; number: number; start: number; end: number } | undefined;
    let from = end + 1;
    let open = true;
    for (let at = 1; at <= ahead && from < this.#text.length; at += 1) {
      const stop = endOfLine(this.#text, from);
      const line = plain(this.#text.slice(from, stop));
      const isChained = /^\s*(?:During handling of the above|The above exception was|Traceback \(most)/.test(
        line,
      );
      if (isChained) open = true;
      else if (line.trim() !== '' && line.search(/\S/) <= indent) {
        if (!open) break;
        found = { line: line.trim(), number: this.#line + at, start: from, end: stop };
        open = false;
      }
      from = stop + 1;
    }
    const one = found ?? { line: header.trim(), number: this.#line, start, end };
    const follows = complaintOf(one.line)?.follows;
    this.#note(this.#finding({ kind: 'error', follows }, one.line, one.number, one.start, one.end));
    return one.end;
  }

  #finding({ kind, follows }: Complaint, text: string, line: number, start: number, end: number): Finding {
    const before = linesBefore(this.#text, start, this.#floor);
    const after = linesAfter(this.#text, end);
    const place = placeOf(text, before, after);
    return ownFinding({ kind, line, text, ...place, follows, before, after });
  }

  #note(finding: Finding): void {
    const { kind, follows } = finding;
    (kind === 'error' ? this.#current.errors : this.#current.warnings).add(finding);
    if (kind === 'warning') return;
    if (follows) this.#consequence ??= finding;
    else this.#cause ??= finding;
  }

  #finished(lines: number): LogPhase[] {
    const phases = this.#phases.map((phase, at) =>
      phase.ended((this.#phases[at + 1]?.from ?? lines + 1) - 1),
    );
    // Nothing stands before the first phase.
    return phases.length > 1 && (phases[0]?.to ?? 0) < (phases[0]?.from ?? 0) ? phases.slice(1) : phases;
  }

  /** What Spack says after a failure counts where the build itself said nothing. */
  #findings(): Finding[] {
    const all = this.#phases
      .flatMap(({ errors, warnings }) => [...errors.all, ...warnings.all])
      .sort((a, b) => a.line - b.line);
    return this.#epilogue && !all.some(({ kind }) => kind === 'error') ? [...all, this.#epilogue] : all;
  }
}

/** Where the next word is that may be of a finding. */
function next(text: string, from: number): number {
  candidate.lastIndex = from;
  return candidate.exec(text)?.index ?? Number.POSITIVE_INFINITY;
}

function plain(line: string): string {
  return legalText(line);
}

function countLines(text: string, from: number, to: number): number {
  let lines = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

function endOfLine(text: string, from: number): number {
  const at = text.indexOf('\n', from);
  return at < 0 ? text.length : at;
}

function startOfContext(text: string, at: number): number {
  let start = at;
  for (let lines = 0; lines < context && start > 0; lines += 1) start = text.lastIndexOf('\n', start - 2) + 1;
  return start;
}

function linesBefore(text: string, start: number, floor: number): string[] {
  const from = Math.max(floor, startOfContext(text, start));
  return from >= start ? [] : contextLines(text.slice(from, start - 1));
}

function linesAfter(text: string, end: number): string[] {
  let to = end;
  for (let lines = 0; lines < context && to < text.length; lines += 1) to = endOfLine(text, to + 1);
  const after = text.slice(end + 1, to);
  return after === '' ? [] : contextLines(after.replace(/\n$/, ''));
}

function contextLines(text: string): string[] {
  return text.split('\n').map((line) => plain(line.replace(/\r$/, '').slice(0, longestContext)));
}

/** A copy: a part of a text would keep the whole of it in memory. */
function own(text: string): string {
  return Buffer.from(text).toString();
}

function ownFinding(finding: Finding): Finding {
  return JSON.parse(JSON.stringify(finding)) as Finding;
}
