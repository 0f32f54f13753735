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
    '.gitlab-ci.yml': { text: gitlab(stack) },
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

/** The mirrors of a stack whose builders have no key. */
interface Zones {
  /** Builders push here, without signatures. */
  readonly staging: string;
  /** What users install from; the notary job alone signs into it. */
  readonly release: string;
}

/** @returns undefined for a registry, where one place serves builders and users */
function zonesOf({ name, mirror = `s3://BUCKET/${name}` }: NewStack): Zones | undefined {
  if (isRegistryUrl(mirror)) return undefined;
  const release = mirror.replace(/\/+$/, '');
  // A sibling, so that credentials can be limited to one of them.
  const inside = /^[a-z][a-z0-9+.-]*:\/\/[^/]+$/i.test(release);
  return { release, staging: `${release}${inside ? '/' : '-'}staging` };
}

function mirrorSection(stack: NewStack): string {
  const { name, mirror } = stack;
  if (mirror === undefined) {
    return `  mirrors:
    # A folder of this machine to start with. For CI, two places that every job can reach; see README.md.
    buildcache-destination:
      url: ${yamlText(`~/.local/share/stackwright/mirrors/${name}`)}
      signed: true
`;
  }
  const zones = zonesOf(stack);
  if (!zones) {
    return `  mirrors:
    buildcache-destination:
      url: ${yamlText(mirror)}
      # Packages are checked by checksum only. To have them signed: true, and SPACK_SIGNING_KEY for the jobs.
      signed: false
`;
  }
  return twoMirrors(zones);
}

function twoMirrors({ staging, release }: Zones): string {
  return `  mirrors:
    # Builders push here. They have no key, so nobody should install from it.
    buildcache-destination:
      url: ${yamlText(staging)}
      signed: false
    # What users install from. The job that signs is the only one with the key.
    release:
      url: ${yamlText(release)}
      signed: true
`;
}

function yamlText(text: string): string {
  return stringify(text, { lineWidth: 0 }).trim();
}

function manifest(stack: NewStack): string {
  const { name, specs } = stack;
  return `# What is built. A Spack environment: https://spack.readthedocs.io/en/latest/environments.html
spack:
  specs:
${specs.map((spec) => `    - ${yamlText(spec)}\n`).join('')}
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
          # After all builds, also failed ones: it tells the commit what became of them.
          when: always
          environment: { name: report, action: access }
          after_script:
            - ${yamlText(reportPipeline())}
          artifacts:
            when: always
            reports: { junit: junit.xml }
`;
}

/**
 * Reports what the jobs of a generated pipeline left in their artifacts. The status is of the parent's pipeline, in which
 * it became pending: a status of the child's would leave that one pending for ever.
 */
function reportPipeline(): string {
  return `mkdir -p jobs_scratch_dir && CI_PIPELINE_ID="\${PARENT_PIPELINE_ID:-$CI_PIPELINE_ID}" ${command()} report . --collect jobs_scratch_dir --comment --junit junit.xml`;
}

/** The command in this version. */
function command(): string {
  return `npx --yes stackwright@${version()}`;
}

function settings({ base }: NewStack): string {
  return `# The public keys whose signatures count. To make a key: stackwright key create CI -o ci.key --public keys/ci.pub
trust: []
#  - keys/ci.pub

image:
  # It has to bring what spack.yaml calls external, the C library first of all.
  base: ${yamlText(base)}
`;
}

/** Commands of the job that alone has the key. Its checks come first: what it signs, users install. */
function signing(): string[] {
  return [
    // A lock that was edited by hand is refused.
    `${command()} check .`,
    // Place, name and hash of each package are checked, and only what the lock names is signed.
    `${command()} mirror copy --unsigned --sign --stack . "$STACK_STAGING" "$STACK_RELEASE"`,
    `${command()} mirror verify --stack . --trust ${publicKey} "$STACK_RELEASE"`,
  ];
}

/** Commands that build a proposed change without any secret. @param own the mirror of this job alone */
function proposed(stack: NewStack, own: string): { readonly title: string; readonly run: string }[] {
  const seed = {
    title: 'Take over what the main branch has built',
    run: `${command()} mirror copy --anonymous --trust ${publicKey} --stack . "$STACK_RELEASE" ${own} || echo "Nothing was taken over."`,
  };
  return [
    { title: 'Check the stack', run: `${command()} check .` },
    ...(zonesOf(stack) ? [seed] : []),
    {
      title: 'Build what is missing, into a mirror of this job alone',
      run: `${command()} run . --mirror ${own}`,
    },
  ];
}

const publicKey = 'keys/ci.pub';

