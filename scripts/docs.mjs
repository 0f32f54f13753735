// `npm run docs`: builds the site of the documentation into docs/.vitepress/dist. VitePress is fetched by npx when it is
// asked for, so that nobody installs it who only builds the packages. It fails on a link to a page that is not there.
//   npm run docs -- dev      serves the site and follows changes
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const docs = fileURLToPath(new URL('../docs', import.meta.url));
const [action = 'build', ...rest] = process.argv.slice(2);
const { status } = spawnSync('npx', ['--yes', 'vitepress@1.6.4', action, docs, ...rest], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
