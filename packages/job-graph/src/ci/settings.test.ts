import { describe, expect, it } from 'vitest';
import { artifactPaths, buildStamp, readSettings } from './settings.js';

const read = (env: NodeJS.ProcessEnv, flags = {}) => readSettings(env, flags, '/here');

describe('readSettings', () => {
  it('has the defaults of spack ci generate', () => {
    expect(read({})).toMatchObject({
      projectFolder: '/here',
      artifactsRoot: 'jobs_scratch_dir',
      pruneUpToDate: true,
      pruneUntouched: false,
      pruneExternals: true,
      checkIndexOnly: false,
      untouchedDepth: undefined,
      pipelineType: undefined,
      requireSigning: false,
    });
  });

  it('takes the mode of an index view, as Spack 1.3 does, and refuses other words', () => {
    expect(read({}).viewMode).toBe('append');
    expect(read({ SPACK_CI_BUILDCACHE_VIEW: 'force' }).viewMode).toBe('force');
    expect(() => read({ SPACK_CI_BUILDCACHE_VIEW: 'mine' })).toThrow(/neither "append" nor "force"/);
  });

  it('lets variables win over flags, as Spack does', () => {
    expect(read({ SPACK_PRUNE_UP_TO_DATE: 'False' }, { pruneDag: true }).pruneUpToDate).toBe(false);
    expect(read({ SPACK_PRUNE_UNTOUCHED: 'true' }, { pruneUnaffected: false }).pruneUntouched).toBe(true);
  });

  it.each([
    ['spack_protected_branch', 'PROTECTED_BRANCH'],
    ['PULL_REQUEST', 'PULL_REQUEST'],
    ['spack_copy_only', 'COPY_ONLY'],
    ['None', undefined],
  ])('knows the pipeline type %s', (SPACK_PIPELINE_TYPE, type) => {
    expect(read({ SPACK_PIPELINE_TYPE }).pipelineType).toBe(type);
  });

  it.each([
    [{ SPACK_PIPELINE_TYPE: 'protected' }, /no pipeline type. *|Known are/],
    [{ SPACK_PRUNE_UNTOUCHED_DEPENDENT_DEPTH: 'all' }, /no whole number/],
    [{ SPACK_PRUNE_UP_TO_DATE: 'maybe' }, /neither "true" nor "false"/],
    [{ SPACK_REQUIRE_SIGNING: '1' }, /neither "true" nor "false"/],
    [{ SPACK_CI_SKIP_DYNAMIC_MAPPING: '(' }, /no regular expression/],
  ])('refuses %o', (env, message) => {
    expect(() => read(env)).toThrowError(message);
  });

  it('forwards only variables that are set', () => {
    expect(read({ A: '1' }, { forwardVariables: ['A', 'B'] }).forwarded).toEqual({ A: '1' });
  });

  it('names artifacts relative to the project', () => {
    const inside = read({ CI_PROJECT_DIR: '/project' }, { artifactsRoot: '/project/scratch' });
    expect(inside.artifactsRoot).toBe('scratch');
    expect(artifactPaths(inside).environment).toBe('scratch/concrete_environment');
    expect(artifactPaths(read({ CI_PROJECT_DIR: '/project' }, { artifactsRoot: '/tmp/x' })).logs).toBe(
      '../tmp/x/logs',
    );
  });
});

describe('buildStamp', () => {
  const day = new Date('2026-01-02T03:04:05Z');
  it.each([
    ['the whole stamp', { SPACK_CDASH_BUILD_STAMP: 'x', SOURCE_DATE_EPOCH: '0' }, 'x'],
    [
      'the time of the pipeline',
      { CI_PIPELINE_CREATED_AT: '2026-02-03T04:05:06Z', SOURCE_DATE_EPOCH: '0' },
      '20260203-0405-Group',
    ],
    ["the source's time", { SOURCE_DATE_EPOCH: '86400' }, '19700102-0000-Group'],
    ['the time that it is given', {}, '20260102-0304-Group'],
  ])('takes %s', (_name, env, stamp) => {
    expect(buildStamp(env, 'Group', day)).toBe(stamp);
  });
});
