// `npm test`: sets up, builds, runs every package's tests through turbo's cache and prints one closing line.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { install, pnpm } from './pnpm.mjs';

const root = new URL('..', import.meta.url);
const reports = ['packages', 'apps'].flatMap((folder) =>
  readdirSync(new URL(folder, root)).map((name) => new URL(`${folder}/${name}/.test-report.json`, root)),
);

install();
// A report of an earlier run must not be counted for a package that did not get to its tests now.
for (const report of reports) rmSync(report, { force: true });
const code = pnpm([
  'exec',
  'turbo',
  'run',
  'test',
  '--output-logs=new-only',
  '--concurrency=2',
  '--continue',
  ...process.argv.slice(2),
]);

const total = { passed: 0, failed: 0, skipped: 0 };
for (const report of reports) {
  if (!existsSync(report)) continue;
  const result = JSON.parse(readFileSync(fileURLToPath(report), 'utf8'));
  total.passed += result.numPassedTests;
  total.failed += result.numFailedTests;
  total.skipped += result.numPendingTests + result.numTodoTests;
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(code !== 0 ? code : total.failed > 0 || total.passed === 0 ? 1 : 0);
