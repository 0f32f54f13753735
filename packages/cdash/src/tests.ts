import type { TestResult } from './report.js';
import { legalText } from './text.js';

/** Characters of a test's output that are kept, from its end: an assertion stands there. */
const longest = 64 * 1024;
/** Characters of a line. */
const longestLine = 8 * 1024;

const started = /^==> \[([\d.:-]+)\] (?:test: ([^:\s]+)|RUN-TESTS: (\S+ tests \[\w+\]))/;
const ended = /^(PASSED|FAILED|SKIPPED|NO_TESTS): (?:[\w-]+::)?([\w-]+)(?:: (.*))?$/;
const said = /^==> \[([\d.:-]+)\] (.*)/;
const statuses = { PASSED: 'passed', FAILED: 'failed', SKIPPED: 'skipped', NO_TESTS: 'skipped' } as const;

interface Part {
  readonly name: string;
  readonly at: number | undefined;
  status: TestResult['status'] | undefined;
  command: string | undefined;
  output: string;
}

/**
 * Finds the tests of a package in what Spack prints while it runs them: `==> [TIME] test: NAME: PURPOSE`, what the test
 * prints, and `PASSED: NAME`. A test without an end has failed. The text may come in pieces.
 */
export class TestReader {
  #rest = '';
  #now: number | undefined;
  #open: Part | undefined;
  readonly #tests: TestResult[] = [];

  add(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, longestLine);
    for (const line of lines) this.#line(line);
  }

  /** The tests in the order in which they started. */
  end(): TestResult[] {
    if (this.#rest !== '') this.#line(this.#rest);
    this.#close();
    return this.#tests;
  }

  #line(text: string): void {
    // Most lines of a build are of no test.
    if (!this.#open && !text.startsWith('==> ')) return;
    const line = legalText(text.slice(0, longestLine));
    const start = started.exec(line);
    const message = said.exec(line);
    if (message) this.#now = secondsOf(message[1] ?? '');
    if (start) {
      this.#close();
      this.#open = {
        name: start[2] ?? start[3] ?? '',
        at: this.#now,
        status: undefined,
        command: undefined,
        output: '',
      };
      return;
    }
    const open = this.#open;
    if (!open) return;
    if (/^==> (?:\[[\d.:-]+\] )?(?:Completed testing|\S+: Executing phase: )/.test(line))
      return void this.#finish('passed');
    const end = ended.exec(line);
    if (end && (end[2] === open.name || open.name.startsWith(end[2] ?? ''))) {
      open.status = statuses[end[1] as keyof typeof statuses];
    }
    if (message?.[2]?.startsWith("'")) open.command ??= message[2];
    open.output = `${open.output}${line}\n`.slice(-longest);
  }

  /** Ends the open test; one without an own end is said to be as given. */
  #finish(otherwise: TestResult['status']): void {
    if (this.#open) this.#open.status ??= otherwise;
    this.#close();
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (!open) return;
    const { name, at, status = 'failed', command, output } = open;
    const seconds = at !== undefined && this.#now !== undefined ? Math.max(0, this.#now - at) : undefined;
    this.#tests.push({ name, status, command, seconds, output });
  }
}

/** Seconds of Spack's `2022-12-06-20:21:46.550943`. */
function secondsOf(text: string): number | undefined {
  const [, day, clock] = /^(\d{4}-\d\d-\d\d)-([\d:.]+)$/.exec(text) ?? [];
  const time = Date.parse(`${day}T${clock?.slice(0, 12)}Z`);
  return Number.isNaN(time) ? undefined : time / 1000;
}
