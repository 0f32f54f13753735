// Writes docs/commands.md from the help texts, or with --check says whether it is up to date. Needs the build.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const file = `${root}docs/commands.md`;

function help(...words) {
  const { stdout, status } = spawnSync(process.execPath, ['apps/runner/dist/cli.js', ...words, '--help'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`stackwright ${words.join(' ')} --help ended with ${status}`);
  return stdout.trimEnd();
}

/** The names below "Commands:". */
function subcommands(text) {
  const [, list = ''] = /\nCommands:\n([\s\S]*?)(\n\n|$)/.exec(text) ?? [];
  return [...list.matchAll(/^ {2}(\S+)/gm)].map(([, name]) => name).filter((name) => name !== 'help');
}

let text = `# Commands\n\nWritten by \`scripts/reference.mjs\` from the help texts.\n\n\`\`\`\n${help()}\n\`\`\`\n`;
for (const name of subcommands(help())) {
  const own = help(name);
  text += `\n## stackwright ${name}\n\n\`\`\`\n${own}\n\`\`\`\n`;
  for (const below of subcommands(own))
    text += `\n### stackwright ${name} ${below}\n\n\`\`\`\n${help(name, below)}\n\`\`\`\n`;
}

if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('docs/commands.md is not what the help texts say; run: node scripts/reference.mjs');
    process.exit(1);
  }
} else writeFileSync(file, text);
