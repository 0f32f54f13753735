import { readFileSync } from 'node:fs';
import { duration, type Job, type JobGraph, levels } from '@stackwright/job-graph';
import { failuresHtml, verdictHtml } from './failures.js';
import { layoutOf } from './page-layout.js';
import type { RunRecord } from './record.js';
import { escaped } from './text.js';
import { timelineHtml } from './timeline.js';

/** How a job stands. The page shows each by colour, sign and word. */
export type State =
  | 'build'
  | 'waiting'
  | 'running'
  | 'done'
  | 'reused'
  | 'failed'
  | 'blocked'
  | 'cancelled'
  | 'skip';

export interface JobState {
  readonly state: State;
  /** Why, or what went wrong: one sentence. */
  readonly note?: string;
  /** Seconds that it took, or is expected to take. */
  readonly seconds?: number;
}

/** A titled part of the page below the graph. All text is escaped. */
export interface Section {
  readonly title: string;
  readonly paragraphs?: readonly string[];
  readonly table?: {
    readonly columns: readonly { readonly title: string; readonly numeric?: boolean }[];
    readonly rows: readonly (readonly (string | number)[])[];
  };
}

export interface PageOptions {
  readonly title: string;
  /** One line under the title. */
  readonly subtitle?: string;
  readonly graph: JobGraph;
  /** By hash; a job that is not in it is shown as waiting. */
  readonly states: ReadonlyMap<string, JobState>;
  /** The critical path, first job first, and its seconds where times are known. */
  readonly critical?: { readonly jobs: readonly string[]; readonly seconds?: number };
  readonly sections?: readonly Section[];
  /** The run that the page is of: why it failed, and what was built when. */
  readonly run?: RunRecord;
}

/** Jobs of a graph that is shown at once; a larger one is folded. */
const folded = 200;

/** Every state with its sign and word, in the order of the legend. */
const known: readonly (readonly [State, sign: string, word: string])[] = [
  ['failed', '✕', 'failed'],
  ['blocked', '⊘', 'blocked'],
  ['cancelled', '■', 'cancelled'],
  ['running', '▶', 'running'],
  ['build', '●', 'to build'],
  ['waiting', '○', 'waiting'],
  ['done', '✓', 'built'],
  ['reused', '↺', 'reused'],
  ['skip', '–', 'left out'],
];

/**
 * One HTML page with the graph, a table of all jobs and further sections. It needs no network and no other file,
 * follows the reader's light or dark setting, and its bytes depend on the input only.
 */
