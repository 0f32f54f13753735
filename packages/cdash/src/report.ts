import type { BuildLog } from './log.js';

/** Which build of CDash something belongs to: CDash takes the same four for the same build. */
export interface BuildIdentity {
  readonly project: string;
  readonly site: string;
  readonly name: string;
  /** `YYYYMMDD-HHMM-GROUP`; everything behind the second dash is the group. */
  readonly stamp: string;
}

/** Which machine built. */
export interface Host {
  readonly name: string;
  /** `Linux` */
  readonly system?: string;
  readonly release?: string;
  /** `x86_64` */
  readonly platform?: string;
  /** Microarchitecture, `zen2`. */
  readonly target?: string;
  readonly compiler?: { readonly name: string; readonly version: string };
}

export interface PhaseTime {
  readonly name: string;
  readonly seconds: number;
}

export interface TestResult {
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'skipped';
  readonly command?: string;
  readonly seconds?: number;
  readonly output?: string;
}

/** The build of one package, whatever became of it. */
export interface PackageReport {
  readonly build: BuildIdentity;
  /** Program and version that write the report. */
  readonly generator: string;
  readonly host: Host;
  readonly started: Date;
  readonly seconds: number;
  /** `blocked`: not built because another package failed; `skipped`: not built for another reason. */
  readonly outcome: 'passed' | 'failed' | 'blocked' | 'skipped';
  /** Why it failed or was not built, in a sentence or two. */
  readonly failure?: string;
  /** The command that built it. */
  readonly command: string;
  readonly log: BuildLog;
  /** Seconds of each phase, where known, in order. */
  readonly times?: readonly PhaseTime[];
  readonly tests?: readonly TestResult[];
  /** Revision of the stack. */
  readonly revision?: string;
  /** Labels to find builds by, such as the package's name. */
  readonly labels?: readonly string[];
  readonly notes?: readonly { readonly name: string; readonly text: string }[];
  /** Files to attach, by a name with an extension. */
  readonly attachments?: readonly { readonly name: string; readonly content: Uint8Array }[];
}
