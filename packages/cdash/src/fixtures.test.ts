import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type BuildLog, readBuildLog, readLogTexts } from './index.js';

const folder = new URL('../fixtures/', import.meta.url);
const names = readdirSync(new URL('logs/', folder)).sort();
const textOf = (name: string) => readFileSync(new URL(`logs/${name}`, folder), 'utf8');
const expected = JSON.parse(readFileSync(new URL('expected.json', folder), 'utf8')) as Record<
  string,
  string[]
>;

/** One line for each finding: `E` or `W`, `>` for the cause, `-` for a consequence; line, place, text. */
function summary({ findings, cause }: BuildLog): string[] {
  return findings.map(({ kind, line, text, file, fileLine, follows }) => {
    const sign = line === cause?.line ? '>' : follows ? '-' : ' ';
    return `${kind === 'error' ? 'E' : 'W'}${sign} ${line} ${file ?? ''}:${fileLine ?? ''} ${text.slice(0, 100)}`;
  });
}

describe('the logs of compilers, build systems and test programs', () => {
  it('are 30 or more, each with what is to be found', () => {
    expect(names.length).toBeGreaterThanOrEqual(30);
    expect(Object.keys(expected).sort()).toEqual(names);
  });

  it.each(names)('%s', (name) => {
    expect(summary(readBuildLog(textOf(name)))).toEqual(expected[name]);
  });

  it.each([1, 7, 61])('say the same in pieces of %i characters', async (size) => {
    for (const name of names) {
      const text = textOf(name);
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, at) =>
        text.slice(at * size, (at + 1) * size),
      );
      expect(await readLogTexts(pieces)).toEqual(readBuildLog(text));
    }
  });
});
