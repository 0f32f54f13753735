import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openV3Mirror, type PackageSource, presentPackages, pullPackage, type TarItem } from '../index.js';
import {
  forge,
  madeHash,
  madePackage,
  quickstartMirror,
  removeTemporaryFolders,
  temporaryFolder,
} from '../testing.js';

afterEach(removeTemporaryFolders);
const made = (name: string) => ({ name, version: '1.0', hash: madeHash(name) });

/** A package whose `binary_distribution` says that it belongs elsewhere, and with more entries if given. */
function placed(name: string, relative: string, more: readonly TarItem['entry'][] = []): PackageSource {
  const source = madePackage(name);
  const own = `${name}-1.0-${source.hash}`;
  return {
    ...source,
    items: async function* () {
      for await (const item of source.items()) {
        if (item.entry.name.endsWith('/.spack')) for (const entry of more) yield { entry, content: [] };
        if (!item.entry.name.endsWith('/binary_distribution')) {
          yield item;
          continue;
        }
        const text = Buffer.concat([...(item.content as Buffer[])])
          .toString()
          .replace(`relative_prefix: ${own}`, `relative_prefix: ${JSON.stringify(relative)}`);
        yield { entry: { ...item.entry, size: text.length }, content: [Buffer.from(text)] };
      }
    },
  };
}

describe('pulling a package', () => {
  it.each([
    ['../outside', 'tarball'],
    ['a/../../outside', 'tarball'],
    ['/outside', 'tarball'],
    ['', 'tarball'],
    // Not where its own entries are.
    ['elsewhere', 'tar-path'],
  ])('refuses one that says it belongs to %j, and writes nothing', async (relative, code) => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(join(folder, 'mirror'));
    await forge(join(folder, 'mirror'), placed('evil', relative));
    const pulled = pullPackage(mirror, made('evil'), { to: join(folder, 'tree') });
    await expect(pulled).rejects.toMatchObject({ code, message: expect.stringContaining('evil@1.0') });
    expect(readdirSync(folder).filter((name) => name !== 'tree')).toEqual(['mirror']);
    expect(existsSync(join(folder, 'tree')) ? readdirSync(join(folder, 'tree')) : []).toEqual([]);
  });

  it("refuses one that would be put through another package's link", async () => {
    const folder = temporaryFolder();
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    const mirror = await openV3Mirror(join(folder, 'mirror'));
    const own = `bait-1.0-${madeHash('bait')}`;
    const link = {
      name: `opt/made/${own}/way`,
      type: 'symlink',
      mode: 0o755,
      size: 0,
      target: outside,
    } as const;
    await mirror.push(placed('bait', own, [link]));
    await mirror.push(placed('evil', `${own}/way/evil`));
    const to = join(folder, 'tree');
    expect(await pullPackage(mirror, made('bait'), { to })).toMatchObject({ outcome: 'unpacked' });
    await expect(pullPackage(mirror, made('evil'), { to })).rejects.toMatchObject({ code: 'tar-path' });
    expect(readdirSync(outside)).toEqual([]);
  });

  it('leaves alone what is there', async () => {
    const folder = temporaryFolder();
    const mirror = await openV3Mirror(join(folder, 'mirror'));
    await mirror.push(madePackage('a'));
    const { prefix } = await pullPackage(mirror, made('a'), { to: folder });
    writeFileSync(join(prefix, 'file'), 'mine');
    expect(await pullPackage(mirror, made('a'), { to: folder })).toEqual({ prefix, outcome: 'present' });
    expect(readFileSync(join(prefix, 'file'), 'utf8')).toBe('mine');
  });

  it('reads each tarball of a remote mirror once', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      const file = join(quickstartMirror, request.url!);
      if (!existsSync(file)) return void response.writeHead(404).end();
      response.end(request.method === 'HEAD' ? undefined : readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const mirror = await openV3Mirror(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const [to, temporary] = [temporaryFolder(), temporaryFolder()];
    for (const ref of (await presentPackages(mirror)).values()) {
      expect((await pullPackage(mirror, ref, { to, temporary })).outcome).toBe('unpacked');
    }
    const tarballs = asked.filter((url) => url.startsWith('/blobs/'));
    expect(new Set(tarballs).size).toBe(tarballs.length);
    expect(readdirSync(temporary)).toEqual([]);
    await mirror.close();
    server.close();
  });
});
