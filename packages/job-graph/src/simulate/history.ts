import { JobGraphError } from '../error.js';
import type { Job, JobGraph } from '../graph/graph.js';

/** How long one build took. */
export interface BuildTime {
  readonly hash: string;
  readonly name: string;
  /** Empty when the record does not say. */
  readonly version: string;
  readonly seconds: number;
  /** Unix time in seconds when it ended; 0 when unknown. */
  readonly at: number;
}

/** Build times of earlier runs, the newest last. What `history.json` beside a run's state holds. */
export interface History {
  readonly builds: readonly BuildTime[];
}

export const noHistory: History = { builds: [] };

/** What a package that nothing is known of is expected to take, in seconds. */
export const unknownDuration = 60;

const kept = 5;

/** Adds build times, keeping the newest few of each spec and of each package, so that the file stays small. */
export function remember(history: History, builds: readonly BuildTime[]): History {
  const all = [...history.builds, ...builds].sort((a, b) => a.at - b.at);
  const perHash = new Map<string, number>();
  const perName = new Map<string, number>();
  const newest = all.reverse().filter((build) => {
    const sameHash = (perHash.get(build.hash) ?? 0) + 1;
    const sameName = (perName.get(build.name) ?? 0) + 1;
    perHash.set(build.hash, sameHash);
    perName.set(build.name, sameName);
    return sameHash <= kept && (sameHash === 1 || sameName <= 4 * kept);
  });
  return { builds: newest.reverse() };
}

export function writeHistory(history: History): string {
  return `${JSON.stringify({ version: 1, builds: history.builds }, null, 1)}\n`;
}

/**
 * Reads our own history file, or what Spack writes about times: one `install_times.json`
 * (`{name, hash, total, cache, phases}`), or a list of them as its CI scripts aggregate.
 * or given times as `{"NAME", "NAME@VERSION" or "/HASH": seconds}`. Installs from a mirror (`cache: true`) are no builds and are left out.
 * @throws JobGraphError (`input`) for anything else
 */
export function parseHistory(text: string, file = 'history.json'): History {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new JobGraphError('broken-json', `${file}: is not valid JSON: ${(error as Error).message}.`);
  }
  const object = json as { version?: unknown; builds?: unknown };
  const given = givenTimes(json);
  if (given) return given;
  const list = Array.isArray(json) ? json : Array.isArray(object?.builds) ? object.builds : [json];
  if (Array.isArray(object?.builds) && object.version !== 1) {
    throw new JobGraphError('unknown-version', `${file}: has version ${object.version}; 1 is known.`);
  }
  const builds = list.flatMap((entry: unknown): BuildTime[] => {
    const { name, hash, version, seconds, total, at, cache } = (entry ?? {}) as Record<string, unknown>;
    const time = seconds ?? total;
    if (typeof name !== 'string' || typeof hash !== 'string' || typeof time !== 'number' || !(time >= 0)) {
      throw new JobGraphError('not-a-history', `${file}: holds an entry without name, hash and seconds.`, {
        hint: "Give a history file of Stackwright or Spack's install_times.json.",
      });
    }
    if (cache === true) return [];
    return [
      {
        name,
        hash,
        version: typeof version === 'string' ? version : '',
        seconds: time,
        at: typeof at === 'number' ? at : 0,
      },
    ];
  });
  return { builds };
}

/**
 * Seconds for each job: the median of earlier builds of the same spec, else of the package in that version, else of
 * the package, else of all that is known, else `unknownDuration`.
 */
export function expectedDurations(graph: JobGraph, history: History): Map<string, number> {
  const recorded = recordedDurations(graph, history);
  const overall = median(history.builds.map((build) => build.seconds)) ?? unknownDuration;
  return new Map([...graph.jobs.keys()].map((hash) => [hash, recorded.get(hash) ?? overall]));
}

/**
 * Seconds for each job whose package was built before: the median of earlier builds of the same spec, else of the package
 * in that version, else of the package.
 */
export function recordedDurations(graph: JobGraph, history: History): Map<string, number> {
  const by = {
    hash: new Map<string, number[]>(),
    version: new Map<string, number[]>(),
    name: new Map<string, number[]>(),
  };
  for (const build of history.builds) {
    push(by.hash, build.hash, build.seconds);
    push(by.version, `${build.name}@${build.version}`, build.seconds);
    push(by.name, build.name, build.seconds);
  }
  const expect = ({ hash, node }: Job) =>
    median(by.hash.get(hash)) ??
    median(by.version.get(`${node.name}@${node.version}`)) ??
    median(by.name.get(node.name));
  return new Map(
    [...graph.jobs.values()].flatMap((job) => {
      const seconds = expect(job);
      return seconds === undefined ? [] : [[job.hash, seconds] as const];
    }),
  );
}

function givenTimes(json: unknown): History | undefined {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined;
  const entries = Object.entries(json);
  if (entries.length === 0 || !entries.every(([, value]) => typeof value === 'number' && value >= 0)) {
    return undefined;
  }
  const builds = entries.map(([key, seconds]): BuildTime => {
    if (key.startsWith('/')) return { hash: key.slice(1), name: '', version: '', seconds, at: 0 };
    const [name = '', version = ''] = key.split('@');
    return { hash: '', name, version, seconds, at: 0 };
  });
  return { builds };
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

function median(values: readonly number[] | undefined): number | undefined {
  if (!values || values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
