import type { AssembledImage } from '@stackwright/image';
import {
  criticalPath,
  duration,
  expectedDurations,
  type History,
  type JobGraph,
  type Pruned,
} from '@stackwright/job-graph';
import { type JobState, type RunRecord, renderPage, type Section } from '@stackwright/report';
import prettyBytes from 'pretty-bytes';

/** What a run came to, for its page. */
export interface RunReport {
  readonly title: string;
  readonly graph: JobGraph;
  readonly states: ReadonlyMap<string, JobState>;
  /** Seconds that each job took or was expected to take, where known. */
  readonly durations: ReadonlyMap<string, number>;
  readonly image: AssembledImage | undefined;
  /** Phase and seconds, in order. */
  readonly times: readonly (readonly [string, number])[];
  readonly facts: readonly string[];
  readonly run?: RunRecord;
}

/** A run's page: the graph with each job's state, the image's layers, the times. */
export function runPage({ title, graph, states, durations, image, times, facts, run }: RunReport): string {
  const sections: Section[] = [];
  if (image) sections.push(layerSection(image));
  sections.push({
    title: 'Times',
    paragraphs: facts,
    table: {
      columns: [{ title: 'Phase' }, { title: 'Time', numeric: true }],
      rows: times.map(([phase, seconds]) => [
        phase,
        seconds < 1 ? `${Math.round(seconds * 1000)} ms` : duration(seconds),
      ]),
    },
  });
  return renderPage({
    title,
    graph,
    states,
    sections,
    run,
    critical: durations.size > 0 ? criticalPath(graph, durations) : undefined,
  });
}

/** The page of a run by its record alone, as of a pipeline whose jobs ran elsewhere. */
export function recordPage(run: RunRecord, graph: JobGraph): string {
  const states = new Map(
    run.jobs.map(({ hash, state, seconds, reason }): [string, JobState] => [
      hash,
      { state, seconds, note: reason },
    ]),
  );
  for (const { hash, node } of graph.jobs.values()) {
    if (!states.has(hash))
      states.set(hash, { state: 'skip', note: node.external ? 'external' : 'not built by this run' });
  }
  return renderPage({ title: `${run.stack}: ${run.state}`, graph, states, run });
}

/** The page of a graph: what is to be built and why, and, where build times are known, how long that takes. */
export function graphPage(pruned: Pruned, name: string, history: History): string {
  const durations = expectedDurations(pruned.graph, history);
  const known = history.builds.length > 0;
  const states = decisionStates(pruned, known ? durations : new Map());
  const critical = criticalPath(pruned.graph, durations);
  const time = known ? `, at least ${duration(critical.seconds)}` : ' (no build times known)';
  return renderPage({
    title: `Jobs of ${name}`,
    subtitle: `${pruned.graph.jobs.size} of ${pruned.full.jobs.size} to build${time}`,
    graph: pruned.full,
    states,
    critical: known ? critical : { jobs: critical.jobs },
  });
}

/** What was decided of each job, as states of a page. */
export function decisionStates(
  { decisions }: Pick<Pruned, 'decisions'>,
  durations: ReadonlyMap<string, number>,
): Map<string, JobState> {
  return new Map(
    [...decisions].map(([hash, { action, reason }]): [string, JobState] => [
      hash,
      { state: action, note: reason, seconds: durations.get(hash) },
    ]),
  );
}

function layerSection(image: AssembledImage): Section {
  const own = new Map(image.packages.map((layer) => [layer.layer.descriptor.digest, layer]));
  const total = image.layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  const reused = image.layers.filter((layer) => own.get(layer.descriptor.digest)?.origin === 'mirror').length;
  return {
    title: 'Image',
    paragraphs: [
      `${image.manifest.descriptor.digest}`,
      `${image.layers.length} layers, ${prettyBytes(total)}; ${reused} of them are the mirror's blobs as they are.`,
    ],
    table: {
      columns: [
        { title: 'Layer' },
        { title: 'Size', numeric: true },
        { title: 'Origin' },
        { title: 'Digest' },
      ],
      rows: image.layers.map((layer) => {
        const made = own.get(layer.descriptor.digest);
        const name = made
          ? `${made.package.node.name}@${made.package.node.version}`
          : layer.createdBy.replace('stackwright: ', '') || 'base image';
        const origin = made
          ? made.origin === 'mirror'
            ? "the mirror's blob"
            : 'relocated'
          : layer.createdBy
            ? 'put together'
            : 'base image';
        return [name, prettyBytes(layer.descriptor.size), origin, layer.descriptor.digest.slice(0, 19)];
      }),
    },
  };
}
