// The page of a run of 2,000 packages in Chromium, beside a blank page of the same size: first paint, then the time until
// the frame after a search, a filter, a sort and a scroll. Milliseconds, medians of RUNS.
//   node bench/page.mjs [JOBS] [RUNS] [--pictures FOLDER]
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { assemble } from '../packages/job-graph/dist/index.js';
import { renderPage } from '../packages/report/dist/index.js';

const { chromium } = createRequire(new URL('../packages/report/package.json', import.meta.url))(
  'playwright-core',
);
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { pictures: { type: 'string' } },
});
const [count = 2000, runs = 5] = positionals.map(Number);

const html = madePage(count);
const blank = `<!doctype html><title>blank</title><p>blank</p><!--${'x'.repeat(html.length)}-->`;
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/html' }).end(request.url === '/blank' ? blank : html);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
});
console.log(`${count} jobs, page of ${(html.length / 1e6).toFixed(2)} MB, medians of ${runs}, ms`);
for (const width of [1440, 390]) {
  const seen = [];
  for (let run = 0; run < runs; run++) seen.push(await measure(width));
  for (const what of Object.keys(seen[0])) {
    const sorted = seen.map((one) => one[what]).sort((a, b) => a - b);
    console.log(
      `${String(width).padStart(5)} px  ${what.padEnd(22)}${sorted[runs >> 1].toFixed(0).padStart(6)}`,
    );
  }
}
await browser.close();
server.close();

async function measure(width) {
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  const firstPaint = () =>
    page.evaluate('performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Number.NaN');
  await page.goto(`${address}/blank`);
  await page.waitForTimeout(100);
  const blankPaint = await firstPaint();
  await page.goto(`${address}/`);
  await page.waitForTimeout(300);
  const paint = await firstPaint();
  const { pictures } = values;
  if (pictures) await page.screenshot({ path: join(pictures, `large-${width}.png`) });
  // Until the frame that shows the change is done: the task after its animation frame.
  const untilShown = (action) =>
    page.evaluate(`new Promise((resolve) => {
      const began = performance.now();
      ${action};
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
    })`);
  const find = "document.getElementById('find')";
  const search = (text) => untilShown(`${find}.value = '${text}'; ${find}.dispatchEvent(new Event('input'))`);
  const found = {
    'first paint, blank': blankPaint,
    'first paint': paint,
    search: await search('pkg-12'),
    'end of search': await search(''),
    filter: await untilShown("document.querySelector('.filter').click()"),
    'end of filter': await untilShown("document.querySelector('.filter').click()"),
    scroll: await untilShown("document.querySelector('.jobs').scrollBy(0, 5000)"),
    'scroll of the page': await untilShown('scrollTo(0, document.body.scrollHeight)'),
    sort: await untilShown("document.querySelectorAll('.sort')[5].click()"),
  };
  if (pictures) await page.screenshot({ path: join(pictures, `large-${width}-end.png`) });
  await page.close();
  return found;
}

function madePage(total) {
  const name = (at) => `pkg-${at}`;
  const states = ['done', 'done', 'reused', 'reused', 'reused', 'failed', 'blocked'];
  const nodes = Array.from({ length: total }, (_, at) => ({
    node: {
      hash: name(at),
      name: name(at),
      version: `1.${at % 30}`,
      namespace: 'made',
      arch: { platform: 'linux', os: 'debian12', target: 'x86_64' },
      parameters: {},
      dependencies: [],
      patches: [],
      providedVirtuals: [],
      raw: {},
    },
    root: at % 40 === 0,
    dependencies: [1, 7, 40, 200].flatMap((back) =>
      back + (at % 3) <= at ? [name(at - back - (at % 3))] : [],
    ),
  }));
  const graph = assemble(nodes);
  const jobs = nodes.map(({ node: { hash, version }, dependencies }, at) => {
    const state = at % 97 === 96 ? 'failed' : at % 13 === 12 ? 'blocked' : states[at % 5];
    return {
      hash,
      name: hash,
      version,
      state,
      seconds: state === 'done' ? 10 + ((at * 37) % 900) : undefined,
      started: state === 'done' ? new Date(1.8e12 + at * 4000).toISOString() : undefined,
      reason: state === 'failed' ? `${hash}.c:7:3: error: number ${at}` : 'the mirror has it',
      needs: dependencies,
    };
  });
  const run = { stack: 'made', state: 'failed', jobs };
  return renderPage({
    title: 'made: failed',
    graph,
    states: new Map(jobs.map(({ hash, state, reason, seconds }) => [hash, { state, note: reason, seconds }])),
    run,
  });
}
