/** A package that is being built. */
export interface RunningBuild {
  readonly title: string;
  /** `fetch`, `configure`, `build`, `install`, `test`, `push`, or what the recipe calls it. */
  readonly phase: string;
  /** Seconds since it started. */
  readonly elapsed: number;
  /** Seconds that earlier builds of the package took; undefined where none is known. */
  readonly expected: number | undefined;
}

/** How far the builds of a run are. */
export interface BuildsState {
  readonly ended: number;
  readonly total: number;
  /** How many packages are built at a time. */
  readonly places: number;
  readonly running: readonly RunningBuild[];
  /** Seconds that the rest is expected to take; undefined before anything is known. */
  readonly left: number | undefined;
}

/** What a phase of long work tells while it goes on. */
export interface PhaseReport {
  /** The latest state, for example `3 of 9 built, 2 running`; replaces the one before on a terminal. */
  update(text: string): void;
  /** That something was started: told where no terminal shows what runs. */
  started(text: string): void;
  /** Something that stays to be read: a job that ended, a warning. */
  line(text: string): void;
  /** How far the builds are; replaces the state before. */
  builds(state: BuildsState): void;
  /** A piece of what a job prints, without secrets, as it comes. */
  output(text: string): void;
  /** What came of the phase, for its last line. */
  result(text: string): void;
  /** The same, where the phase came to its end but not everything in it went well. */
  failed(text: string): void;
}

/** Shows the phases of long work one after the other. */
export interface Progress {
  phase<T>(title: string, work: (report: PhaseReport) => Promise<T>): Promise<T>;
}

/** What the driver may use of whoever calls it. Nothing else of the process around it is read or written. */
export interface Caller {
  readonly env: NodeJS.ProcessEnv;
  /** What relative paths of options are relative to. */
  readonly cwd: string;
  readonly signal: AbortSignal;
  /** Takes a line for a person: a note, or a warning that starts with "Warning: ". */
  readonly note: (line: string) => void;
  readonly progress: Progress;
}

/** Shows nothing. */
export const silent: Progress = {
  phase: (_title, work) =>
    work({ update() {}, started() {}, line() {}, builds() {}, output() {}, result() {}, failed() {} }),
};

/** The same progress that also notes how many seconds each phase took, in order. */
export function timed(progress: Progress, times: [string, number][]): Progress {
  return {
    phase: async (title, work) => {
      const started = performance.now();
      try {
        return await progress.phase(title, work);
      } finally {
        times.push([title, (performance.now() - started) / 1000]);
      }
    },
  };
}
