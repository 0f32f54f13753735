import { duration } from '@stackwright/job-graph';
import { countsOf, type JobFailure, type RunRecord, rootFailures, titleOf } from './record.js';

/** Failures that a summary or a comment shows; the page has all. */
const shown = 10;
/** Names that a line lists. */
const listed = 5;

/** What became of a run in one line: `1 failed (zlib), 3 blocked, 2 built in 25 s, 40 reused`. */
export function verdict(record: Pick<RunRecord, 'jobs'>): string {
  const { failed, blocked, built, reused, open, seconds } = countsOf(record);
  if (failed + blocked + built + open === 0) return 'nothing had to be built';
  const names = record.jobs.filter(({ state }) => state === 'failed').map(({ name }) => name);
  return [
    failed > 0 ? `${failed} failed (${some(names)})` : '',
    blocked > 0 ? `${blocked} blocked` : '',
    built > 0 || open === 0 ? `${built} built in ${duration(seconds)}` : '',
    open > 0 ? `${open} to build` : '',
    reused > 0 ? `${reused} reused` : '',
  ]
    .filter(Boolean)
    .join(', ');
}

export interface SummaryOptions {
  /** Page that has more. */
  readonly link?: string;
  /** Seconds that what is to be built is expected to take, where known. */
  readonly expected?: number;
}

/** A run as Markdown: for `GITHUB_STEP_SUMMARY`, a check run, a comment. What comes from logs stands in code. */
export function summaryMarkdown(record: RunRecord, { link, expected }: SummaryOptions = {}): string {
  const failures = rootFailures(record);
  const more = failures.length - shown;
  const parts = [
    `### ${plain(record.stack)}: ${plain(verdict(record))}`,
    expected === undefined ? '' : `Expected to take about ${duration(expected)}.`,
    ...failures.slice(0, shown).map(({ jobs, blocks }) => {
      const titles = some(jobs.map(titleOf));
      const what = jobs[0]?.failure ?? { text: jobs[0]?.reason ?? 'The build failed.' };
      const blocked = blocks.length > 0 ? `\n\nBlocks ${plain(some(blocks.map(({ name }) => name)))}.` : '';
      return `**${plain(titles)} failed**${placeOf(what)}\n\n${code(excerptOf(what))}${blocked}`;
    }),
    more > 0 ? `${more} more failures are on the page.` : '',
    openPart(record),
    link === undefined ? '' : `[Page of the run](${encodeURI(link).replaceAll(')', '%29')})`,
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

/** A line that only a comment of ours has, so that it is found again. */
export function commentMark(stack: string): string {
  return `<!-- stackwright: ${stack.replaceAll(/[^\w.-]/g, '_')} -->`;
}

/** A comment on a pull request: before the build what will be built and why, after it what happened. */
export function commentMarkdown(record: RunRecord, options: SummaryOptions = {}): string {
  return `${commentMark(record.stack)}\n${summaryMarkdown(record, options)}`;
}

/** What is still to be built, and why. */
function openPart({ jobs }: RunRecord): string {
  const open = jobs.filter(({ state }) => state === 'build' || state === 'waiting' || state === 'running');
  if (open.length === 0) return '';
  const rows = open
    .slice(0, 50)
    .map(
      (job) =>
        `| ${plain(titleOf(job))} | ${plain(job.reason ?? '')} | ${job.seconds === undefined ? '' : duration(job.seconds)} |`,
    );
  const more = open.length > rows.length ? `\n\nand ${open.length - rows.length} more` : '';
  return `| to build | why | expected |\n| --- | --- | --: |\n${rows.join('\n')}${more}`;
}

/** The lines around an error, with the error marked. */
export function excerptOf({ text, before = [], after = [] }: JobFailure): string {
  return [...before.map((line) => `  ${line}`), `> ${text}`, ...after.map((line) => `  ${line}`)].join('\n');
}

function placeOf({ file, fileLine, phase }: JobFailure): string {
  const place = file === undefined ? '' : ` at \`${file.replaceAll('`', "'")}:${fileLine ?? ''}\``;
  return `${phase ? ` in phase ${plain(phase)}` : ''}${place}`;
}

function some(names: readonly string[]): string {
  const first = names.slice(0, listed).join(', ');
  return names.length > listed ? `${first} and ${names.length - listed} more` : first;
}

/** Text that Markdown and HTML leave as it is, and that mentions nobody. */
function plain(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[\\`*_{}[\]<>()#+!|~&]/g, (sign) => `&#${sign.charCodeAt(0)};`)
    .replaceAll('@', '@\u200b');
}

/** A block that no text can end. */
function code(text: string): string {
  const ticks = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length)) + 1;
  const fence = '`'.repeat(ticks);
  return `${fence}text\n${text}\n${fence}`;
}
