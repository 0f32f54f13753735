// `node scripts/recording.mjs`: runs the quickstart and writes what it prints to docs/quickstart.svg, an animation that
// shows each line when it was printed. It holds no script and no address, so that it plays wherever pictures are shown.
// Build first (npm run build).
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = '.stackwright/recording';
const commands = [
  `stackwright run stacks/quickstart --work ${work}`,
  `stackwright status stacks/quickstart --work ${work}`,
  `stackwright image inspect oci:${work}/image`,
];
/** Seconds that a reader is given for each command, and at the end. */
const pauses = { command: 0.8, end: 6 };
/** Lines of a command that are kept; the rest is counted. */
const most = 22;

rmSync(`${root}${work}`, { recursive: true, force: true });
const lines = [];
let clock = 0;
for (const command of commands) {
  lines.push({ at: clock, text: `$ ${command}`, isCommand: true });
  clock += pauses.command;
  const printed = await record(command);
  for (const { after, text } of printed.slice(0, most)) lines.push({ at: clock + after, text });
  const left = printed.length - most;
  if (left > 0) lines.push({ at: clock + printed[most].after, text: `… ${left} more lines` });
  clock += (printed.at(-1)?.after ?? 0) + pauses.command;
  lines.push({ at: clock, text: '' });
}
rmSync(`${root}${work}`, { recursive: true, force: true });
writeFileSync(`${root}docs/quickstart.svg`, svgOf(lines, clock + pauses.end));

/** The lines of a command with the seconds after which each was printed, of both of its outputs. */
async function record(command) {
  const began = performance.now();
  const child = spawn(process.execPath, ['apps/runner/dist/cli.js', ...command.split(' ').slice(1)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = [];
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream.setEncoding('utf8').on('data', (data) => {
      const parts = (rest + data).split('\n');
      rest = parts.pop();
      const after = (performance.now() - began) / 1000;
      for (const text of parts) printed.push({ after, text });
    });
  }
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) {
    for (const { text } of printed) console.error(text);
    throw new Error(`${command} ended with exit code ${code}`);
  }
  return printed;
}

function svgOf(all, seconds) {
  const [step, left, top, width] = [19, 16, 44, 880];
  const height = top + all.length * step;
  const style = all
    .map(({ at }, index) => {
      const share = ((at / seconds) * 100).toFixed(2);
      return `@keyframes k${index}{0%,${share}%{opacity:0}${(Number(share) + 0.01).toFixed(2)}%,100%{opacity:1}}#l${index}{animation:k${index} ${seconds.toFixed(1)}s infinite}`;
    })
    .join('\n');
  const texts = all
    .map(({ text, isCommand }, index) => {
      const kind = isCommand ? 'command' : /^\s*✓/.test(text) ? 'good' : 'plain';
      return `<text id="l${index}" class="${kind}" x="${left}" y="${top + index * step}" xml:space="preserve">${escaped(cut(text))}</text>`;
    })
    .join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Recording of the quickstart in a terminal">
<style>
text{font:13px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#d5dbe5}
.command{fill:#7fb2ff;font-weight:bold}
.good{fill:#6fd3a2}
@media (prefers-reduced-motion:no-preference){
${style}
}
</style>
<rect width="100%" height="100%" rx="8" fill="#12151b"/>
<circle cx="20" cy="16" r="5" fill="#ff8a80"/><circle cx="38" cy="16" r="5" fill="#f5a742"/><circle cx="56" cy="16" r="5" fill="#6fd3a2"/>
${texts}
</svg>
`;
}

function cut(text) {
  return text.length > 106 ? `${text.slice(0, 105)}…` : text;
}

function escaped(text) {
  return text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
