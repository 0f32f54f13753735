// Writes the licence that each published package carries, as npm puts no file of another folder into a tarball.
//   node scripts/licences.mjs            writes LICENSE into each package
//   node scripts/licences.mjs --check    fails where one is absent or differs
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { publishedPackages } from './packages.mjs';

const root = new URL('..', import.meta.url);
const read = (path) => readFileSync(new URL(path, root), 'utf8');
const text = `Licensed under either of the Apache License, Version 2.0, or the MIT license, as you like.
SPDX-License-Identifier: Apache-2.0 OR MIT

${read('LICENSE-MIT').trim()}

${'-'.repeat(80)}

${read('LICENSE-APACHE').trim()}
`;

const wrong = publishedPackages().filter((folder) => {
  try {
    return read(`${folder}/LICENSE`) !== text;
  } catch {
    return true;
  }
});
if (process.argv.includes('--check')) {
  for (const folder of wrong) console.error(`${folder}/LICENSE is absent or not that of the workspace.`);
  if (wrong.length > 0) console.error('To write them: node scripts/licences.mjs');
  process.exitCode = wrong.length > 0 ? 1 : 0;
} else {
  for (const folder of wrong) writeFileSync(fileURLToPath(new URL(`${folder}/LICENSE`, root)), text);
}
