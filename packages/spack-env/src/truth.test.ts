import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readEnvironment } from './config/environment.js';
import { SpackEnvError } from './error.js';
import { formatSpec } from './spec/format.js';
import { intersects, satisfies } from './spec/match.js';
import { parseSpec } from './spec/parse.js';
import { constrain } from './spec/relation.js';
import type { Spec } from './spec/spec.js';
import {
  compareVersions,
  formatVersions,
  intersectVersions,
  parseVersion,
  parseVersions,
  type VersionList,
  versionsIntersect,
  versionsSatisfy,
} from './spec/version.js';

/**
 * What real Spack answered to thousands of questions; scripts/ground-truth.py asks them. Where Spack refuses, the
 * answer is null. The tables hold a row for each left side and a character for each right side.
 */
const truth = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../fixtures/truth/${name}.json`, import.meta.url), 'utf8')) as T;

/** The text, or null where it is refused with an error of this package. */
function answer(ask: () => string): string | null {
  try {
    return ask();
  } catch (error) {
    expect(error).toBeInstanceOf(SpackEnvError);
    return null;
  }
}

interface Host {
  readonly host: { readonly platform: string; readonly os: string; readonly target: string };
}

describe('Spack and this package agree on', () => {
  it('thousands of spec strings, valid and not', () => {
    const { specs, host } = truth<Host & { specs: Record<string, string | null> }>('spec-strings');
    const wrong = Object.entries(specs)
      .map(([text, wanted]) => [text, wanted, answer(() => formatSpec(parseSpec(text, { host })))])
      .filter(([, wanted, got]) => got !== wanted);
    expect(wrong).toEqual([]);
  });

  describe('versions:', () => {
    const table = truth<{
      versions: string[];
      order: string[];
      lists: string[];
      printed: string[];
      satisfies: string[];
      intersects: string[];
      intersection: Record<string, string>;
    }>('versions');
    const rows = (ask: (a: VersionList, b: VersionList) => boolean) => {
      const lists = table.lists.map(parseVersions);
      return lists.map((a) => lists.map((b) => (ask(a, b) ? '1' : '0')).join(''));
    };

    it('their order', () => {
      const parsed = table.versions.map(parseVersion);
      const order = parsed.map((a) =>
        parsed.map((b) => '<=>'[Math.sign(compareVersions(a, b)) + 1]).join(''),
      );
      expect(order).toEqual(table.order);
    });

    it('how lists are printed', () => {
      expect(table.lists.map((text) => formatVersions(parseVersions(text)))).toEqual(table.printed);
    });

    it('which list satisfies which', () => {
      expect(rows(versionsSatisfy)).toEqual(table.satisfies);
    });

    it('which lists intersect', () => {
      expect(rows(versionsIntersect)).toEqual(table.intersects);
    });

    it('what two lists have in common', () => {
      const common = Object.keys(table.intersection).map((pair) => {
        const [a, b] = pair.split(' & ').map(parseVersions);
        return [pair, a && b && formatVersions(intersectVersions(a, b))];
      });
      expect(Object.fromEntries(common)).toEqual(table.intersection);
    });
  });

  describe('specs:', () => {
    const table = truth<{
      specs: string[];
      satisfies: string[];
      intersects: string[];
      constrain: Record<string, string | null>;
    }>('relations');
    /** The pairs on which the answers differ; "?" stands for a question that ended in an exception of Spack. */
    const wrong = (wanted: readonly string[], ask: (a: Spec, b: Spec) => boolean) => {
      const specs = table.specs.map((text) => parseSpec(text));
      // Apart from the left sides: one and the same object satisfies itself without being looked at.
      const others = table.specs.map((text) => parseSpec(text));
      return wanted.flatMap((row, a) =>
        [...row].flatMap((sign, b) =>
          sign === '?' || (sign === '1') === ask(specs[a]!, others[b]!)
            ? []
            : [`${table.specs[a]} | ${table.specs[b]}: ${sign}`],
        ),
      );
    };

    it('which satisfies which', () => {
      expect(wrong(table.satisfies, satisfies)).toEqual([]);
    });

    it('which intersect', () => {
      expect(wrong(table.intersects, intersects)).toEqual([]);
    });

    it('what asks for both', () => {
      const joined = Object.keys(table.constrain).map((pair) => {
        const [a, b] = pair.split(' & ').map((text) => parseSpec(text));
        return [pair, answer(() => formatSpec(constrain(a!, b!)))];
      });
      const differ = joined.filter(([pair, got]) => table.constrain[String(pair)] !== got);
      expect(differ.map(([pair, got]) => [pair, got, table.constrain[String(pair)]])).toEqual([]);
    });
  });

  it('the specs of small stacks', async () => {
    const { stacks, host } = truth<Host & { stacks: { manifest: object; specs: string[] | null }[] }>(
      'stacks',
    );
    const wrong: unknown[] = [];
    for (const { manifest, specs } of stacks) {
      const environment = await readEnvironment(JSON.stringify(manifest), '/stack/spack.yaml', {
        host,
        env: {},
      });
      const refused = environment.findings.some(({ severity }) => severity === 'error');
      const got = refused ? null : environment.specs.map(({ text }) => text);
      if (JSON.stringify(got) !== JSON.stringify(specs)) wrong.push({ manifest, specs, got });
    }
    expect(wrong).toEqual([]);
  });
});
