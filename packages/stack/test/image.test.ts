import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openStack, openStackImage } from '../src/index.js';
import { callerIn } from './caller.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'stack-image-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the image of a stack', () => {
  it('is a mirror where stackwright.yaml asks for one', async () => {
    const folder = join(work, 'stack');
    cpSync(quickstart, folder, { recursive: true });
    const file = join(folder, 'stackwright.yaml');
    const settings = readFileSync(file, 'utf8');
    writeFileSync(file, settings.replace('image:\n', 'image:\n  kind: mirror\n  mirrorRoot: /opt/cache\n'));
    const caller = callerIn(folder);
    const options = { mirror: join(folder, 'mirror'), staging: join(work, 'shared') };
    const stack = await openStack(caller, '.');
    const image = await openStackImage(caller, stack, options);
    expect(image.packages).toEqual([]);
    expect(image.layers.at(-1)?.createdBy).toContain('index of the mirror');
    await expect(openStackImage(caller, stack, { ...options, mirrorRoot: '../up' })).rejects.toThrow(
      'no folder for a mirror',
    );
  });
});
