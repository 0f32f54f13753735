/** What a phase of long work tells while it goes on. */
export interface PhaseReport {
  /** The latest state, for example `3 of 9 built, 2 running`; replaces the one before on a terminal. */
  update(text: string): void;
  /** That something was started: told where no terminal shows what runs. */
  started(text: string): void;
  /** Something that stays to be read: a job that ended, a warning. */
  line(text: string): void;
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
    work({ update() {}, started() {}, line() {}, output() {}, result() {}, failed() {} }),
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
