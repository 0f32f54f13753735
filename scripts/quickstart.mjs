// `npm run quickstart`: sets up, builds, and runs the embedded stack from spack.yaml to a container image.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { install, pnpm } from './pnpm.mjs';

install();
const built = pnpm(['exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--filter=stackwright']);
if (built !== 0) process.exit(built);

const root = fileURLToPath(new URL('..', import.meta.url));
const run = spawnSync(
  process.execPath,
  [
    'apps/runner/dist/cli.js',
    'run',
    'stacks/quickstart',
    '--work',
    '.stackwright/quickstart',
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit' },
);
process.exit(run.status ?? 1);
