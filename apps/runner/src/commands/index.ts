import type { CommandEntry } from '../command.js';

/** Every command, in the order of the help text. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: 'build a whole stack here: binaries, index, image, report',
    load: () => import('./run.js'),
  },
  {
    name: 'init',
    summary: 'a new stack, with the files that CI needs',
    load: () => import('./init.js'),
  },
  {
    name: 'doctor',
    summary: 'examine this machine and a stack: what is missing, and what to do',
    load: () => import('./doctor.js'),
  },
  {
    name: 'concretize',
    summary: 'let Spack decide what is built, and write spack.lock',
    load: () => import('./concretize.js'),
  },
  {
    name: 'check',
    summary: 'list everything that is wrong or doubtful in a stack',
    load: () => import('./check.js'),
  },
  {
    name: 'upgrade',
    summary: 'bring a stack of an older Spack to the current form',
    load: () => import('./upgrade.js'),
  },
  {
    name: 'spec',
    summary: "parse specs and print them in Spack's canonical form",
    load: () => import('./spec.js'),
  },
  {
    name: 'specs',
    summary: 'list the root specs of a stack, with matrices multiplied out',
    load: () => import('./specs.js'),
  },
  {
    name: 'graph',
    summary: 'show the jobs of a stack, which are needed and why',
    load: () => import('./graph.js'),
  },
  {
    name: 'generate',
    summary: 'write a pipeline for GitLab, GitHub or Slurm; takes the flags of spack ci generate',
    load: () => import('./generate.js'),
  },
  {
    name: 'image',
    summary: "assemble the image of a stack from its mirror's blobs, push it, look into it",
    load: () => import('./image.js'),
  },
  {
    name: 'simulate',
    summary: 'predict time and cost of a stack for numbers of runners',
    load: () => import('./simulate.js'),
  },
  {
    name: 'rebuild',
    summary: 'one job: build a package unless the mirror has it, sign it, push it',
    load: () => import('./rebuild.js'),
  },
  {
    name: 'report',
    summary: "send a run's builds to CDash, put a status on the commit",
    load: () => import('./report.js'),
  },
  {
    name: 'mirror',
    summary: 'list, verify, push, pull, index, copy, prune, sign, publish and migrate mirrors',
    load: () => import('./mirror.js'),
  },
  {
    name: 'key',
    summary: 'create, export, import and list signing keys',
    load: () => import('./key.js'),
  },
];
