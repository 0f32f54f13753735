import { Readable } from 'node:stream';
import { readNode } from '@stackwright/spack-env';
import { describe, expect, it } from 'vitest';
import { planMove } from './move.js';
import { factsOf } from './staging.js';

const hash = 'hocoygzxdt3joeunr4qllim24bqkuvhh';
const digest = `sha256:${'0'.repeat(64)}` as const;
const node = readNode(hash, { name: 'hello', version: '2.0', hash });
const blob = { node, descriptor: { mediaType: 'x', digest, size: 1 }, open: async () => Readable.from([]) };

/** A package that lies at `prefix` and says that it was built below `root`. */
const built = (root: string, prefix: string, relative = 'hello') => ({
  blob,
  staged: {
    path: '/nowhere',
    facts: {
      diffId: digest,
      size: 1,
      prefix,
      folders: [],
      libraries: { interpreters: [], needed: [], provided: [] },
      contents: { shebangs: [], entries: {} },
      distribution: `{sbang_install_path: ${root}/bin/sbang, buildpath: ${root}, spackprefix: /spack, relative_prefix: ${relative}, hash_to_prefix: {${hash}: ${prefix}}}`,
    },
  },
});
const stays = (one: ReturnType<typeof built>, root?: string) =>
  planMove([{ blob: one.blob, facts: factsOf(one.staged.facts, 'hello') }], root)[0]?.stays;

describe('a package stays as it is', () => {
  it('where the image has the root that it was built with', () => {
    expect(stays(built('/opt/sw', '/opt/sw/hello'))).toBe(true);
    expect(stays(built('/opt/sw', '/opt/sw/hello'), '/opt/sw')).toBe(true);
  });
  it.each([
    ['under another root', built('/opt/sw', '/opt/sw/hello'), '/srv'],
    // Its files name the root too, not only its own prefix.
    ['in its place, but built with another root', built('/build', '/opt/sw/hello'), '/opt/sw'],
    ['with another place than it says', built('/opt/sw', '/opt/sw/other'), '/opt/sw'],
  ])('but not %s', (_, one, root) => {
    expect(stays(one, root)).toBe(false);
  });
});
