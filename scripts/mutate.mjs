// Changes the source of a package in many small ways and runs its tests against each change (Stryker):
//   npm run mutate -- spack-env [FILE...]
// What survives shows a gap in the tests, or is explained in docs/mutants.md. Not a part of `npm test`: it takes minutes.
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Stryker } from '@stryker-mutator/core';

/** The files of each package whose rules are worth it: what they decide shows nowhere else. */
const files = {
  'spack-env': ['src/spec/version.ts', 'src/spec/parse.ts', 'src/spec/token.ts', 'src/spec/relation.ts'],
  image: ['src/merge.ts:40-55'],
  'job-graph': ['src/prune/prune.ts', 'src/graph/reduction.ts', 'src/gitlab/needs.ts', 'src/engine/waves.ts'],
};

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [name, ...own] = process.argv.slice(2);
if (!name || !readdirSync(join(root, 'packages')).includes(name)) {
  console.error(
    `usage: npm run mutate -- PACKAGE [FILE...]\nFiles are set up for ${Object.keys(files).join(', ')}.`,
  );
  process.exit(2);
}
const mutate = own.length > 0 ? own : files[name];
if (!mutate) {
  console.error(`No files are set up for ${name}: name them, relative to packages/${name}.`);
  process.exit(2);
}
process.chdir(join(root, 'packages', name));
await new Stryker({
  mutate,
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  // The packages of the workspace are found by links in node_modules, which a copy would not have.
  inPlace: true,
  coverageAnalysis: 'perTest',
  concurrency: 2,
  // Most of these rules run while a test file is read, so nearly every mutant counts as static.
  warnings: { slow: false },
  reporters: ['clear-text', 'progress', 'json'],
  jsonReporter: { fileName: '.mutants.json' },
  clearTextReporter: { logTests: false, reportTests: false },
  tempDirName: '.stryker-tmp',
}).runMutationTest();
