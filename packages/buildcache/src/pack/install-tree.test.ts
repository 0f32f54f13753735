import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { installedPackage, openV3Mirror, readInstallTree } from '../index.js';
import { madePackage, removeTemporaryFolders, temporaryFolder } from '../testing.js';

afterEach(removeTemporaryFolders);

describe('an install tree', () => {
  it('that is given by a link to it has the root that its packages were installed in', async () => {
    const folder = temporaryFolder();
    const root = join(folder, 'tree');
    const { hash, specText } = madePackage('linked', { specVersion: 5 });
    const { spec } = JSON.parse(specText);
    const prefix = join(root, `linked-1.0-${hash}`);
    mkdirSync(join(prefix, '.spack'), { recursive: true });
    mkdirSync(join(root, '.spack-db'));
    writeFileSync(join(prefix, '.spack', 'spec.json'), JSON.stringify({ spec }));
    const installs = { [hash]: { spec: spec.nodes[0], path: prefix, installed: true, explicit: true } };
    const database = { database: { version: '8', installs } };
    writeFileSync(join(root, '.spack-db', 'index.json'), JSON.stringify(database));
    symlinkSync(root, join(folder, 'link'));

    expect((await readInstallTree(`${root}/`)).root).toBe(root);
    const tree = await readInstallTree(join(folder, 'link'));
    expect(tree.root).toBe(root);
    const mirror = await openV3Mirror(join(folder, 'mirror'));
    const ref = await mirror.push(installedPackage(prefix, tree, '/spack'));
    const { manifest } = await mirror.package(ref);
    expect(manifest.statement?.tarball).toMatchObject({
      root,
      prefix,
      prefixes: { [hash]: `linked-1.0-${hash}` },
    });
  });
});
