import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { changedNodes, parseLock, proveLock, unprovenNote } from '../index.js';

const quickstart = fileURLToPath(new URL('../../../../stacks/quickstart/spack.lock', import.meta.url));
const text = readFileSync(quickstart, 'utf8');

interface RawNode {
  readonly name: string;
  version: string;
  readonly parameters: Record<string, unknown>;
  readonly dependencies: { parameters: { deptypes: string[] } }[];
}

/** The lock with one node changed by hand. */
function edited(name: string, change: (node: RawNode) => void, indent?: number): string {
  const json = JSON.parse(text) as { concrete_specs: Record<string, RawNode> };
  const node = Object.values(json.concrete_specs).find((one) => one.name === name);
  if (!node) throw new Error(`no ${name}`);
  change(node);
  return JSON.stringify(json, null, indent);
}

describe('the dag hashes of a lock', () => {
  it('prove every node that Spack built', () => {
    const lock = parseLock(text);
    const { changed, unproven } = proveLock(lock);
    expect(changed).toEqual([]);
    expect(unproven.every((node) => node.external)).toBe(true);
    expect(unprovenNote(lock, 'spack.lock')).toMatchObject({
      severity: 'note',
      message: 'spack.lock: the hash of 3 of 12 specs cannot be checked (3 externals).',
    });
  });

  it('leave out what is older than spec file 5', () => {
    const lock = { ...parseLock(text), specfileVersion: 4 };
    expect(proveLock(lock).changed).toEqual([]);
    expect(unprovenNote(lock, 'spack.lock')?.message).toContain(
      '3 externals, 9 in a spec file of before version 5',
    );
  });

  it.each<[string, string, (node: RawNode) => void]>([
    ['variant', 'libgreet', (node) => Object.assign(node.parameters, { shared: false })],
    ['version', 'hello', (node) => Object.assign(node, { version: '2.0.1' })],
    ['edge', 'chorus', (node) => node.dependencies.pop()],
    [
      'edge type',
      'chorus',
      (node) => Object.assign(node.dependencies.at(-1)?.parameters ?? {}, { deptypes: ['link'] }),
    ],
  ])('tell a changed %s, with name, hash and place', (_what, name, change) => {
    const after = edited(name, change, 1);
    const lock = parseLock(after, 'spack.lock');
    const [finding, ...more] = changedNodes(lock, 'spack.lock', after);
    const node = [...lock.nodes.values()].find((one) => one.name === name);
    expect(more).toEqual([]);
    expect(finding).toMatchObject({ severity: 'error', code: 'changed-node', text: node?.hash });
    expect(finding?.message).toContain(`${name}@${node?.version}/${node?.hash} was changed`);
    expect(after.split('\n')[(finding?.position?.line ?? 0) - 1]).toContain(`"${node?.hash}": {`);
  });
});
