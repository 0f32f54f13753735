import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  artifactPaths,
  branchName,
  copyManifest,
  engineNamed,
  type Flags,
  type PipelineFile,
  type PipelineInput,
  type Pruned,
  pushDownstream,
  type Settings,
} from '@stackwright/job-graph';
import type { Caller } from './caller.js';
import { writeCarriedStack } from './carried.js';
import { StackError } from './error.js';
import { chooseMirrors, StackMirrors } from './mirrors.js';
import { copiesPath, planPipeline, writeFiles, writeJobEnvironment } from './pipeline.js';
import { childEnvironment } from './secrets.js';
import type { Stack } from './stack.js';
import { tellStale } from './stale/staleness.js';
import { stackTrust } from './trust.js';
import { IndexedPackages } from './why/changes.js';
import { type ExplainedCause, explainBuilds } from './why/why.js';

export interface GenerateOptions {
  readonly flags: Flags;
  /** The engine to write for; `ci:target` when left out. */
  readonly engine?: string;
  /** File of the pipeline, relative to where the caller is. */
  readonly output?: string;
  /** Go on although the lock lacks roots of the manifest, or has others. */
  readonly stale?: boolean;
}

/** What was written. */
export interface Generated {
  readonly engine: string;
  /** Relative to the project's folder. */
  readonly files: readonly string[];
  readonly pruned: Pruned;
  /** File that lists what a later job is to copy, and where to. */
  readonly copies: { readonly path: string; readonly to: string | undefined } | undefined;
  /** Branch and commit, where the pipeline was pushed to another repository instead. */
  readonly downstream: { readonly branch: string; readonly commit: string } | undefined;
}

/**
 * Writes the pipeline of a stack, with the environment that its jobs need; with `DOWNSTREAM_CI_REPO`, into a branch of
 * that repository.
 * @param onPlanned called with the decisions, warnings and first causes of builds before anything is written
 */
export async function generatePipeline(
  caller: Caller,
  stack: Stack,
  options: GenerateOptions,
  onPlanned: (pruned: Pruned, warnings: readonly string[], causes: readonly ExplainedCause[]) => void,
): Promise<Generated> {
  await tellStale(caller, stack, { refuse: true, stale: options.stale });
  const choice = await chooseMirrors(caller, stack, {});
  const mirrors = new StackMirrors(caller, choice, stackTrust(caller, stack));
  try {
    const known = new IndexedPackages(await stack.graph());
    const { ci, input } = await planPipeline(caller, stack, mirrors, options.flags, {
      onEntry: (entry) => known.add(entry),
    });
    const { settings, pruned } = input;
    if (ci.brokenSpecsUrl) await refuseBroken(caller, ci.brokenSpecsUrl, pruned, settings);
    const engine = engineNamed(options.engine ?? ci.target);
    const place = { stack: stack.folder, from: caller.cwd, output: options.output };
    const causes = explainBuilds(known, pruned.full, (hash) => pruned.graph.jobs.has(hash));
    onPlanned(pruned, engine.warnings(input, place), causes);
    const files = engine.files(input, place);
    const repository = caller.env.DOWNSTREAM_CI_REPO;
    if (engine.name === 'gitlab' && repository) {
      const downstream = await sendDownstream(caller, repository, input, stack, files);
      return { engine: engine.name, files: [], pruned, copies: undefined, downstream };
    }
    await writeFiles(files, settings);
    await writeJobEnvironment(stack, settings);
    const copies = copyManifest(input);
    const path = copiesPath(settings);
    if (copies) await writeFiles([{ path, text: copies }], settings);
    return {
      engine: engine.name,
      files: files.map((file) => file.path),
      pruned,
      copies: copies ? { path, to: settings.copyDestination } : undefined,
      downstream: undefined,
    };
  } finally {
    await mirrors.close();
  }
}

async function sendDownstream(
  caller: Caller,
  repository: string,
  { settings }: PipelineInput,
  stack: Stack,
  files: readonly PipelineFile[],
): Promise<{ branch: string; commit: string }> {
  const { env, signal } = caller;
  const [pipeline, ...more] = files;
  if (!pipeline || more.length > 0) {
    throw new StackError(
      'bad-value',
      'The pipeline is too large for one file, and a server without child pipelines takes no more.',
      { hint: 'Prune more, or leave DOWNSTREAM_CI_REPO away.' },
    );
  }
  const staging = await mkdtemp(join(tmpdir(), 'stackwright-environment-'));
  try {
    await writeCarriedStack(caller, stack, staging);
    const branch = branchName(env.CI_COMMIT_REF_NAME ?? settings.stackName ?? stack.name);
    const commit = await pushDownstream({
      repository,
      branch,
      message: `Pipeline of ${stack.name}${env.CI_COMMIT_SHA ? ` at ${env.CI_COMMIT_SHA}` : ''}`,
      files: new Map([['.gitlab-ci.yml', pipeline.text]]),
      folders: new Map([[artifactPaths(settings).environment, staging]]),
      env: childEnvironment(
        env,
        Object.keys(env).filter((name) => name.startsWith('GIT_')),
      ),
      signal,
    });
    return { branch, commit };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Ends generation when a spec to build is known to be broken, unless everything is to be rebuilt. */
async function refuseBroken(
  { env, signal, note }: Caller,
  url: string,
  { graph }: Pruned,
  settings: Settings,
): Promise<void> {
  if (settings.pipelineType === 'COPY_ONLY') return;
  const { openStore } = await import('@stackwright/storage');
  const store = await openStore(url, { env });
  try {
    if (!store.canList) {
      throw new StackError('bad-value', `ci:broken-specs-url is ${url}, whose entries cannot be listed.`, {
        hint: 'Use file:// or s3://.',
      });
    }
    const hits: string[] = [];
    for await (const { key } of store.list('', { signal })) {
      const job = graph.jobs.get(basename(key));
      if (job) hits.push(`${job.node.name}@${job.node.version}/${job.hash}`);
    }
    if (hits.length === 0) return;
    const text = `Known to be broken (${url}): ${hits.sort().join(', ')}.`;
    if (settings.pruneUpToDate || settings.pruneUntouched) throw new StackError('broken-specs', text);
    note(`Warning: ${text}`);
  } finally {
    await store.close();
  }
}
