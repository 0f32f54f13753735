#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { runHook } from './hook.js';

const usage = `Usage: stackwright-image-hook [STACK] [options]

Builds the image of a stack (default: this folder) from its mirror and publishes
it: in DockerHub's build hook, GitLab CI or GitHub Actions. A tag rev-NAME
publishes :NAME, a push to the main branch :latest.

  --reference REF   publish exactly this, whatever was pushed (repeatable)
  --trust FILE      public key whose signatures count (repeatable)
  --load, --push    into the local Docker (DockerHub), or to the registry
  -h, --help        this text

REMOTE_BUILDCACHE_URL names the mirror, else the stack does.
`;

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort()).once('SIGTERM', () => interrupt.abort());
try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      reference: { type: 'string', multiple: true },
      trust: { type: 'string', multiple: true },
      load: { type: 'boolean' },
      push: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
  } else {
    const digest = await runHook({
      stack: positionals[0] ?? '.',
      cwd: process.cwd(),
      env: process.env,
      references: values.reference,
      trust: values.trust,
      ...(values.push ? { load: false } : values.load ? { load: true } : {}),
      signal: interrupt.signal,
      tell: (line) => process.stderr.write(`${line}\n`),
    });
    if (digest) process.stdout.write(`${digest}\n`);
  }
} catch (error) {
  const {
    kind,
    name,
    code,
    hint,
    message: what,
  } = error as Error & { kind?: string; code?: string; hint?: string };
  const message = hint && !what.endsWith(hint) ? `${what}\n${hint}` : what;
  const password = process.env.CI_REGISTRY_PASSWORD || process.env.GITHUB_TOKEN;
  process.stderr.write(`Error: ${password ? message.replaceAll(password, '***') : message}\n`);
  const wrongUsage = code?.startsWith('ERR_PARSE_ARGS') || name === 'SpackEnvError';
  process.exitCode = interrupt.signal.aborted
    ? 130
    : kind === 'missing'
      ? 3
      : kind === 'input' || wrongUsage
        ? 2
        : 1;
}
