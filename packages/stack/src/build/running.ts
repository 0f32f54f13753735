import {
  type Durations,
  expectedDurations,
  type History,
  type JobGraph,
  recordedDurations,
  remainingTime,
} from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { BuildsState } from '../caller.js';

/** Phases of recipes by the words that people use for them; other phases keep their own names. */
const usual: Readonly<Record<string, string>> = {
  autoreconf: 'configure',
  bootstrap: 'configure',
  cmake: 'configure',
  edit: 'configure',
  initconfig: 'configure',
  meson: 'configure',
  qmake: 'configure',
};

const stamp = String.raw`^==> (?:\[[^\]]*\] )?`;
const phases: readonly [RegExp, (name: string) => string][] = [
  [new RegExp(`${stamp}(?:Fetching|Using cached|Installing|Extracting) `), () => 'fetch'],
  [new RegExp(`${stamp}\\S+: Executing phase: '([\\w-]+)'`), (name) => usual[name] ?? name],
  [new RegExp(`${stamp}(?:\\S+: )?(?:RUN-TESTS|Testing package)`), () => 'test'],
];
/** Characters of an unfinished line that are kept: a line that tells of a phase is short. */
const longestLine = 4096;

/** Reads which phase a build is in from what it prints, in pieces. @returns undefined where a piece tells of none */
export function phaseReader(): (piece: string) => string | undefined {
  let rest = '';
  return (piece) => {
    const lines = (rest + piece).split('\n');
    rest = (lines.pop() ?? '').slice(0, longestLine);
    let last: string | undefined;
    for (const line of lines) {
      if (!line.startsWith('==> ')) continue;
      for (const [pattern, phase] of phases) {
        const match = pattern.exec(line);
        if (match) last = phase(match[1] ?? '');
      }
    }
    return last;
  };
}

/** What a run builds at the moment, and how long the rest is expected to take. */
export class RunningBuilds {
  private readonly running = new Map<
    string,
    { readonly node: ConcreteNode; readonly since: number; phase: string }
  >();
  private readonly ended = new Map<string, number>();
  private readonly recorded: Durations;
  /** Of each job, for the order too. */
  readonly durations: Durations;

  constructor(
    private readonly graph: JobGraph,
    private readonly history: History,
    private readonly places: number,
  ) {
    this.recorded = recordedDurations(graph, history);
    this.durations = expectedDurations(graph, history);
  }

  start(node: ConcreteNode): void {
    this.running.set(node.hash, { node, since: performance.now(), phase: 'fetch' });
  }

  phase({ hash }: ConcreteNode, phase: string): void {
    const one = this.running.get(hash);
    if (one) one.phase = phase;
  }

  /** @param seconds that it took; 0 for what is not run */
  end({ hash }: ConcreteNode, seconds: number): void {
    this.running.delete(hash);
    this.ended.set(hash, seconds);
  }

  state(): BuildsState {
    const now = performance.now();
    const running = [...this.running.values()].map(({ node, since, phase }) => ({
      title: `${node.name}@${node.version}`,
      phase,
      elapsed: (now - since) / 1000,
      expected: this.recorded.get(node.hash),
    }));
    return {
      ended: this.ended.size,
      total: this.graph.jobs.size,
      places: this.places,
      running,
      left: this.left(now),
    };
  }

  /** Undefined before anything is known. */
  private left(now: number): number | undefined {
    if (this.ended.size === 0 && this.history.builds.length === 0) return undefined;
    return remainingTime(this.graph, {
      durations: this.durations,
      ended: this.ended,
      running: new Map([...this.running].map(([hash, { since }]) => [hash, (now - since) / 1000])),
      concurrency: this.places,
    });
  }
}
