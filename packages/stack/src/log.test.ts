import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { readLog } from './log.js';

const folder = mkdtempSync(join(tmpdir(), 'log-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'log.txt');

describe('the log of a build', () => {
  it('is shown without secrets, as findings and as text', async () => {
    writeFileSync(file, 'cc a.c\na.c:1: error: hunter2hunter2\n');
    const { log, packed } = await readLog(file, { secrets: ['hunter2hunter2'] });
    expect(log.cause?.text).toBe('a.c:1: error: ***');
    expect(gunzipSync(packed ?? '').toString()).toBe('cc a.c\na.c:1: error: ***\n');
  });

  it('of more than 16 MiB is sent with its start and its end', async () => {
    writeFileSync(file, `first\n${'gcc -c something.c\n'.repeat(1_200_000)}a.c:1: error: no\nlast\n`);
    const { log, packed } = await readLog(file, { secrets: [] });
    expect(log).toMatchObject({ lines: 1_200_003, cause: { line: 1_200_002 } });
    const text = gunzipSync(packed ?? '').toString();
    expect(text).toMatch(/^first\n/);
    expect(text).toMatch(/\n\[… \d+ characters are left out here …\]\n[\s\S]*\nlast\n$/);
  });

  it('that is missing is told, and never taken for one that is empty', async () => {
    const { log, unread } = await readLog(join(folder, 'nothing.txt'), { secrets: [] });
    expect(unread).toMatch(/nothing\.txt cannot be read: ENOENT/);
    expect(log.end.join()).toMatch(/ENOENT/);
  });
});
