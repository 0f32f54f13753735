import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { upgradeManifest } from '../index.js';

const upgraded = (text: string) => parse(upgradeManifest(text).text).spack;

describe('upgradeManifest', () => {
  it('turns mappings into a submapping, and their scripts into ones that replace', () => {
    const text = `spack:
  gitlab-ci:
    mappings:
    - match: [os=rhel9]
      runner-attributes: {tags: [big], script: [build]}
      remove-attributes: {tags: [small]}
    script: [all]
    image: base
    bootstrap: [compilers]
    signing-job-attributes: {tags: [secure]}
    final-stage-rebuild-index: {tags: [index]}
  specs: [zlib]`;
    expect(upgraded(text).ci).toEqual({
      'rebuild-index': true,
      target: 'gitlab',
      'pipeline-gen': [
        {
          match_behavior: 'first',
          submapping: [
            {
              match: ['os=rhel9'],
              'build-job': { tags: ['big'], 'script:': ['build'] },
              'build-job-remove': { tags: ['small'] },
            },
          ],
        },
        { 'build-job': { image: 'base', script: ['all'] } },
        { 'signing-job': { tags: ['secure'] } },
        { 'reindex-job': { tags: ['index'] } },
      ],
    });
    expect(upgradeManifest(text).notes.map(({ position }) => position?.line)).toEqual([2, 9, 3, 8, 10, 11]);
  });

  it.each([
    ['concretization: separately', { concretizer: { unify: false } }],
    ['concretization: together', { concretizer: { unify: true } }],
    ['concretizer: {reuse: true}\n  concretization: together', { concretizer: { reuse: true, unify: true } }],
    ['config: {install_tree: /opt}', { config: { install_tree: { root: '/opt' } } }],
    [
      'config: {install_path_scheme: "{name}"}',
      { config: { install_tree: { projections: { all: '{name}' } } } },
    ],
    [
      'modules: {enable: [tcl], prefix_inspections: {}}',
      { modules: { default: { enable: ['tcl'] }, prefix_inspections: {} } },
    ],
    ['cdash: {build-group: [a, b]}', { cdash: { 'build-group': 'a' } }],
    [
      'ci: {service-job-attributes: {tags: [x]}}',
      {
        ci: {
          target: 'gitlab',
          'pipeline-gen': ['reindex', 'noop', 'cleanup'].map((kind) => ({
            [`${kind}-job`]: { tags: ['x'] },
          })),
        },
      },
    ],
  ])('brings "%s" to the current form', (line, expected) => {
    expect(upgraded(`spack:\n  ${line}\n`)).toEqual(expected);
  });

  it('keeps comments and the style of the file', () => {
    const { text } = upgradeManifest(
      '# stack\nspack:\n  specs:\n  - zlib   # the best\n  # how\n  concretization: together # all\n  view: [a, b]\n',
    );
    expect(text).toContain('# stack\nspack:\n  specs:\n  - zlib # the best\n  # how\n  concretizer:');
    expect(text).toContain('view: [a, b]');
  });

  it('leaves a current manifest byte for byte, and its own result too', () => {
    const current = 'spack:\n    specs:   [ zlib ]\n';
    expect(upgradeManifest(current)).toEqual({ text: current, notes: [] });
    const once = upgradeManifest('spack:\n  gitlab-ci: {mappings: []}\n  concretization: together\n').text;
    expect(upgradeManifest(once)).toEqual({ text: once, notes: [] });
  });
});
