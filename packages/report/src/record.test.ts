import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { XMLParser } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import {
  commentMark,
  commentMarkdown,
  countsOf,
  junitXml,
  type RunRecord,
  rootFailures,
  summaryMarkdown,
  verdict,
} from './index.js';

const failure = {
  text: 'a.c:3:1: error: ``` </pre> @everyone',
  line: 7,
  file: 'a.c',
  fileLine: 3,
  before: ['cc a.c'],
  after: ['make: *** Error 1'],
  phase: 'build',
};
const run: RunRecord = {
  stack: 's*t',
  state: 'failed',
  started: '2026-11-24T08:00:00.000Z',
  jobs: [
    { hash: 'aaaaaaaa1', name: 'zlib', version: '1.3', state: 'failed', seconds: 12, failure, needs: [] },
    { hash: 'aaaaaaaa2', name: 'zlib', version: '1.3', state: 'failed', seconds: 12, failure, needs: [] },
    {
      hash: 'bbbbbbbb',
      name: 'tcl',
      version: '8',
      state: 'blocked',
      reason: 'needs zlib',
      needs: ['aaaaaaaa1'],
      blockedBy: 'aaaaaaaa1',
    },
    { hash: 'cccccccc', name: 'tk', version: '8', state: 'blocked', needs: ['bbbbbbbb'] },
    { hash: 'dddddddd', name: 'xz', version: '5', state: 'done', seconds: 3.5 },
    { hash: 'eeeeeeee', name: 'm4', version: '1', state: 'reused', reason: 'on the mirror' },
    { hash: 'ffffffff', name: 'glibc', version: '2', state: 'skip' },
  ],
};

describe('a run', () => {
  it('is valid by the published schema, and other things are not', () => {
    const schema = JSON.parse(readFileSync(new URL('../run.schema.json', import.meta.url), 'utf8'));
    const validate = new Ajv().compile(schema);
    expect(validate(run)).toBe(true);
    expect(validate({ ...run, jobs: [{ name: 'x' }] })).toBe(false);
    expect(validate({ ...run, state: 'fine' })).toBe(false);
  });

  it('comes to a verdict in one line', () => {
    expect(countsOf(run)).toEqual({ failed: 2, blocked: 2, built: 1, reused: 1, open: 0, seconds: 27.5 });
    expect(verdict(run)).toBe('2 failed (zlib, zlib), 2 blocked, 1 built in 28 s, 1 reused');
    expect(verdict({ jobs: [] })).toBe('nothing had to be built');
    expect(verdict({ jobs: [{ hash: 'a', name: 'a', version: '1', state: 'build' }] })).toBe('1 to build');
  });

  it('has one root failure for equal ones of several targets, with all that it blocks', () => {
    const [only, ...more] = rootFailures(run);
    expect(more).toEqual([]);
    expect(only?.jobs.map(({ hash }) => hash)).toEqual(['aaaaaaaa1', 'aaaaaaaa2']);
    expect(only?.blocks.map(({ name }) => name)).toEqual(['tcl', 'tk']);
  });

  it('is told in Markdown that no log can break out of, and that mentions nobody', () => {
    const text = summaryMarkdown(run, { link: 'https://h/a b)' });
    expect(text).toMatch(/^### s&#42;t: 2 failed/);
    expect(text).toContain(
      '````text\n  cc a.c\n> a.c:3:1: error: ``` </pre> @everyone\n  make: *** Error 1\n````',
    );
    expect(text).toContain('Blocks tcl, tk.');
    expect(text).toContain('](https://h/a%20b%29)');
    expect(text).not.toContain('zlib@1.3');
    expect(commentMarkdown(run).startsWith(commentMark('s*t'))).toBe(true);
  });

  it('tells before the build what will be built, why and how long', () => {
    const jobs = [
      { hash: 'a', name: 'zlib', version: '1', state: 'build', reason: 'no mirror has it', seconds: 90 },
    ] as const;
    const text = commentMarkdown({ stack: 's', state: 'running', jobs }, { expected: 90 });
    expect(text).toContain('Expected to take about 1 min 30 s.');
    expect(text).toMatch(/\| zlib@\u200b1\/a \| no mirror has it \| 1 min 30 s \|/);
  });

  it('is told as JUnit, each package a test', () => {
    const { testsuites } = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' }).parse(
      junitXml(run),
    );
    expect(testsuites).toMatchObject({ tests: '6', failures: '2', skipped: '3', name: 's*t' });
    const cases = testsuites.testsuite.testcase;
    expect(cases[0]).toMatchObject({
      classname: 's*t',
      name: 'zlib@1.3/aaaaaaa',
      failure: { message: failure.text, type: 'build' },
    });
    expect(cases[2]).toMatchObject({ skipped: { message: 'needs zlib' } });
  });
});
