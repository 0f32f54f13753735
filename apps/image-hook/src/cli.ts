#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { describeError, kindOf, secretsOf, withoutSecrets } from '@stackwright/stack';
import { HookError } from './error.js';
import { type HookOptions, runHook } from './hook.js';

/** The exit codes of every command of Stackwright. */
const exitCode = { failed: 1, input: 2, missing: 3, interrupted: 130 } as const;

const usage = `Usage: stackwright-image-hook [STACK] [options]

Builds and checks the image of a stack (default: this folder) from its mirror and
publishes it: in GitLab CI, GitHub Actions, DockerHub's build hook, or any CI. A
tag rev-NAME publishes :NAME, a push to the main branch :latest; other pushes and
pull requests publish nothing.

  --reference REF     publish exactly this, whatever was pushed (repeatable)
  --check-only        publish nothing
  --load, --push      into the local Docker (DockerHub), or to the registry
  --mirror URL        build cache (default: $REMOTE_BUILDCACHE_URL, else the stack's)
  --trust FILE        public key whose signatures count (repeatable)
  --unsigned          take packages without signatures, as registries hold them
  -h, --help          this text

  --dockerfile FILE   build this Dockerfile instead, with REMOTE_BUILDCACHE_URL as an
                      argument and the credentials of S3 as secrets of the build
  --builder PROGRAM   what builds it (default: docker)
  --secret NAME       variable that is a further secret of that build (repeatable)

In any other CI, say what was pushed:
  --repository IMAGE  the image without its tag
  --branch NAME, --tag NAME, --pull-request
  --main NAME         the main branch (default: main or master)
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
      'check-only': { type: 'boolean' },
      mirror: { type: 'string' },
      unsigned: { type: 'boolean' },
      dockerfile: { type: 'string' },
      builder: { type: 'string' },
      secret: { type: 'string', multiple: true },
      repository: { type: 'string' },
      branch: { type: 'string' },
      tag: { type: 'string' },
      main: { type: 'string' },
      'pull-request': { type: 'boolean' },
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
      pushed: pushedOf(values),
      checkOnly: values['check-only'],
      mirror: values.mirror,
      unsigned: values.unsigned,
      trust: values.trust,
      dockerfile: values.dockerfile,
      builder: values.builder,
      secrets: values.secret,
      load: values.push ? false : values.load,
      signal: interrupt.signal,
      tell: (line) => process.stderr.write(`${line}\n`),
    });
    process.stdout.write(`${digest}\n`);
  }
} catch (error) {
  const wrongUsage = (error as { code?: unknown }).code?.toString().startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`Error: ${withoutSecrets(describeError(error), secretsOf(process.env))}\n`);
  process.exitCode = interrupt.signal.aborted
    ? exitCode.interrupted
    : exitCode[wrongUsage ? 'input' : kindOf(error)];
}

interface PushedFlags {
  readonly repository?: string;
  readonly branch?: string;
  readonly tag?: string;
  readonly main?: string;
  readonly 'pull-request'?: boolean;
}

function pushedOf(flags: PushedFlags): HookOptions['pushed'] {
  const { repository, branch, tag, main, 'pull-request': pullRequest } = flags;
  const described = branch !== undefined || tag !== undefined || pullRequest === true;
  if (repository === undefined && !described) return undefined;
  if (repository === undefined || !described)
    throw new HookError(
      'incomplete',
      '--repository and one of --branch, --tag and --pull-request belong together.',
    );
  return { repository, branch, tag, main, pullRequest };
}
