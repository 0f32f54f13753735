import { describe, expect, it } from 'vitest';
import { assemble } from '../graph/graph.js';
import { node } from '../graph/graphs.test.support.js';
import {
  type BuildTime,
  expectedDurations,
  noHistory,
  parseHistory,
  remember,
  unknownDuration,
  writeHistory,
} from './history.js';

const build = (name: string, seconds: number, more: Partial<BuildTime> = {}): BuildTime => ({
  hash: `${name}-old`,
  name,
  version: '0',
  seconds,
  at: 0,
  ...more,
});
const one = (name: string, more = {}) => assemble([{ node: node(name, more), root: true, dependencies: [] }]);

describe('expectedDurations', () => {
  const builds = [
    build('zlib', 10, { hash: 'same' }),
    build('zlib', 20, { version: '1' }),
    build('zlib', 60),
    build('gcc', 3000),
  ];
  it.each([
    ['the same spec', one('zlib', { hash: 'same' }), 10],
    ['the package in that version', one('zlib'), 20],
    ['the package in any version', one('zlib', { version: '9' }), 20],
    ['everything', one('cmake'), 40],
  ])('takes the median of %s', (_name, graph, seconds) => {
    expect([...expectedDurations(graph, { builds }).values()]).toEqual([seconds]);
  });

  it('has an answer without any history', () => {
    expect([...expectedDurations(one('zlib'), noHistory).values()]).toEqual([unknownDuration]);
  });
});

describe('parseHistory', () => {
  it('reads what it writes', () => {
    const history = { builds: [build('zlib', 1.5), build('gcc', 2)] };
    expect(parseHistory(writeHistory(history))).toEqual(history);
  });

  it("reads Spack's install_times.json, one or a list, without installs from a mirror", () => {
    const times = { total: 0.66, phases: [], name: 'libgreet', cache: false, hash: 'j2ol' };
    expect(parseHistory(JSON.stringify(times)).builds).toMatchObject([{ name: 'libgreet', seconds: 0.66 }]);
    expect(parseHistory(JSON.stringify([times, { ...times, cache: true }])).builds).toHaveLength(1);
  });

  it.each([
    ['broken JSON', '{', 'broken-json'],
    ['another document', '{"a":"b"}', 'not-a-history'],
    ['a negative time', '[{"name":"a","hash":"b","total":-1}]', 'not-a-history'],
    ['an unknown version', '{"version":2,"builds":[]}', 'unknown-version'],
  ])('refuses %s', (_name, text, code) => {
    expect(() => parseHistory(text)).toThrowError(expect.objectContaining({ code }));
  });
});

describe('remember', () => {
  it('keeps the five newest builds of a spec', () => {
    const builds = Array.from({ length: 9 }, (_, at) => build('zlib', at, { at }));
    expect(remember(noHistory, builds).builds.map((entry) => entry.at)).toEqual([4, 5, 6, 7, 8]);
  });
});
