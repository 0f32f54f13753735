import type { Plain } from '../engine/pipeline-input.js';

/** What a GitLab server allows unless its administrator says otherwise, beside the size of a file and the needs. */
export const serverLimits = {
  /** Bytes of one job's configuration with everything that it inherits (GitLab 18.11). */
  job: 1_048_576,
  /** Bytes of memory that a file takes once it is read, `max_yaml_size_bytes`. */
  memory: 2_097_152,
  /** Mappings and lists in each other, `max_yaml_depth`. */
  depth: 100,
} as const;

/** A file of a pipeline as it is written, before it is text. */
export interface FileContent {
  readonly path: string;
  readonly content: Plain;
}

/**
 * What a server with the usual settings would refuse of a pipeline though every file is small enough.
 * @param nested the pipeline that generates is itself a child pipeline
 */
export function limitWarnings(files: readonly FileContent[], nested: boolean): string[] {
  const warnings: string[] = [];
  for (const { path, content } of files) {
    const { bytes, depth } = memoryOf(content);
    if (bytes > serverLimits.memory) {
      warnings.push(
        `GitLab keeps about ${megabytes(bytes)} of ${path} in memory, and takes no more than ${megabytes(serverLimits.memory)} unless its administrator raises max_yaml_size_bytes.`,
      );
    }
    if (depth > serverLimits.depth) {
      warnings.push(
        `${path} has ${depth} lists and mappings in each other, and GitLab reads no more than ${serverLimits.depth} unless its administrator raises max_yaml_depth.`,
      );
    }
    warnings.push(...largeJobs(content));
  }
  // Main pipeline, child, grandchild: GitLab goes no deeper.
  if (nested && files.length > 1) {
    warnings.push(
      'The generating pipeline is a child pipeline, and this one needs children of its own: that is one more than GitLab runs. Generate in the main pipeline.',
    );
  }
  return warnings;
}

/** Whether a server with the usual settings has room for a file. */
export function fitsMemory(content: Plain): boolean {
  return memoryOf(content).bytes <= serverLimits.memory;
}

function largeJobs(content: Plain): string[] {
  const { variables, default: common, stages: _stages, workflow: _workflow, ...jobs } = content;
  return Object.entries(jobs).flatMap(([name, body]) => {
    const job = body as Plain;
    // An estimate first: to write every job a second time would cost more than all else here.
    if (memoryOf(job).bytes + memoryOf(variables).bytes + memoryOf(common).bytes < serverLimits.job / 4)
      return [];
    const merged = { ...(variables as Plain | undefined), ...(job.variables as Plain | undefined) };
    const whole = { ...(common as Plain | undefined), ...job, variables: merged };
    const bytes = Buffer.byteLength(JSON.stringify(whole));
    if (bytes <= serverLimits.job) return [];
    return [
      `The job "${name}" has ${megabytes(bytes)} of configuration, and GitLab takes no more than ${megabytes(serverLimits.job)}: shorten its scripts and variables.`,
    ];
  });
}

interface Size {
  readonly bytes: number;
  readonly depth: number;
}

/**
 * About what Ruby's objects take: 40 bytes each, long texts beside that, 8 bytes an item of a list and 32 an entry of a
 * mapping. An alias counts again wherever it stands.
 */
function memoryOf(value: unknown): Size {
  if (typeof value !== 'object' || value === null) {
    return { bytes: typeof value === 'string' ? textBytes(value) : 0, depth: 0 };
  }
  const known = sizes.get(value);
  if (known) return known;
  const list = Array.isArray(value);
  let bytes = 40;
  let depth = 0;
  for (const key in value) {
    bytes += list ? 8 : 32 + textBytes(key);
    const item = (value as Record<string, unknown>)[key];
    // Most values are texts: an object for the size of each would be most of the work.
    if (typeof item === 'string') bytes += textBytes(item);
    else {
      const inner = memoryOf(item);
      bytes += inner.bytes;
      depth = Math.max(depth, inner.depth);
    }
  }
  const size = { bytes, depth: depth + 1 };
  sizes.set(value, size);
  return size;
}

function textBytes({ length }: string): number {
  return 40 + (length > 23 ? length : 0);
}

/** What many jobs share is one object, and is measured once. */
const sizes = new WeakMap<object, Size>();

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
