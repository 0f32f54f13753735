import { describe, expect, it } from 'vitest';
import { relocateManifest } from './relocated-manifest.js';

const move = (text: string) => relocateManifest(text, '/p/stacks/mine', '/p/scratch/concrete_environment');

describe('relocateManifest', () => {
  it('rewrites relative includes and nothing else', () => {
    const text = `# my stack
spack:
  include:   # from everywhere
  - ../shared/configs   # a comment
  - path: "$env/extra.yaml"
    when: os == "debian12"
  - /etc/spack/packages.yaml
  - https://example.invalid/x.yaml
  - $spack/etc/y.yaml
  - git: https://example.invalid/r.git
    paths: [a.yaml]
  specs: [zlib]
`;
    expect(move(text)).toBe(
      text
        .replace('../shared/configs', '"../../stacks/shared/configs"')
        .replace('"$env/extra.yaml"', '"../../stacks/mine/extra.yaml"'),
    );
  });

  it('rewrites relative package repositories and mirrors, which Spack forgets', () => {
    const text = `spack:
  repos:
    mine: repo
    remote: {git: https://example.invalid/r.git}
  mirrors:
    here: ./mirror
    there: https://example.invalid/m
    both: {fetch: {url: a}, push: b}
`;
    expect(move(text)).toBe(
      text
        .replace('mine: repo', 'mine: "../../stacks/mine/repo"')
        .replace('./mirror', '"../../stacks/mine/mirror"')
        .replace('{url: a}, push: b', '{url: "../../stacks/mine/a"}, push: "../../stacks/mine/b"'),
    );
  });

  it('leaves a manifest without includes as it is', () => {
    expect(move('spack: {specs: [zlib]} # x\n')).toBe('spack: {specs: [zlib]} # x\n');
  });

  it.each([
    ['broken YAML', 'spack:\n include: [a'],
    ['a file without spack', 'include: []'],
  ])('refuses %s', (_name, text) => {
    expect(() => move(text)).toThrowError(/spack\.yaml/);
  });
});
