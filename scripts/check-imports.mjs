// Keeps the design's direction: a package imports only packages that stand below it, through their public entry.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// Top to bottom; the two at the end import no sibling.
const order = [
  'runner',
  'image-hook',
  'stack',
  'image',
  'report',
  'job-graph',
  'buildcache',
  'spack',
  'cdash',
  'oci',
  'storage',
  'http',
  'testing',
  'spack-env',
];
// What other projects can take alone: the packages that each may import.
const few = {
  report: ['job-graph', 'cdash'],
  cdash: ['http'],
  oci: ['http'],
  storage: ['http'],
  http: [],
  'spack-env': [],
};
const root = fileURLToPath(new URL('..', import.meta.url));
const problems = [];

for (const name of order) {
  const folder = join(root, name === 'runner' || name === 'image-hook' ? 'apps' : 'packages', name);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const declared = new Set(
    Object.keys(manifest.dependencies ?? {}).filter((dep) => dep.startsWith('@stackwright/')),
  );
  const forTests = new Set(Object.keys(manifest.devDependencies ?? {}));
  const references = JSON.parse(readFileSync(join(folder, 'tsconfig.json'), 'utf8')).references.map((ref) =>
    ref.path.split('/').pop(),
  );
  for (const dep of declared) {
    const below = dep.slice('@stackwright/'.length);
    if (order.indexOf(below) <= order.indexOf(name) || (few[name] && !few[name].includes(below)))
      problems.push(`${name}/package.json depends on ${dep}, which it may not import`);
    if (!references.includes(below)) problems.push(`${name}/tsconfig.json lacks a reference to ${below}`);
  }
  for (const file of sources(join(folder, 'src'))) {
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (/^@stackwright\/[^/]+\/./.test(target))
        problems.push(`${file}: imports ${target}, past the public entry`);
      else if (
        target.startsWith('@stackwright/') &&
        !declared.has(target) &&
        !(isTest(file) && forTests.has(target))
      )
        problems.push(`${file}: imports ${target}, which package.json does not declare`);
    }
  }
}

function isTest(file) {
  return /(\.test|\.test\.support|\/testing)\.ts$/.test(file);
}

// Tests and scripts may use another package's fixtures and test folder, but never reach into its sources.
for (const top of ['packages', 'apps', 'bench', 'scripts']) {
  for (const file of sources(join(root, top))) {
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const [, own] = /^(?:packages|apps)\/([^/]+)\//.exec(relative(root, file)) ?? [];
      const [, other] =
        /^(?:packages|apps)\/([^/]+)\/src\//.exec(relative(root, resolve(dirname(file), target))) ?? [];
      if (other && other !== own) problems.push(`${file}: imports ${target}, the sources of another package`);
    }
  }
}

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!['node_modules', 'dist', 'bundle'].includes(entry.name)) yield* sources(path);
    } else if (/\.(tsx?|mjs)$/.test(entry.name)) yield path;
  }
}

for (const problem of problems) console.error(problem.replace(root, ''));
if (problems.length > 0) process.exit(1);
console.log(`imports: ${order.length} packages, all in the design's direction`);
