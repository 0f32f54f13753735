import { describeFindings, type Finding } from '@stackwright/spack-env';

/** Why a graph or a pipeline could not be made. */
export type JobGraphErrorCode =
  /** The specs depend on each other. */
  | 'cycle'
  /** An edge ends at a spec that the graph does not hold. */
  | 'missing-node'
  /** A root that was asked for is not in the lock. */
  | 'unknown-root'
  /** The `ci` section of the configuration has errors; `findings` has all of them. */
  | 'bad-ci'
  /** The configuration has no `ci` section. */
  | 'no-ci'
  /** The `ci` section leaves a job without a script. */
  | 'no-script'
  /** A `timeout` is not a duration. */
  | 'bad-timeout'
  /** A job's request for processors or memory is not an amount. */
  | 'bad-resource'
  /** A name that is written into a script or workflow has characters that do not belong there. */
  | 'bad-name'
  /** An environment variable of the pipeline has a value that it cannot have. */
  | 'bad-variable'
  /** A copy-only pipeline has no mirror to copy from. */
  | 'no-source-mirror'
  /** No engine has this name. */
  | 'unknown-engine'
  /** The stack is outside of the repository that the pipeline is for. */
  | 'outside-repository'
  /** The engine does not run a pipeline of this size. */
  | 'too-large'
  /** The manifest is not valid YAML. */
  | 'broken-yaml'
  /** The manifest has no `spack:` section. */
  | 'no-spack'
  /** A file of recorded build times is not valid JSON. */
  | 'broken-json'
  /** A file of recorded build times has an unknown version. */
  | 'unknown-version'
  /** A file holds no recorded build times. */
  | 'not-a-history'
  /** A number of runners that is not 1 or more. */
  | 'runners'
  /** A failure rate that is not between 0 and 1. */
  | 'failure-rate'
  /** A number of jobs at a time that is not 1 or more. */
  | 'concurrency'
  /** git is not installed. */
  | 'no-git'
  /** git cannot read the repository. */
  | 'git'
  /** The repository does not hold a revision, mostly because the clone is shallow. */
  | 'no-revision'
  /** The pipeline could not be pushed to the downstream repository. */
  | 'downstream';

const kinds: Record<JobGraphErrorCode, JobGraphError['kind']> = {
  cycle: 'input',
  'missing-node': 'input',
  'unknown-root': 'input',
  'bad-ci': 'input',
  'no-ci': 'input',
  'no-script': 'input',
  'bad-timeout': 'input',
  'bad-resource': 'input',
  'bad-name': 'input',
  'bad-variable': 'input',
  'no-source-mirror': 'input',
  'unknown-engine': 'input',
  'outside-repository': 'input',
  'too-large': 'input',
  'broken-yaml': 'input',
  'no-spack': 'input',
  'broken-json': 'input',
  'unknown-version': 'input',
  'not-a-history': 'input',
  runners: 'input',
  'failure-rate': 'input',
  concurrency: 'input',
  'no-git': 'missing',
  git: 'missing',
  'no-revision': 'missing',
  downstream: 'failed',
};

/** The only error that this package throws for bad input or a graph that cannot be run. */
export class JobGraphError extends Error {
  override readonly name = 'JobGraphError';
  /** `input`: bad input; `missing`: something needed is not there; `failed`: the work failed. */
  readonly kind: 'input' | 'missing' | 'failed';
  readonly hint: string | undefined;
  /** All that is wrong, where several things can be. */
  readonly findings: readonly Finding[];

  constructor(
    readonly code: JobGraphErrorCode,
    message: string,
    readonly details: { readonly hint?: string; readonly findings?: readonly Finding[] } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.kind = kinds[code];
    this.hint = details.hint;
    this.findings = details.findings ?? [];
  }

  /** Several findings about one input as one error. */
  static of(code: JobGraphErrorCode, findings: readonly Finding[]): JobGraphError {
    const { message, hint } = describeFindings(findings);
    return new JobGraphError(code, message, { hint, findings });
  }
}

/** @param what the name is, for example `variable` */
export function badName(what: string, name: string): JobGraphError {
  return new JobGraphError('bad-name', `${JSON.stringify(name)} cannot be the ${what}.`, {
    hint: 'Letters, digits and underscores are safe.',
  });
}
