import { duration } from '@stackwright/job-graph';
import type { BuildsState } from '@stackwright/stack';
import { cut } from './live-region.js';

/** How far builds are, in one line. */
export function buildsLine({ ended, total, running, left }: BuildsState): string {
  const names = running.map(({ title, elapsed }) => `${title} ${whole(elapsed)}`);
  return [
    `${ended} of ${total}`,
    ...(names.length > 0 ? [`building ${names.join(', ')}`] : []),
    ...(left !== undefined && left >= 1 ? [`about ${whole(left)} left`] : []),
  ].join(', ');
}

/** Characters of the bar. */
const bar = { least: 5, most: 40 };
const phaseWidth = 10;
const timeWidth = 26;

/**
 * How far builds are, as a bar and a row for each package that is built. As many rows whatever runs, so that what stands
 * above does not jump.
 * @param elapsed seconds since the first build started
 */
export function buildsView(
  title: string,
  { ended, total, places, running, left }: BuildsState,
  { elapsed, columns, rows }: { readonly elapsed: number; readonly columns: number; readonly rows: number },
): string[] {
  const facts = [
    `${ended} of ${total}`,
    whole(elapsed),
    ...(left !== undefined && left >= 1 ? [`about ${whole(left)} left`] : []),
  ].join(' · ');
  const room = columns - title.length - facts.length - 4;
  const length = Math.min(bar.most, Math.max(bar.least, room));
  const full = total > 0 ? Math.round((ended / total) * length) : length;
  const head = `${title}  ${'█'.repeat(full)}${'░'.repeat(length - full)}  ${facts}`;
  const height = Math.min(places, total, Math.max(1, rows - 3));
  const nameWidth = Math.max(10, Math.min(60, columns - phaseWidth - timeWidth - 4));
  const lines = running.map((one) => {
    const time = `${whole(one.elapsed)}${one.expected === undefined ? '' : ` of ~${whole(one.expected)}`}`;
    return `  ${cut(one.title, nameWidth).padEnd(nameWidth)} ${cut(one.phase, phaseWidth).padEnd(phaseWidth)} ${time}`;
  });
  const shown =
    lines.length > height
      ? [...lines.slice(0, height - 1), `  and ${lines.length - height + 1} more`]
      : lines;
  return [head, ...shown, ...new Array<string>(height - shown.length).fill('')];
}

/** A time that is shown again and again: no parts of a second. */
function whole(seconds: number): string {
  return seconds < 10 ? `${Math.floor(seconds)} s` : duration(Math.floor(seconds));
}
