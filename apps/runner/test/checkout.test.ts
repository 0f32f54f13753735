import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKey, formatSigningKey } from '@stackwright/buildcache';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'checkout-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const env = { PATH: '/usr/bin:/bin', HOME: folder };

describe('a stack from a checkout', () => {
  let stack: string;
  beforeEach(() => {
    stack = mkdtempSync(join(folder, 'stack-'));
    cpSync(quickstart, stack, { recursive: true });
  });

  it('brings no signing key along that a run would trust', async () => {
    const keys = join(stack, '.stackwright', 'work', 'keys');
    mkdirSync(keys, { recursive: true });
    const file = join(keys, 'signing-key');
    writeFileSync(file, formatSigningKey(await createKey({ name: 'Somebody' })));
    // As git writes it, whatever it was when it was committed.
    chmodSync(file, 0o644);
    const { code, stderr } = await call(['run', stack, '--work', join(stack, '.stackwright/work')], { env });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/signing-key is not used/)]);
  });

  it('brings no mirror along that is a link to another folder', async () => {
    renameSync(join(stack, 'mirror'), join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(stack, 'mirror'));
    const { code, stderr } = await call(['run', stack, '--work', join(stack, 'work')], { env });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/symbolic link/)]);
  });
});
