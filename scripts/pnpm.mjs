// Runs the workspace's own pnpm, whether or not the machine has one: corepack is not relied on, npx is.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { packageManager, engines } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/** Stops with a sentence instead of a syntax error deep in a dependency when Node is too old. */
export function requireNode() {
  const wanted = engines.node.replace('>=', '').split('.').map(Number);
  const have = process.versions.node.split('.').map(Number);
  const older = have[0] < wanted[0] || (have[0] === wanted[0] && have[1] < wanted[1]);
  if (older) {
    console.error(
      `Node ${process.versions.node} is too old: Stackwright needs ${engines.node}. Install a newer Node.`,
    );
    process.exit(3);
  }
}

/**
 * Runs `pnpm ARGS` at the workspace's root and returns its exit code.
 * npx fetches the pinned version on first use and puts it on PATH for what pnpm starts (turbo calls it by name).
 */
export function pnpm(args, options = {}) {
  // npm's own configuration reaches its children as npm_config_*; pnpm warns about keys it does not know.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_config_(?!registry$|cache$|userconfig$|.*proxy$|cafile$)/i.test(name),
    ),
  );
  const done = spawnSync('npx', ['--yes', '--loglevel=error', packageManager, ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...env, TURBO_TELEMETRY_DISABLED: '1', ...options.env },
  });
  if (done.error) {
    console.error(
      `npx could not be started: ${done.error.message}. It comes with npm; install Node with npm.`,
    );
    return 3;
  }
  return done.status ?? 1;
}

/** Installs what the lock file names; quick when nothing changed. */
export function install() {
  requireNode();
  const code = pnpm([
    'install',
    '--frozen-lockfile',
    '--prefer-offline',
    '--reporter=append-only',
    '--loglevel=warn',
  ]);
  if (code !== 0) process.exit(code);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(pnpm(process.argv.slice(2)));
