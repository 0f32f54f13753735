import { existsSync } from 'node:fs';
import { criticalPath } from '@stackwright/job-graph';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { graph, mini, someDurations } from './graphs.test.support.js';
import { type JobState, renderPage } from './page.js';

const states = new Map<string, JobState>(
  [...mini.jobs.values()].map((job) => [
    job.hash,
    job.node.external ? { state: 'skip', note: 'external' } : { state: 'done', seconds: 12 },
  ]),
);
const options = { title: 'A <b>stack</b>', graph: mini, states };

describe('renderPage', () => {
  it('names the state of every job in words', () => {
    const html = renderPage(options);
    expect(html.match(/<tr data-at/g)).toHaveLength(12);
    expect(html.match(/<\/i>built<\/span><\/td>/g)).toHaveLength(8);
    expect(html.match(/<\/i>left out<\/span><\/td>/g)).toHaveLength(4);
  });

  it('needs nothing from the network', () => {
    expect(renderPage(options)).not.toMatch(/(src|href)=|https?:|@import|url\(/);
  });

  it('escapes what it is given, in text and in its data', () => {
    const html = renderPage({
      ...options,
      states: new Map([[mini.jobs.keys().next().value!, { state: 'failed', note: '</script><i>' }]]),
      sections: [{ title: '<x>', paragraphs: ['a & b'] }],
    });
    expect(html).not.toMatch(/<b>stack|<x>|<\/script><i>/);
    expect(html).toContain('a &#38; b');
  });

  it('holds the sections that it is given', () => {
    const html = renderPage({
      ...options,
      sections: [
        {
          title: 'Image',
          table: { columns: [{ title: 'Layer' }, { title: 'Bytes', numeric: true }], rows: [['a', 1]] },
        },
      ],
    });
    expect(html).toContain('<td>a</td><td class="number">1</td>');
  });

  const browser = '/usr/bin/chromium';
  describe.skipIf(!existsSync(browser))('in Chromium (apt-get install chromium)', () => {
    it('finds and shows a job among 1,500, without an error', async () => {
      const edges: Record<string, string[]> = {};
      for (let at = 0; at < 1500; at++) {
        edges[`pkg-${at}`] = [1, 7, 40, 200]
          .filter((back) => back <= at)
          .map((back) => `pkg-${at - back - (at % 3)}`);
      }
      const { 'pkg--1': _a, 'pkg--2': _b, ...clean } = edges;
      const large = graph(
        Object.fromEntries(
          Object.entries(clean).map(([name, needs]) => [
            name,
            needs.filter((need) => need in clean && need !== name),
          ]),
        ),
      );
      const html = renderPage({
        title: 'large',
        graph: large,
        states: new Map(),
        critical: criticalPath(large, someDurations(large)),
      });
      const chrome = await chromium.launch({
        executablePath: browser,
        args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
      });
      try {
        const page = await chrome.newPage();
        const errors: Error[] = [];
        page.on('pageerror', (error) => errors.push(error));
        await page.setContent(html);
        // Rows out of sight are not laid out, in the table and in the cards of a phone: else each search takes long.
        for (const width of [1440, 390]) {
          await page.setViewportSize({ width, height: 900 });
          await page.waitForFunction(
            '!document.querySelector("#jobs tbody tr:last-child th").checkVisibility({ contentVisibilityAuto: true })',
          );
        }
        await page.fill('#find', 'pkg-1234');
        expect(await page.textContent('#found')).toBe('1 of 1500');
        await page.press('#find', 'Enter');
        expect(await page.textContent('#detail h3')).toBe('pkg-1234 1');
        await page.click('#detail li button');
        expect(await page.textContent('#detail h3')).not.toBe('pkg-1234 1');
        await page.fill('#find', '');
        await page.click('#critical');
        expect(await page.locator('#jobs tbody tr:not([hidden])').count()).toBe(
          html.match(/class="mark" title/g)!.length,
        );
        expect(errors).toEqual([]);
      } finally {
        await chrome.close();
      }
    });
  });
});
