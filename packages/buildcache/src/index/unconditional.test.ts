import { type Content, FolderStore, type PutOptions } from '@stackwright/storage';
import { afterAll, expect, it } from 'vitest';
import { madeHash, madePackage, removeTemporaryFolders, temporaryFolder } from '../testing.js';
import { V3Mirror } from '../v3/mirror.js';

afterAll(removeTemporaryFolders);

/** A store that writes whatever the condition says, as some S3 servers do. */
class Forgetful extends FolderStore {
  override readonly conditional = false;
  before: ((key: string) => Promise<void>) | undefined;

  override async put(key: string, content: Content, options: PutOptions = {}) {
    await this.before?.(key);
    return super.put(key, content, { ...options, precondition: undefined });
  }
}

it('an index that replaced a newer one, where conditions are not kept, takes up what that one held', async () => {
  const folder = temporaryFolder();
  const [slow, quick] = [new Forgetful(folder), new Forgetful(folder)];
  const [first, second] = [slow, quick].map((store) => new V3Mirror(store, { kind: 'unsigned' }));
  await first!.push(madePackage('p0'));
  slow.before = async (key) => {
    if (key !== first!.indexKey) return;
    slow.before = undefined;
    await second!.push(madePackage('p1'));
    await second!.updateIndex();
  };
  await first!.updateIndex();
  expect([...(await first!.index()).hashes].sort()).toEqual(['p0', 'p1'].map(madeHash).sort());
});
