import { type Environment, parseLock, readEnvironment } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { readSettings } from '../ci/settings.js';
import { JobGraphError } from '../error.js';
import { graphOf } from '../graph/graph.js';
import { externals, prune } from '../prune/prune.js';
import { stackPipeline } from './stack-pipeline.js';

const edge = (name: string, ...virtuals: string[]) => ({
  name,
  hash: name,
  parameters: { deptypes: ['build', 'link'], virtuals },
});
const lock = parseLock(
  JSON.stringify({
    _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6, 'specfile-version': 5 },
    spack: { version: '1.1.0', type: 'release' },
    roots: [{ hash: 'hdf5', spec: 'hdf5' }],
    concrete_specs: {
      hdf5: { name: 'hdf5', version: '1', dependencies: [edge('openmpi', 'mpi'), edge('zlib')] },
      openmpi: { name: 'openmpi', version: '5', dependencies: [] },
      zlib: { name: 'zlib', version: '1.3', dependencies: [] },
    },
  }),
);
const stack = (...lines: string[]): Promise<Environment> =>
  readEnvironment(
    `spack:\n${lines.map((line) => `  ${line}\n`).join('')}  specs: [hdf5]\n`,
    '/stack/spack.yaml',
  );
const pipeline = (environment: Environment) =>
  stackPipeline(environment, lock, {
    pruned: prune(graphOf(lock), [externals]),
    settings: readSettings({}, {}, '/stack'),
    mirrors: { destination: { fetch: 'https://m/f', push: 'https://m/p' } },
    env: {},
    time: new Date('2026-01-02T03:04:05Z'),
  });
const errorOf = (environment: Environment): JobGraphError => {
  try {
    pipeline(environment);
  } catch (error) {
    if (error instanceof JobGraphError) return error;
  }
  throw new Error('nothing was refused');
};

describe('stackPipeline', () => {
  it('matches the virtual packages that a job provides', async () => {
    const section =
      'ci: {pipeline-gen: [{submapping: [{match: [mpi], build-job: {tags: [big]}}]}, {build-job: {tags: [small]}}]}';
    const { attributes } = pipeline(await stack(section));
    const tags = [...attributes.build].map(([hash, own]) => [hash, own.get('tags')?.value]);
    expect(Object.fromEntries(tags)).toEqual({
      hdf5: ['small'],
      openmpi: ['big', 'small'],
      zlib: ['small'],
    });
  });

  it('takes CDash and Spack from the stack', async () => {
    const input = pipeline(
      await stack(
        'ci: {pipeline-gen: []}',
        'cdash: {build-group: Mine, url: https://c, project: P, site: S}',
      ),
    );
    expect(input.cdash).toEqual({ buildGroup: 'Mine', buildStamp: '20260102-0304-Mine' });
    expect(input.spack).toMatchObject({ version: '1.1.0' });
    expect(input.needsRebuild(input.pruned.full.jobs.get('zlib')!)).toBe(true);
  });

  it('needs a ci section, and says where it is wrong', async () => {
    expect(errorOf(await stack()).code).toBe('no-ci');
    const { code, findings } = errorOf(await stack('ci:', '  pipeline-gen:', '  - build-job: [a]'));
    expect(code).toBe('bad-ci');
    expect(findings.map(({ position }) => position?.line)).toEqual([4]);
  });
});
