import { githubActions } from '@stackwright/job-graph';
import { isRegistryUrl } from '@stackwright/spack-env';
import { stringify } from 'yaml';
import { version } from '../version.js';

/** What a new stack is to be. */
export interface NewStack {
  readonly name: string;
  readonly specs: readonly string[];
  /** Build cache; a folder of the user's own when left out. */
  readonly mirror?: string;
  /** Base of the image. */
  readonly base: string;
}

/** A file of a new stack; `mode` where it is not the usual one. */
export interface NewFile {
  readonly text: string;
  readonly mode?: number;
}

/** The Spack that a new stack is built with. */
const spackRef = 'v1.1.0';
/** Has Node, Python, git and compilers: all that Stackwright and Spack need. */
const jobImage = 'node:22-bookworm';

/** The files of a new stack by their paths in its folder. */
export function newStack(stack: NewStack): Readonly<Record<string, NewFile>> {
  return {
    'spack.yaml': { text: manifest(stack) },
    'stackwright.yaml': { text: settings(stack) },
    '.gitlab-ci.yml': { text: gitlab() },
    '.github/workflows/stack.yml': { text: github(stack) },
    'hooks/build': { text: hook(), mode: 0o755 },
    '.gitignore': { text: ignored },
    'README.md': { text: readme(stack) },
  };
}

/** A name for a stack in this folder: what is not allowed in one becomes a dash. */
export function stackName(folder: string): string {
  return folder.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+|-+$/g, '') || 'stack';
}

/** What must never be committed: secret keys first of all. */
const ignored = `.stackwright/
.spack-env/
jobs_scratch_dir/
pipeline*.yml
# Secret keys.
key
*.key
signing-key
`;

function mirrorSection({ name, mirror }: NewStack): string {
  // Spack knows no signatures in a registry.
  const registry = mirror !== undefined && isRegistryUrl(mirror);
  const place = mirror ?? `~/.local/share/stackwright/mirrors/${name}`;
  const comment = mirror
    ? ''
    : `    # A folder of this machine to start with. For CI, a place that every job can reach:
    # s3://BUCKET/PREFIX or oci://REGISTRY/REPOSITORY.
`;
  return `  mirrors:
${comment}    buildcache-destination:
      url: ${stringify(place).trim()}
${registry ? '      # A registry has no place for signatures: packages are checked by checksum only.\n' : ''}      signed: ${!registry}
`;
}

function manifest(stack: NewStack): string {
  const { name, specs } = stack;
  return `# What is built. A Spack environment: https://spack.readthedocs.io/en/latest/environments.html
spack:
  specs:
${specs.map((spec) => `    - ${stringify(spec).trim()}\n`).join('')}
  view: false
  concretizer:
    unify: true

  config:
    install_tree:
      root: /opt/${name}
      # Room for any path that a binary may be moved to: a path inside it can be made shorter, never longer.
      padded_length: 128
  packages:
    all:
      # What all machines that will run it have.
      require:
        - target=x86_64_v3

${mirrorSection(stack)}
  ci:
    pipeline-gen:
      - build-job:
          image: ${jobImage}
          script::
            - stackwright rebuild
      - any-job:
          retry:
            max: 1
            when: [runner_system_failure, stuck_or_timeout_failure]
      - reindex-job:
          image: ${jobImage}
`;
}

function settings({ base }: NewStack): string {
  return `# The public keys whose signatures count. To make a key: stackwright key create CI -o ci.key --public keys/ci.pub
trust: []
#  - keys/ci.pub

image:
  # It has to bring what spack.yaml calls external, the C library first of all.
  base: ${stringify(base).trim()}
`;
}

function gitlab(): string {
  return `# Variables to set in the project's settings, masked and protected, so that only protected branches and tags get them:
# SPACK_SIGNING_KEY, and the mirror's credentials.
stages: [generate, build, publish]

default:
  image: ${jobImage}

variables:
  SPACK_REF: ${spackRef}

generate:
  stage: generate
  script:
    - npx --yes stackwright@${version()} generate . --output-file pipeline.yml
  artifacts:
    paths: [pipeline.yml, jobs_scratch_dir]

build:
  stage: build
  trigger:
    include:
      - artifact: pipeline.yml
        job: generate
    strategy: depend

publish-image:
  stage: publish
  script:
    - npx --yes @stackwright/image-hook@${version()} .
  rules:
    - if: $CI_COMMIT_TAG
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
`;
}

