// Keeps the design's direction: a package imports only packages that stand below it, through their public entry.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Top to bottom; the two at the end import no sibling.
const order = [
  'runner',
  'image-hook',
  'stack',
  'image',
  'job-graph',
  'buildcache',
  'spack',
  'cdash',
  'oci',
  'storage',
  'http',
  'spack-env',
];
// What other projects can take alone: the packages that each may import.
const few = { cdash: ['http'], oci: ['http'], storage: ['http'], http: [], 'spack-env': [] };
const root = fileURLToPath(new URL('..', import.meta.url));
const problems = [];

for (const name of order) {
  const folder = join(root, name === 'runner' || name === 'image-hook' ? 'apps' : 'packages', name);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const declared = new Set(
    Object.keys(manifest.dependencies ?? {}).filter((dep) => dep.startsWith('@stackwright/')),
  );
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
      else if (target.startsWith('@stackwright/') && !declared.has(target))
        problems.push(`${file}: imports ${target}, which package.json does not declare`);
    }
  }
}

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

for (const problem of problems) console.error(problem.replace(root, ''));
if (problems.length > 0) process.exit(1);
console.log(`imports: ${order.length} packages, all in the design's direction`);