export function renderPage(options: PageOptions): string {
  const { title, subtitle, graph, states, critical, sections = [], run } = options;
  const path = critical && critical.jobs.length > 0 ? critical : undefined;
  const rows = rowsOf(graph, states, new Set(path?.jobs));
  const asset = (name: string) => readFileSync(new URL(`../assets/${name}`, import.meta.url), 'utf8');
  const counts = known.flatMap(([state, sign, word]) => {
    const count = rows.filter((row) => row.state === state).length;
    return count > 0 ? [{ state, sign, word, count }] : [];
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>
${asset('page.css')}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
${subtitle ? `<p>${escaped(subtitle)}</p>` : ''}
${run ? verdictHtml(run) : ''}
<ul class="tiles">
<li><b>${rows.length}</b> ${rows.length === 1 ? 'job' : 'jobs'}</li>
${path ? `<li class="critical">${path.seconds === undefined ? '' : `<b>${duration(path.seconds)}</b> on the `}critical path of ${path.jobs.length} jobs</li>` : ''}
</ul>
</header>
<main>
${run ? failuresHtml(run) : ''}
<section class="graph" aria-label="Job graph">
<div class="bar">
<input type="search" id="find" placeholder="Find a job by name, version or hash" aria-label="Find a job">
<output id="found" aria-live="polite"></output>
<span class="zoom"><button type="button" id="out" aria-label="Zoom out">−</button><button type="button" id="in" aria-label="Zoom in">+</button><button type="button" id="fit">Fit</button></span>
<span class="filters" role="group" aria-label="Show only">
${counts
  .map(
    ({ state, sign, word, count }) =>
      `<button type="button" class="filter ${state}" data-state="${state}" aria-pressed="false"><i aria-hidden="true">${sign}</i>${word} <b>${count}</b></button>`,
  )
  .join('\n')}
${path ? '<button type="button" class="filter critical" id="critical" aria-pressed="false"><i aria-hidden="true">◆</i>critical path</button>' : ''}
</span>
</div>
<details id="fold"${rows.length > folded ? '' : ' open'}><summary>Graph of ${rows.length} jobs</summary>
<div class="stage">
<canvas id="canvas" tabindex="0" role="img" aria-label="Graph of ${rows.length} jobs; the table below lists them all"></canvas>
<aside id="detail" hidden></aside>
<p class="hint">Drag to move, ctrl and wheel or pinch to zoom, click a job for what it needs. Round boxes are roots.</p>
</div>
</details>
</section>
${run ? timelineHtml(run, new Set(path?.jobs)) : ''}
${sections.map(sectionHtml).join('\n')}
<section>
<h2>Jobs</h2>
<div class="scroll jobs">
<table id="jobs">
<thead><tr>${columns.map(headHtml).join('')}</tr></thead>
<tbody>
${rows.map(rowHtml).join('\n')}
</tbody>
</table>
</div>
</section>
</main>
<script type="application/json" id="data">${embed(graphData(graph, rows, path?.jobs ?? []))}</script>
<script>
${asset('page.js')}</script>
</body>
</html>
`;
}

/** Columns of the table of jobs, and whether they are numbers. */
const columns: readonly (readonly [title: string, numeric?: boolean])[] = [
  ['State'],
  ['Job'],
  ['Version'],
  ['Hash'],
  ['Stage', true],
  ['Time', true],
  ['Note'],
];

function headHtml([title, numeric]: (typeof columns)[number]): string {
  return `<th${numeric ? ' class="number"' : ''} scope="col"><button type="button" class="sort">${title}</button></th>`;
}

interface Row {
  readonly job: Job;
  readonly state: State;
  readonly sign: string;
  readonly word: string;
  readonly note: string;
  readonly time: string;
  readonly seconds: number | undefined;
  readonly level: number;
  readonly critical: boolean;
}

function rowsOf(
  graph: JobGraph,
  states: ReadonlyMap<string, JobState>,
  critical: ReadonlySet<string>,
): Row[] {
  const level = levels(graph);
  const looks = new Map(known.map(([state, sign, word]) => [state, { sign, word }]));
  return [...graph.jobs.values()].map((job) => {
    const { state, note = '', seconds } = states.get(job.hash) ?? { state: 'waiting' as const };
    return {
      job,
      state,
      ...looks.get(state)!,
      note,
      seconds,
      time: seconds === undefined ? '' : duration(seconds),
      level: level.get(job.hash)!,
      critical: critical.has(job.hash),
    };
  });
}

function rowHtml(row: Row, at: number): string {
  const { job, state, sign, word } = row;
  const path = row.critical
    ? ' <span class="mark" title="on the critical path">◆<span class="unseen"> critical</span></span>'
    : '';
  return (
    `<tr data-at="${at}"><td><span class="state ${state}"><i aria-hidden="true">${sign}</i>${word}</span></td>` +
    `<th scope="row"><button type="button">${escaped(job.node.name)}</button>${path}</th>` +
    `<td>${escaped(job.node.version)}</td><td><code>${job.hash.slice(0, 7)}</code></td>` +
    `<td class="number">${row.level}</td><td class="number" data-value="${row.seconds ?? -1}">${row.time}</td><td>${escaped(row.note)}</td></tr>`
  );
}

function sectionHtml({ title, paragraphs = [], table }: Section): string {
  const cell = (value: string | number, at: number) =>
    `<td${table!.columns[at]?.numeric ? ' class="number"' : ''}>${escaped(String(value))}</td>`;
  const head = table?.columns
    .map((column) => `<th${column.numeric ? ' class="number"' : ''}>${escaped(column.title)}</th>`)
    .join('');
  return `<section>
<h2>${escaped(title)}</h2>
${paragraphs.map((text) => `<p>${escaped(text)}</p>`).join('\n')}
${
  table
    ? `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>
${table.rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n')}
</tbody></table></div>`
    : ''
}
</section>`;
}

/** What the script on the page draws from: jobs as rows, edges as pairs of row numbers. */
function graphData(graph: JobGraph, rows: readonly Row[], critical: readonly string[]) {
  const layout = layoutOf(graph);
  const index = new Map(rows.map((row, at) => [row.job.hash, at]));
  const at = (hash: string) => index.get(hash)!;
  return {
    columns: layout.columns,
    rows: layout.rows,
    jobs: rows.map((row) => {
      const { column, row: line } = layout.places.get(row.job.hash)!;
      const { node, hash, root, dependencies } = row.job;
      return {
        name: node.name,
        version: node.version,
        hash,
        state: row.state,
        sign: row.sign,
        word: row.word,
        note: row.note,
        time: row.time,
        level: row.level,
        root,
        x: column,
        y: line,
        needs: dependencies.map(at),
      };
    }),
    edges: layout.edges.map(([from, to]) => [at(from), at(to)]),
    critical: critical.filter((hash) => index.has(hash)).map(at),
  };
}

/** JSON that cannot end the script element it stands in. */
function embed(value: unknown): string {
  return JSON.stringify(value).replace(/</g, '\\u003c');
}
