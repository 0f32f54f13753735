import { type JobRecord, type RootFailure, type RunRecord, rootFailures, titleOf } from './record.js';
import { excerptOf, verdict } from './summary.js';
import { escaped } from './text.js';

/** Packages that a card names before it folds the others. */
const listed = 12;

/** What became of a run in one line. */
export function verdictHtml(run: RunRecord): string {
  return `<p class="verdict ${run.state === 'done' ? 'done' : 'failed'}">${escaped(verdict(run))}</p>`;
}

/** A card for each failure that others follow from, the one that blocks most first. */
export function failuresHtml(run: RunRecord): string {
  const failures = rootFailures(run);
  if (failures.length === 0) return '';
  return `<section class="failures" aria-labelledby="why">
<h2 id="why">Why it failed</h2>
${failures.map(cardHtml).join('\n')}
</section>`;
}

function cardHtml({ jobs, blocks }: RootFailure): string {
  const [job, ...others] = jobs;
  if (!job) return '';
  const { failure, reason = 'The build failed.', log } = job;
  const excerpt = failure ? excerptOf(failure) : reason;
  const place = failure?.file === undefined ? '' : `${failure.file}:${failure.fileLine ?? ''}`;
  const facts = [
    failure?.phase ? `phase ${escaped(failure.phase)}` : '',
    place ? `<code>${escaped(place)}</code>` : '',
    failure?.line === undefined ? '' : `line ${failure.line} of the log`,
    others.length > 0 ? `also ${escaped(others.map(titleOf).join(', '))}` : '',
  ].filter(Boolean);
  return `<article class="card">
<h3>${jobButton(job)}</h3>
${facts.length > 0 ? `<p class="facts">${facts.join(' · ')}</p>` : ''}
${failure ? linesHtml(failure) : `<pre tabindex="0"><mark>${escaped(reason)}</mark></pre>`}
${blocksHtml(blocks)}
<p class="copies">
${copyButton('Copy command', job.repeat ?? `stackwright rebuild --hash ${job.hash}`)}
${copyButton('Copy issue text', `${titleOf(job)} does not build\n\n${excerpt}\n\n${place}`.trim())}
${log ? copyButton('Copy path of the log', log) : ''}
</p>
${log ? `<p class="facts">Log: <code>${escaped(log)}</code></p>` : ''}
</article>`;
}

function linesHtml({ text, before = [], after = [] }: NonNullable<JobRecord['failure']>): string {
  const plain = (lines: readonly string[]) => lines.map((line) => `${escaped(line)}\n`).join('');
  return `<pre tabindex="0" aria-label="The error in the log">${plain(before)}<mark>${escaped(text)}</mark>\n${plain(after)}</pre>`;
}

function blocksHtml(blocks: readonly JobRecord[]): string {
  if (blocks.length === 0) return '';
  const items = (jobs: readonly JobRecord[]) => jobs.map(jobButton).join(', ');
  const more = blocks.slice(listed);
  const folded =
    more.length > 0 ? `<details><summary>${more.length} more</summary><p>${items(more)}</p></details>` : '';
  return `<p>Blocks ${blocks.length}: ${items(blocks.slice(0, listed))}</p>${folded}`;
}

function jobButton(job: JobRecord): string {
  return `<button type="button" class="link" data-hash="${escaped(job.hash)}">${escaped(titleOf(job))}</button>`;
}

function copyButton(title: string, text: string): string {
  return `<button type="button" class="copy" data-copy="${escaped(text)}">${title}</button>`;
}
