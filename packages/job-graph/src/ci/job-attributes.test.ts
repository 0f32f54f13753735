import { describe, expect, it } from 'vitest';
import { inputOf } from '../engine/engines.test.support.js';
import { hashOf, mini } from '../graph/graphs.test.support.js';
import { toPlain } from './attributes.js';

type Plain = Record<string, unknown>;
const attributes = (...sections: object[]) => inputOf(mini, { 'pipeline-gen': sections }).attributes;
const of = (name: string, ...sections: object[]) =>
  toPlain(attributes(...sections).build.get(hashOf(mini, name))!) as Plain;
const service = (kind: 'noop' | 'signing' | 'reindex', ...sections: object[]) =>
  toPlain(attributes(...sections).service[kind]) as Plain;
const entry = (match: string, job: object, more: object = {}) => ({
  match: [match],
  'build-job': job,
  ...more,
});

describe('jobAttributes', () => {
  it('tells every job its spec', () => {
    expect(of('libgreet').variables).toEqual({
      SPACK_JOB_SPEC_DAG_HASH: 'j2ol626hob57hxe3b2c42t5kmvakg5sm',
      SPACK_JOB_SPEC_PKG_NAME: 'libgreet',
      SPACK_JOB_SPEC_PKG_VERSION: '1.2.0',
      SPACK_JOB_SPEC_COMPILER_NAME: 'gcc',
      SPACK_JOB_SPEC_COMPILER_VERSION: '12.2.0',
      SPACK_JOB_SPEC_ARCH: 'linux-debian12-x86_64_v3',
      SPACK_JOB_SPEC_VARIANTS: '+shared build_system=generic flavor=fancy',
    });
  });

  it('lets configuration replace what a job knows, and add to it', () => {
    const variables = {
      'SPACK_JOB_SPEC_PKG_NAME+': 'my-',
      SPACK_JOB_SPEC_PKG_VERSION: '9',
      OWN: 'SPACK_JOB_SPEC_ARCH',
    };
    expect(of('libgreet', { 'build-job': { variables } }).variables).toMatchObject({
      SPACK_JOB_SPEC_PKG_NAME: 'my-libgreet',
      SPACK_JOB_SPEC_PKG_VERSION: '9',
      OWN: 'SPACK_JOB_SPEC_ARCH',
    });
    expect(of('libgreet', { 'build-job': { 'variables:': { A: '1' } } }).variables).toEqual({ A: '1' });
  });

  it('applies sections from the bottom up', () => {
    const sections = [
      { 'build-job': { tags: ['top'], image: 'a' } },
      { 'build-job': { tags: ['low'], image: 'b' } },
    ];
    expect(of('libgreet', ...sections)).toMatchObject({ tags: ['top', 'low'], image: 'a' });
  });

  it('takes of a submapping the last entry that matches, or all of them', () => {
    const submapping = [
      entry('libgreet', { image: 'a', tags: ['a'] }),
      entry('@1:', { image: 'b', tags: ['b'] }),
    ];
    expect(of('libgreet', { submapping })).toMatchObject({ image: 'b', tags: ['b'] });
    expect(of('libgreet', { submapping, match_behavior: 'merge' })).toMatchObject({
      image: 'a',
      tags: ['a', 'b'],
    });
    expect(of('libshout', { submapping })).not.toHaveProperty('image');
  });

  it('removes before it adds', () => {
    const submapping = [entry('libgreet', { tags: ['new'] }, { 'build-job-remove': { 'tags:': [] } })];
    expect(of('libgreet', { submapping }, { 'build-job': { tags: ['old'] } }).tags).toEqual(['new']);
  });

  it('never leaves tags that are reserved, but for signing', () => {
    const tags = ['public', 'protected', 'notary', 'x'];
    expect(of('libgreet', { 'any-job': { tags } }).tags).toEqual(['x']);
    expect(service('signing', { 'any-job': { tags } }).tags).toEqual(['aws', 'protected', 'notary', 'x']);
  });

  it('gives single jobs what any-job says, and build jobs alone what build-job says', () => {
    const sections = [{ 'build-job': { image: 'b' } }, { 'any-job': { image: 'a' } }];
    expect(of('libgreet', ...sections).image).toBe('b');
    expect(service('noop', ...sections).image).toBe('a');
  });

  it('has our index job, and leaves one alone that the stack has a script for', () => {
    const script = (section: object) => service('reindex', section).script;
    expect(script({ 'reindex-job': { tags: ['x'] } })).toEqual([
      'stackwright mirror index {index_target_mirror} --keys',
    ]);
    expect(script({ 'reindex-job': { 'script:': ['mine'] } })).toEqual(['mine']);
    expect(script({ 'reindex-job': { script: ['mine'] } })).toEqual(['mine']);
  });

  it('takes away variables that are fixed for the whole pipeline', () => {
    const section = { 'pipeline-gen': [{ 'any-job': { variables: { SPACK_REF: 'old', A: '1' } } }] };
    const { build, service } = inputOf(mini, section, { fixed: ['SPACK_REF'] }).attributes;
    for (const own of [build.get(hashOf(mini, 'libgreet'))!, service.reindex]) {
      const variables = toPlain(own.get('variables')!.value) as Record<string, string>;
      expect(variables).not.toHaveProperty('SPACK_REF');
      expect(variables.A).toBe('1');
    }
  });

  it('activates the environment before a script that builds in it, and says so', () => {
    const section = { 'build-job': { script: ['spack ci rebuild'] } };
    expect(of('libgreet', section).script).toEqual([
      'cd {env_dir}',
      'spack env activate --without-view .',
      'spack ci rebuild',
    ]);
    expect(attributes(section).notes).toHaveLength(1);
  });

  it('leaves a script alone that activates the environment itself', () => {
    const script = ['spack env activate x', 'spack ci rebuild'];
    expect((of('libgreet', { 'build-job': { script } }).script as string[]).slice(0, 2)).toEqual(script);
    expect(attributes({ 'build-job': { script } }).notes).toEqual([]);
  });
});
