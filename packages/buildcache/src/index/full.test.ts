import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { openV3Mirror } from '../index.js';
import { madeHash, madePackage, removeTemporaryFolders, temporaryFolder } from '../testing.js';

afterAll(removeTemporaryFolders);

it('an index that is written from nothing counts as new only what the one before lacked', async () => {
  const folder = temporaryFolder();
  const mirror = await openV3Mirror(folder);
  for (const name of ['p0', 'p1', 'p2']) await mirror.push(madePackage(name));
  await mirror.updateIndex();
  expect(await mirror.updateIndex({ full: true })).toMatchObject({ added: 0, kept: 3, removed: 0 });
  await mirror.push(madePackage('p3'));
  for await (const ref of mirror.packages()) {
    if (ref.hash === madeHash('p0')) rmSync(join(folder, ref.info.key));
  }
  const result = await mirror.updateIndex({ full: true });
  expect(result).toMatchObject({ packages: 3, added: 1, kept: 2, removed: 1 });
  expect((await mirror.index()).hashes.has(madeHash('p0'))).toBe(false);
});
