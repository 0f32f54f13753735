import { formatFinding } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { JobGraphError } from '../error.js';
import { parseCi } from './ci-section.js';

const gen = (...sections: unknown[]) => ({ 'pipeline-gen': sections });
const findings = (ci: unknown) => {
  try {
    parseCi(ci, (path) => ({ file: 'spack.yaml', line: path.length, column: 1 }));
  } catch (error) {
    if (error instanceof JobGraphError) return error.findings;
    throw error;
  }
  return [];
};

describe('parseCi', () => {
  it.each<[string, unknown, RegExp]>([
    [
      'an unknown key of a job, with the nearest',
      gen({ 'build-job': { scriptx: [] } }),
      /:4:1: ci:pipeline-gen\[0\]:build-job has an unknown key "scriptx".* Did you mean "script"\?/,
    ],
    ['an unknown kind of job', gen({ 'biuld-job': {} }), /Did you mean "build-job"/],
    ['an unknown key of the section', { pipelinegen: [] }, /unknown key "pipelinegen".*"pipeline-gen"/],
    [
      'an unknown key of a submapping',
      gen({ submapping: [{ match: ['a'], 'build-jobs': {} }] }),
      /Did you mean "build-job"/,
    ],
    [
      'an unknown key of a dynamic mapping',
      gen({ 'dynamic-mapping': { endpoint: 'https://a', alow: [] } }),
      /Did you mean "allow"/,
    ],
    ['a submapping without match', gen({ submapping: [{ 'build-job': {} }] }), /lacks the key "match"/],
    ['two kinds in one entry', gen({ 'build-job': {}, 'any-job': {} }), /any-job and build-job/],
    ['tags that are no list', gen({ 'build-job': { tags: 'a' } }), /tags must be a list of strings/],
    [
      'a command that YAML read as a mapping',
      gen({ 'build-job': { script: [{ echo: 'b' }] } }),
      /must be quoted/,
    ],
    [
      'a variable that is a truth value',
      gen({ 'any-job': { variables: { A: true } } }),
      /Write "true" in quotes/,
    ],
    ['an unknown match_behavior', gen({ submapping: [], match_behavior: 'last' }), /"first" or "merge"/],
    ['an endpoint that is no address', gen({ 'dynamic-mapping': { endpoint: 'ftp://a' } }), /http or https/],
    [
      'a key both required and ignored',
      gen({ 'dynamic-mapping': { endpoint: 'http://a', require: ['a'], ignore: ['a'] } }),
      /requires and ignores "a"/,
    ],
    ['pipeline-gen that is no list', { 'pipeline-gen': {} }, /must be a list/],
    ['an empty entry', gen({}), /is empty/],
    ['a section that is no mapping', [], /must be a mapping/],
  ])('refuses %s', (_name, ci, message) => {
    expect(findings(ci).map(formatFinding).join('\n')).toMatch(message);
  });

  it('tells all that is wrong at once', () => {
    expect(findings(gen({ 'build-job': { scriptx: [], tagz: [] } }, { 'any-jobs': {} }))).toHaveLength(3);
  });

  it.each<[string, unknown]>([
    [
      'all modes of keys',
      gen({ 'build-job': { 'script:': [['a'], 'b'], 'before_script-': [], 'tags+': ['a'] } }),
    ],
    ['removals without values', gen({ 'build-job-remove': { 'script:': null, variables: { 'A:': null } } })],
    ['numbers as variables', gen({ 'noop-job': { variables: { A: 0 } } })],
    [
      'whatever GitLab takes in a job',
      gen({ 'build-job': { id_tokens: { T: { aud: 'x' } }, timeout: '1h', rules: [] } }),
    ],
    ['nothing', {}],
  ])('takes %s', (_name, ci) => {
    expect(findings(ci)).toEqual([]);
  });
});
