import { writeFile } from 'node:fs/promises';
import type { AssembledImage } from '@stackwright/image';
import {
  criticalPath,
  duration,
  type JobGraph,
  type JobState,
  renderPage,
  type Section,
} from '@stackwright/job-graph';

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
}

/** Writes the run's page: the graph with each job's state, the image's layers, the times. */
export async function writeReport(report: RunReport, file: string): Promise<void> {
  const { title, graph, states, durations, image, times, facts } = report;
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
  const built = durations.size > 0;
  await writeFile(
    file,
    renderPage({
      title,
      graph,
      states,
      sections,
      ...(built ? { critical: criticalPath(graph, durations) } : {}),
    }),
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
      `${image.layers.length} layers, ${bytes(total)}; ${reused} of them are the mirror's blobs as they are.`,
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
        return [name, bytes(layer.descriptor.size), origin, layer.descriptor.digest.slice(0, 19)];
      }),
    },
  };
}

/** A size for people, in powers of 1000. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = count / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
