import type { CommandEntry } from '../command.js';

/** Every command, in the order of the help text. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: 'build a whole stack on this machine: binaries, index, image and report',
    load: () => import('./run.js'),
  },
  {
    name: 'init',
    summary: 'create a stack repository, or add what CI needs to an existing stack',
    load: () => import('./init.js'),
  },
  {
    name: 'doctor',
    summary: 'check this machine and a stack for problems, and suggest fixes',
    load: () => import('./doctor.js'),
  },
  {
    name: 'concretize',
    summary: 'concretize a stack with Spack, which writes spack.lock',
    load: () => import('./concretize.js'),
  },
  {
    name: 'check',
    summary: 'list the errors and warnings of a stack',
    load: () => import('./check.js'),
  },
  {
    name: 'upgrade',
    summary: 'convert a stack of an older Spack to the current form',
    load: () => import('./upgrade.js'),
  },
  {
    name: 'completion',
    summary: 'print a completion script for bash, zsh or fish',
    load: () => import('./completion.js'),
  },
  {
    name: 'spec',
    summary: "parse specs and print them in Spack's canonical form",
    load: () => import('./spec.js'),
  },
  {
    name: 'specs',
    summary: 'list the root specs of a stack, with matrices expanded',
    load: () => import('./specs.js'),
  },
  {
    name: 'graph',
    summary: 'show the job graph of a stack: what has to be built, and why',
    load: () => import('./graph.js'),
  },
  {
    name: 'why',
    summary: 'explain why packages have to be built: what differs from the mirrors or an earlier lock',
    load: () => import('./why.js'),
  },
  {
    name: 'generate',
    summary: 'write a pipeline for GitLab, GitHub or Slurm; accepts the flags of spack ci generate',
    load: () => import('./generate.js'),
  },
  {
    name: 'image',
    summary: 'build, push and inspect the container image of a stack',
    load: () => import('./image.js'),
  },
  {
    name: 'status',
    summary: 'show how a run stands, or what the last one came to',
    load: () => import('./status.js'),
  },
  {
    name: 'simulate',
    summary: 'predict build time and cost for different numbers of runners',
    load: () => import('./simulate.js'),
  },
  {
    name: 'rebuild',
    summary: 'build, sign and push one package unless the mirror has it (one CI job)',
    load: () => import('./rebuild.js'),
  },
  {
    name: 'reproduce',
    summary: 'repeat a failed build from what its job left',
    load: () => import('./reproduce.js'),
  },
  {
    name: 'report',
    summary: 'report the builds of a run to CDash and set the commit status',
    load: () => import('./report.js'),
  },
  {
    name: 'mirror',
    summary: 'maintain mirrors: list, verify, push, pull, index, copy, prune, sign, …',
    load: () => import('./mirror.js'),
  },
  {
    name: 'key',
    summary: 'create, export, import and list signing keys',
    load: () => import('./key.js'),
  },
];
