import { type Attributes, commands, isMapping, toPlain } from '../ci/attributes.js';
import { JobGraphError } from '../error.js';
import { type Job, shortName } from '../graph/graph.js';
import { type JobSetup, type SetupLines, setupOf } from './setup.js';

/** What a job does, as engines other than GitLab need it. */
export interface JobScript {
  /** What comes first: brings what the other commands call. */
  readonly setup: SetupLines;
  readonly before: readonly string[];
  readonly script: readonly string[];
  readonly after: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly image: string | undefined;
  /** Seconds, where the section sets a `timeout`. */
  readonly timeout: number | undefined;
}

/** Where a job runs, and for what. */
export interface JobPlace {
  /** The folder of the environment, for `{env_dir}`. */
  readonly environment: string;
  /** What jobs are to bring by themselves; nothing when left out. */
  readonly setup?: JobSetup;
  /** Whose script it is, for messages. */
  readonly job?: Job;
}

/** @throws JobGraphError (`input`) for attributes without a script, or with a timeout that is no time */
export function jobScript(
  attributes: Attributes | undefined,
  { environment, setup, job }: JobPlace,
): JobScript {
  const at = (key: string) => attributes?.get(key)?.value;
  const fill = (lines: readonly string[]) => lines.map((line) => line.replaceAll('{env_dir}', environment));
  if (at('script') === undefined) throw noScript(job);
  const image = at('image');
  const name = isMapping(image) ? image.get('name')?.value : image;
  return {
    setup: setupOf(attributes, setup),
    before: commands(at('before_script')),
    script: fill(commands(at('script'))),
    after: commands(at('after_script')),
    variables: Object.fromEntries(
      Object.entries((toPlain(at('variables') ?? null) as Record<string, unknown> | null) ?? {}).map(
        ([key, value]) => [key, textOf(value)],
      ),
    ),
    tags: commands(at('tags')),
    image: typeof name === 'string' ? name : undefined,
    timeout: at('timeout') === undefined ? undefined : secondsOf(String(at('timeout'))),
  };
}

export function noScript(job: Job | undefined): JobGraphError {
  return new JobGraphError(
    'no-script',
    `The ci section leaves ${job ? `the job of ${shortName(job.node)}` : 'a job'} without a script.`,
    { hint: 'Look for a build-job-remove with "script::".' },
  );
}

/** A variable's text, also from GitLab's long form `{value: …}`. */
function textOf(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'value' in value) return String(value.value);
  return value === null ? '' : String(value);
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Reads GitLab's way to write times: `3600`, `90 minutes`, `1h 30m`. */
function secondsOf(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)\s*([a-z]*)/gi)];
  const rest = text.replace(/(\d+(?:\.\d+)?)\s*([a-z]*)/gi, '').replace(/,|\band\b/g, '');
  let total = 0;
  for (const [, number, word = ''] of parts) {
    const unit = word === '' ? 1 : word.startsWith('mo') ? 2_592_000 : units[word.charAt(0).toLowerCase()];
    if (unit === undefined) total = Number.NaN;
    else total += Number(number) * unit;
  }
  if (parts.length > 0 && rest.trim() === '' && Number.isFinite(total)) return total;
  throw new JobGraphError('bad-timeout', `"timeout: ${text}" is no time.`, {
    hint: 'Write it like "1h 30m".',
  });
}
