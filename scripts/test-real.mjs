// `npm run test:real`: builds a stack of real packages with real Spack. Takes about half an hour; needs Spack, apt and root.
import { install, pnpm } from './pnpm.mjs';

install();
const built = pnpm(['exec', 'turbo', 'run', 'build', '--output-logs=errors-only']);
process.exit(
  built ||
    pnpm([
      '--dir',
      'apps/runner',
      'exec',
      'vitest',
      'run',
      '--config',
      'vitest.real.config.ts',
      ...process.argv.slice(2),
    ]),
);
