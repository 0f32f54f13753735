// Writes docs/errors.md from the error codes of all packages, or with --check says whether it is up to date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { publishedPackages } from './packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const file = `${root}docs/errors.md`;
const exitCodes = { failed: 1, input: 2, missing: 3 };

/** The codes of an `error.ts`: each with its comment in the union, and its kind in the table. */
function codesOf(source) {
  const kinds = Object.fromEntries(
    [...source.matchAll(/^ {2}'?([a-z0-9-]+)'?: '(input|missing|failed)',$/gm)].map(([, code, kind]) => [
      code,
      kind,
    ]),
  );
  return [...source.matchAll(/\/\*\* ([^*]+?) \*\/\s*\| '([a-z0-9-]+)'/g)].map(([, meaning, code]) => ({
    code,
    meaning: meaning.replace(/\s*\n\s*\*?\s*/g, ' '),
    exit: exitCodes[kinds[code]],
  }));
}

let text = `# Error codes

Every error has a code, which \`--debug\` prints. The exit code of the command follows from it. What to do is the last line of the error itself. Written by \`scripts/errors.mjs\` from the source.
`;
for (const folder of publishedPackages()) {
  const path = [`${root}${folder}/src/error.ts`, `${root}${folder}/src/exit.ts`].find(existsSync);
  const codes = path ? codesOf(readFileSync(path, 'utf8')) : [];
  if (codes.length === 0) continue;
  const { name } = JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8'));
  text += `\n## ${name}\n\n| code | meaning | exit code |\n| --- | --- | --- |\n`;
  for (const { code, meaning, exit } of codes) text += `| \`${code}\` | ${meaning} | ${exit ?? 2} |\n`;
}

/** Without the padding of tables, which a formatter may have added. */
const plain = (markdown) => markdown.replace(/ {2,}\|/g, ' |').replace(/-{3,}/g, '---');
if (process.argv.includes('--check')) {
  if (plain(readFileSync(file, 'utf8')) !== plain(text)) {
    console.error('docs/errors.md is not what the source says; run: node scripts/errors.mjs');
    process.exit(1);
  }
} else writeFileSync(file, text);
