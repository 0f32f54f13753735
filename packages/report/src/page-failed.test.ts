import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { criticalPath } from '@stackwright/job-graph';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { graph, someDurations } from './graphs.test.support.js';
import { type JobState, renderPage } from './page.js';
import type { JobRecord, RunRecord } from './record.js';

const needs: Record<string, string[]> = {
  'a-compiler-with-a-long-name': [],
  zlib: ['a-compiler-with-a-long-name'],
  tcl: ['zlib'],
  tk: ['tcl', 'zlib'],
  xz: ['a-compiler-with-a-long-name'],
};
const jobs: JobRecord[] = [
  job('a-compiler-with-a-long-name', 'done', 0, 40),
  {
    ...job('zlib', 'failed', 41, 12),
    log: '/runs/logs/zlib.txt',
    failure: {
      text: 'inflate.c:7:3: error: </pre><script>alert(1)</script>',
      line: 12,
      file: 'inflate.c',
      fileLine: 7,
      before: ['cc -c inflate.c', 'inflate.c: In function f:'],
      after: ['make: *** [inflate.o] Error 1'],
      phase: 'build',
    },
  },
  { ...job('tcl', 'blocked'), reason: 'needs zlib@1/zlib, which failed' },
  { ...job('tk', 'blocked'), reason: 'needs zlib@1/zlib, which failed' },
  job('xz', 'done', 42, 300),
];
const run: RunRecord = { stack: 's', state: 'failed', jobs };
const small = graph(needs);
const html = renderPage({
  title: 's: failed',
  graph: small,
  states: new Map(
    jobs.map(({ hash, state, seconds, reason }): [string, JobState] => [
      hash,
      { state, seconds, note: reason },
    ]),
  ),
  critical: criticalPath(small, someDurations(small)),
  run,
});

function job(name: string, state: JobRecord['state'], from?: number, seconds?: number): JobRecord {
  const started = from === undefined ? undefined : new Date(1_700_000_000_000 + from * 1000).toISOString();
  return { hash: name, name, version: '1', state, started, seconds, needs: needs[name] };
}

describe('the page of a failed run', () => {
  it('says in its text why: verdict, error with its lines, place, what it blocks', () => {
    expect(html).toContain('<p class="verdict failed">1 failed (zlib), 2 blocked, 2 built in');
    expect(html).toMatch(
      /inflate\.c: In function f:\n<mark>inflate\.c:7:3: error: &#60;\/pre&#62;&#60;script/,
    );
    expect(html).toContain('<code>inflate.c:7</code>');
    expect(html).toMatch(/Blocks 2: .*tcl@1\/tcl.*tk@1\/tk/);
    expect(html).not.toContain('<script>alert');
    expect(html).not.toMatch(/(src|href)=|https?:|@import|url\(/);
  });
});

const browser = '/usr/bin/chromium';
describe.skipIf(!existsSync(browser))('in Chromium (apt-get install chromium)', () => {
  let chrome: Browser;
  let server: Server;
  let address: string;
  const errors: Error[] = [];
  beforeAll(async () => {
    server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end(html);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const args = ['--no-sandbox', '--disable-quic', '--disable-background-networking'];
    chrome = await chromium.launch({ executablePath: browser, args });
  });
  afterAll(async () => {
    await chrome?.close();
    server.close();
  });

  async function open(path = '', width = 1440, scheme: 'light' | 'dark' = 'light'): Promise<Page> {
    const page = await chrome.newPage({ viewport: { width, height: 900 }, colorScheme: scheme });
    page.on('pageerror', (error) => errors.push(error));
    await page.goto(address + path);
    return page;
  }

  it('has an address for a job, a search and a filter', async () => {
    const page = await open('#/zlib/zlib?q=tc&state=failed+blocked');
    expect(await page.textContent('#detail h3')).toBe('zlib 1');
    expect(await page.inputValue('#find')).toBe('tc');
    expect(await page.locator('#jobs tbody tr:not([hidden])').count()).toBe(1);
    await page.click('#jobs tbody tr:not([hidden]) button');
    expect(new URL(page.url()).hash).toBe('#/tcl/tcl?q=tc&state=failed+blocked');
    await page.click('.card h3 button');
    expect(new URL(page.url()).hash).toContain('/zlib/zlib');
    expect(errors).toEqual([]);
    await page.close();
  });

  it('sorts the table by every column, times as numbers', async () => {
    const page = await open();
    const names = () => page.locator('#jobs tbody th button').allTextContents();
    await page.getByRole('button', { name: 'Time', exact: true }).click();
    expect((await names()).slice(-3)).toEqual(['zlib', 'a-compiler-with-a-long-name', 'xz']);
    await page.getByRole('button', { name: 'Time', exact: true }).click();
    expect((await names())[0]).toBe('xz');
    expect(await page.locator('[aria-sort="descending"]').textContent()).toBe('Time');
    await page.getByRole('button', { name: 'Job', exact: true }).click();
    expect((await names())[0]).toBe('a-compiler-with-a-long-name');
    await page.close();
  });

  it('copies the command that repeats a failure', async () => {
    const page = await open();
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy command' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe('stackwright rebuild --hash zlib');
    await page.close();
  });

  it('shows builds in lanes, each of which leads to its job', async () => {
    const page = await open();
    expect(await page.locator('.lane').count()).toBe(2);
    await page.locator('.span', { hasText: 'xz' }).click();
    expect(await page.textContent('#detail h3')).toBe('xz 1');
    await page.close();
  });

  it.each([
    [1440, 'light'],
    [1440, 'dark'],
    [390, 'light'],
    [390, 'dark'],
  ] as const)('fits %i px, and axe finds nothing serious (%s)', async (width, scheme) => {
    const page = await open('#/zlib/zlib', width, scheme);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
    expect(
      await page.evaluate(
        '[...document.querySelectorAll(".scroll")].every((one) => one.scrollWidth <= one.clientWidth)',
      ),
    ).toBe(true);
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate('axe.run()')) as {
      violations: { id: string; impact: string; nodes: { html: string }[] }[];
    };
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
    if (process.env.PAGE_PICTURES)
      await page.screenshot({ path: `${process.env.PAGE_PICTURES}/${width}-${scheme}.png`, fullPage: true });
    await page.close();
  });

  it('folds a graph of more than 200 jobs until a job is chosen', async () => {
    const many = graph(
      Object.fromEntries(Array.from({ length: 201 }, (_, at) => [`p${at}`, at > 0 ? [`p${at - 1}`] : []])),
    );
    const page = await chrome.newPage();
    await page.setContent(renderPage({ title: 'many', graph: many, states: new Map() }));
    expect(await page.isVisible('#canvas')).toBe(false);
    await page.fill('#find', 'p77');
    await page.press('#find', 'Enter');
    expect(await page.isVisible('#canvas')).toBe(true);
    expect(await page.textContent('#detail h3')).toBe('p77 1');
    await page.close();
  });
});