function gitlab(stack: NewStack): string {
  const zones = zonesOf(stack);
  const own = '.stackwright/merge-request';
  const list = (lines: readonly string[]) => lines.map((line) => `    - ${yamlText(line)}\n`).join('');
  const protectedOnly = `  rules:
    - if: $CI_COMMIT_TAG
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
`;
  const keyNote = `# SPACK_SIGNING_KEY: masked, protected, environment scope "release". Only the job "sign" gets it.
# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, twice: masked and protected, of a user that may write to the staging mirror
# only; and with the environment scope "release", of one that may write to the release mirror.
`;
  return `# Two zones. Merge requests are built without any secret, into a mirror of their own that is deleted after a week.
# The main branch and tags build into the staging mirror, and one job, which alone has the key, checks and signs what
# users get.
#
# Variables to set in the project's settings (Settings, CI/CD, Variables):
${zones ? keyNote : "# The registry's credentials: masked and protected.\n"}# GITLAB_TOKEN (optional): a project access token with the scope "api", masked, protected, environment scope "report". It
# lets the pipeline set the status of the commit.
# Protect the main branch and the tags, so that nobody else's jobs get protected variables.
stages: [check, generate, build, ${zones ? 'sign, ' : ''}publish]

workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_COMMIT_TAG
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH

default:
  image: ${jobImage}

variables:
  SPACK_REF: ${spackRef}
${zones ? `  STACK_STAGING: ${yamlText(zones.staging)}\n  STACK_RELEASE: ${yamlText(zones.release)}\n` : ''}
merge-request:
  stage: check
  script:
${list(proposed(stack, own).map(({ run }) => run))}  after_script:
    - ${command()} report . --no-status --junit junit.xml
  artifacts:
    when: always
    paths: [${own}]
    reports: { junit: junit.xml }
    expire_in: 1 week
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"

generate:
  stage: generate
  environment: { name: report, action: access }
  script:
    - ${command()} generate . --output pipeline.yml
    # Without the token, or without the forge, the builds go on all the same.
    - if [ -n "\${GITLAB_TOKEN:-}" ]; then ${command()} report . --pending || true; fi
  artifacts:
    paths: [pipeline.yml, jobs_scratch_dir]
${protectedOnly}
build:
  stage: build
  variables:
    PARENT_PIPELINE_ID: $CI_PIPELINE_ID
  trigger:
    include:
      - artifact: pipeline.yml
        job: generate
    strategy: depend
${protectedOnly}
${
  zones
    ? `sign:
  stage: sign
  environment: release
  script:
${list(signing())}${protectedOnly}
`
    : ''
}publish-image:
  stage: publish
${zones ? '  variables:\n    REMOTE_BUILDCACHE_URL: $STACK_RELEASE\n' : ''}  script:
    - npx --yes @stackwright/image-hook@${version()} .
${protectedOnly}`;
}

