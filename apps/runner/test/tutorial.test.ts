import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { call } from './call.js';

const stack = fileURLToPath(new URL('../../../stacks/tutorial/', import.meta.url));
const read = (name: string) => readFileSync(`${stack}${name}`, 'utf8');

describe('the tutorial stack', () => {
  it('is one that Spack concretized, unchanged', async () => {
    const { code, stderr } = await call(['check', stack]);
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('Warning')]);
    const { roots, spack } = JSON.parse(read('spack.lock'));
    const { stdout } = await call(['specs', stack, '--json']);
    const specs = JSON.parse(stdout).specs.map(({ spec }: { spec: string }) => spec);
    expect(roots.map(({ spec }: { spec: string }) => spec)).toEqual(specs);
    expect(spack.version).toBe('1.1.0');
  });

  it("has in its image the packages' configuration that it was concretized with", () => {
    const { packages } = parse(read('spack.yaml')).spack;
    expect(parse(read('etc/packages.yaml')).packages).toEqual(packages);
  });

  it('tests every root in its image', async () => {
    const { stdout } = await call(['specs', stack]);
    const tested = /for spec in (.*); do/.exec(read('etc/tutorial-test.sh'))?.[1]?.split(' ');
    expect(tested).toEqual(stdout.trim().split('\n'));
  });
});
