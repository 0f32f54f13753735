import { duration } from '@stackwright/job-graph';
import { type JobRecord, type RunRecord, titleOf } from './record.js';
import { escaped } from './text.js';

/** Builds that a timeline shows, the longest ones. */
const most = 300;

interface Span {
  readonly job: JobRecord;
  /** Seconds since the first build started. */
  readonly from: number;
  readonly seconds: number;
}

/** What was built when, side by side in lanes; empty where no times are known. */
export function timelineHtml(run: RunRecord, critical: ReadonlySet<string>): string {
  const all = spansOf(run);
  const end = Math.max(0, ...all.map(({ from, seconds }) => from + seconds));
  if (all.length < 2 || end === 0) return '';
  const spans = [...all]
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, most)
    .sort((a, b) => a.from - b.from);
  const left = all.length - spans.length;
  const lanes = lanesOf(spans);
  const share = (seconds: number) => `${((seconds / end) * 100).toFixed(3)}%`;
  const bar = ({ job, from, seconds }: Span) => {
    const isCritical = critical.has(job.hash);
    const label = `${titleOf(job)}: ${duration(seconds)}, started after ${duration(from)}${isCritical ? ', on the critical path' : ''}`;
    return `<button type="button" class="span ${job.state}${isCritical ? ' path' : ''}" data-hash="${escaped(job.hash)}" style="left:${share(from)};width:${share(seconds)}" title="${escaped(label)}" aria-label="${escaped(label)}"><span aria-hidden="true">${escaped(job.name)}</span></button>`;
  };
  return `<section aria-labelledby="when">
<h2 id="when">Timeline</h2>
<p class="facts">${lanes.length} ${lanes.length === 1 ? 'lane' : 'lanes'} over ${duration(end)}${left > 0 ? `; the ${left} shortest builds are left out` : ''}</p>
<div class="lanes">
${lanes.map((lane) => `<div class="lane">${lane.map(bar).join('')}</div>`).join('\n')}
</div>
</section>`;
}

function spansOf({ jobs }: RunRecord): Span[] {
  const timed = jobs.flatMap((job) => {
    const at = Date.parse(job.started ?? '') / 1000;
    return Number.isNaN(at) || job.seconds === undefined ? [] : [{ job, at, seconds: job.seconds }];
  });
  const first = Math.min(...timed.map(({ at }) => at));
  return timed.map(({ job, at, seconds }) => ({ job, from: at - first, seconds }));
}

/** Each build in the first lane that is free when it starts. */
function lanesOf(spans: readonly Span[]): Span[][] {
  const lanes: Span[][] = [];
  for (const span of spans) {
    const free = lanes.find((lane) => {
      const last = lane.at(-1);
      return last === undefined || last.from + last.seconds <= span.from;
    });
    if (free) free.push(span);
    else lanes.push([span]);
  }
  return lanes;
}