function github(stack: NewStack): string {
  const { name } = stack;
  const zones = zonesOf(stack);
  // GitHub's own expressions, which a template string would take for its own.
  const expression = (text: string) => `\${{ ${text} }}`;
  const secret = (of: string) => expression(`secrets.${of}`);
  const { checkout, upload, download } = githubActions;
  const own = '.stackwright/pull-request';
  const ofOwnRequest =
    "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name == github.repository";
  const toCommit = ['checks: write', 'statuses: write'];
  const toRequest = ['contents: read', ...toCommit, 'pull-requests: write']
    .map((line) => `      ${line}\n`)
    .join('');
  const token = `        env:
          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}
`;
  const fetchStack = `      - uses: ${checkout.pinned} # ${checkout.version}
        with:
          persist-credentials: false
`;
  const aws = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']
    .map((variable) => `          ${variable}: ${secret(variable)}\n`)
    .join('');
  const job = (id: string, needs: string, environment: string, permissions: readonly string[]) => `  ${id}:
    if: github.event_name == 'push'
${needs && `    needs: ${needs}\n`}    runs-on: ubuntu-24.04
    container: ${jobImage}
    environment: ${environment}
    permissions:
${['contents: read', ...permissions].map((line) => `      ${line}\n`).join('')}    steps:
${fetchStack}`;
  return `# Two zones. Pull requests are built without any secret, into a mirror of their own that is deleted after a week.
# The main branch and tags build into the staging mirror, and one job, which alone has the key, checks and signs what
# users get. Two environments (Settings, Environments), both allowed for the main branch and tags alone, keep the secrets:
# "build": AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of a user that may write to the staging mirror and read the other.
# "release": SPACK_SIGNING_KEY, and the same two of a user that may write to the release mirror.
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

env:
  SPACK_REF: ${spackRef}
${zones ? `  STACK_STAGING: ${yamlText(zones.staging)}\n  STACK_RELEASE: ${yamlText(zones.release)}\n` : ''}
jobs:
  check:
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-24.04
    container: ${jobImage}
    permissions:
      contents: read
    steps:
${fetchStack}${proposed(stack, own)
  .map(({ title, run }) => `      - name: ${title}\n        run: ${yamlText(run)}\n`)
  .join('')}      - name: Keep the mirror for those who try the change
        uses: ${upload.pinned} # ${upload.version}
        with:
          name: mirror
          path: ${own}
          include-hidden-files: true
          retention-days: 7
      - name: Keep what the builds left
        if: always()
        uses: ${upload.pinned} # ${upload.version}
        with:
          name: builds
          path: |
            .stackwright/*/builds
            .stackwright/*/logs
          include-hidden-files: true
          if-no-files-found: ignore
          retention-days: 7

  # Builds nothing, and so may write to the pull request. Forks only have a token that can read.
  start:
    if: ${ofOwnRequest}
    runs-on: ubuntu-24.04
    container: ${jobImage}
    permissions:
${toRequest}    steps:
${fetchStack}      - name: Say what will be built
        continue-on-error: true
        run: ${command()} report . --pending --check --comment
${token}
  tell:
    if: always() && ${ofOwnRequest}
    needs: [start, check]
    runs-on: ubuntu-24.04
    container: ${jobImage}
    permissions:
${toRequest}    steps:
${fetchStack}      - name: Fetch what the builds left
        id: builds
        continue-on-error: true
        uses: ${download.pinned} # ${download.version}
        with:
          name: builds
          path: builds
      - name: Say what was built
        if: steps.builds.outcome == 'success' || needs.check.result == 'success'
        run: |
          mkdir -p builds
          ${command()} report . --collect builds --check --comment --junit junit.xml
${token}
${job('build', '', 'build', zones ? toCommit : ['packages: write', ...toCommit])}      - name: Say what will be built
        continue-on-error: true
        run: ${command()} report . --pending --check
        env:
          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}
      - name: Build what the mirrors lack
        run: ${command()} run .
        env:
${zones ? aws : `          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}\n`}      - name: Say what was built
        if: always()
        run: ${command()} report . --check --junit junit.xml
${token}
${
  zones
    ? `${job('sign', 'build', 'release', [])}      - name: Check and sign what was built
        run: |
${signing()
  .map((line) => `          ${line}\n`)
  .join('')}        env:
          SPACK_SIGNING_KEY: ${secret('SPACK_SIGNING_KEY')}
${aws}
`
    : ''
}${job('publish', zones ? 'sign' : 'build', 'build', ['packages: write'])}      - name: Publish the image
        run: npx --yes @stackwright/image-hook@${version()} .
        env:
          GITHUB_TOKEN: ${secret('GITHUB_TOKEN')}
${zones ? `          REMOTE_BUILDCACHE_URL: ${expression('env.STACK_RELEASE')}\n${aws}` : ''}`;
}

function hook(): string {
  return `#!/bin/sh
# DockerHub calls this instead of building a Dockerfile.
exec npx --yes @stackwright/image-hook@${version()} .
`;
}

function readme(stack: NewStack): string {
  const { name, mirror } = stack;
  const zones = zonesOf(stack);
  const steps = [
    'Say in `spack.yaml` what is to be built, then `stackwright concretize .`, and commit `spack.lock`.',
    `Make a signing key: \`stackwright key create CI -o ci.key --public ${publicKey}\`. Commit \`${publicKey}\` and name it under \`trust:\` in \`stackwright.yaml\`; put what \`ci.key\` holds into the secret \`SPACK_SIGNING_KEY\`, where only the job that signs can get it (the comments of the CI files say where), and delete the file.`,
    ...(mirror === undefined && zones
      ? [
          `Before CI takes over, replace the mirror in \`spack.yaml\` by two that all jobs can reach, and name them in the CI files, too:\n\n   \`\`\`yaml\n${twoMirrors(zones).trimEnd().replace(/^/gm, '   ')}\n   \`\`\``,
        ]
      : []),
    ...(zones
      ? [
          'Give CI the credentials of the two mirrors: builders may write to the first, the job that signs to the second.',
        ]
      : []),
    '`stackwright doctor .` says what is still missing.',
    `Push. CI builds what the mirrors lack,${zones ? ' signs it in a job of its own,' : ''} and on the main branch or a tag \`rev-NAME\` publishes the image. Pull requests are built without any secret.`,
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