function github({ name }: NewStack): string {
  // GitHub's own expressions, which a template string would take for its own.
  const expression = (text: string) => `\${{ ${text} }}`;
  const secret = (of: string) => expression(`secrets.${of}`);
  const { checkout } = githubActions;
  return `# Pull requests are built without any secret: their packages stay in the job, and are not signed by your key.
# Only the main branch and tags get the secrets: SPACK_SIGNING_KEY, and the mirror's credentials. Keep them in the
# environment "release" (Settings, Environments), and allow it for the main branch and tags alone.
name: ${name}
on:
  push:
    branches: [main]
    tags: ["rev-*"]
  pull_request:

permissions: {}

concurrency:
  group: ${name}-${expression('github.ref')}
  cancel-in-progress: ${expression("github.event_name == 'pull_request'")}

jobs:
  check:
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-24.04
    container: ${jobImage}
    permissions:
      contents: read
    env:
      SPACK_REF: ${spackRef}
    steps:
      - uses: ${checkout.pinned} # ${checkout.version}
        with:
          persist-credentials: false
      - name: Check the stack
        run: npx --yes stackwright@${version()} check .
      - name: Build what the mirror lacks, into a mirror of this job alone
        run: npx --yes stackwright@${version()} run . --mirror .stackwright/pull-request

  publish:
    if: github.event_name == 'push'
    runs-on: ubuntu-24.04
    container: ${jobImage}
    environment: release
    permissions:
      contents: read
      packages: write
      statuses: write
    env:
      SPACK_REF: ${spackRef}
    steps:
      - uses: ${checkout.pinned} # ${checkout.version}
        with:
          persist-credentials: false
      - name: Build what the mirror lacks
        run: npx --yes stackwright@${version()} run .
        env:
          SPACK_SIGNING_KEY: ${secret('SPACK_SIGNING_KEY')}
          AWS_ACCESS_KEY_ID: ${secret('AWS_ACCESS_KEY_ID')}
          AWS_SECRET_ACCESS_KEY: ${secret('AWS_SECRET_ACCESS_KEY')}
      - name: Put a status on the commit
        if: always()
        run: npx --yes stackwright@${version()} report .
        env:
          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}
      - name: Publish the image
        run: npx --yes @stackwright/image-hook@${version()} .
        env:
          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}
          AWS_ACCESS_KEY_ID: ${secret('AWS_ACCESS_KEY_ID')}
          AWS_SECRET_ACCESS_KEY: ${secret('AWS_SECRET_ACCESS_KEY')}
`;
}

function hook(): string {
  return `#!/bin/sh
# DockerHub calls this instead of building a Dockerfile.
exec npx --yes @stackwright/image-hook@${version()} .
`;
}

function readme({ name, mirror }: NewStack): string {
  const steps = [
    'Say in `spack.yaml` what is to be built, then `stackwright concretize .`, and commit `spack.lock`.',
    'Make a signing key: `stackwright key create CI -o ci.key --public keys/ci.pub`. Commit `keys/ci.pub` and name it under `trust:` in `stackwright.yaml`; put what `ci.key` holds into the secret `SPACK_SIGNING_KEY`, and delete the file.',
    ...(mirror
      ? []
      : [
          'Before CI takes over, name a build cache that all of its jobs can reach in `spack.yaml` (`mirrors:`), and give CI the credentials.',
        ]),
    '`stackwright doctor .` says what is still missing.',
    'Push. CI builds what the build cache lacks, signs it, and on the main branch or a tag `rev-NAME` publishes the image.',
  ];
  return `# ${name}

A [Spack](https://spack.io) stack, built with [Stackwright](https://www.npmjs.com/package/stackwright).

\`\`\`
npx stackwright@${version()} run .      # build it here
\`\`\`

## Setting up

${steps.map((step, index) => `${index + 1}. ${step}`).join('\n')}

| file | what |
| --- | --- |
| \`spack.yaml\`, \`spack.lock\` | what is built |
| \`stackwright.yaml\` | whose signatures count; the image |
| \`.gitlab-ci.yml\`, \`.github/workflows/stack.yml\`, \`hooks/build\` | CI at GitLab, GitHub, DockerHub; keep the one that you use |
`;
}
