import type { ConcreteNode } from '@stackwright/spack-env';

/** A node that is only a name, which is its hash, too. */
export function bareNode(name: string, more: Partial<ConcreteNode> = {}): ConcreteNode {
  return {
    hash: name,
    name,
    version: '1',
    namespace: 'test',
    arch: { platform: 'linux', os: 'debian12', target: 'x86_64' },
    compiler: undefined,
    parameters: {},
    dependencies: [],
    external: undefined,
    packageHash: undefined,
    buildSpec: undefined,
    patches: [],
    providedVirtuals: [],
    raw: {},
    ...more,
  };
}
