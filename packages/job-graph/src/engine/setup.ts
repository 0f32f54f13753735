import { type Attributes, commands, isMapping } from '../ci/attributes.js';
import type { PipelineInput } from './pipeline-input.js';

/** What the jobs of a pipeline are to bring by themselves where their machine or image does not have it. */
export interface JobSetup {
  readonly stackwright: {
    /** The version that wrote the pipeline, and so the one that its jobs use. */
    readonly version: string;
    /** The shell command that stands for `stackwright`; that version from npm when left out. */
    readonly command?: string;
  };
  readonly spack: {
    /** Spack's own repository when left out. */
    readonly repo?: string;
    /** A branch, a tag or a commit. Without it, jobs take the Spack that they find. */
    readonly ref?: string;
  };
}

/** The Node that is brought where there is none that is new enough. */
const nodeVersion = '22.21.1';

/** What the variables of {@link JobSetup} are called, in the order in which they are written. */
export function setupVariables({ stackwright, spack }: JobSetup): Readonly<Record<string, string>> {
  const variables = {
    SPACK_REPO: spack.repo,
    SPACK_REF: spack.ref,
    STACKWRIGHT_VERSION: stackwright.version,
    STACKWRIGHT_COMMAND: stackwright.command,
  };
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Shell commands that bring programs, by what they bring; each list has at most one text of several lines. */
export interface SetupLines {
  /** Packages of the operating system, in a container. */
  readonly tools: readonly string[];
  /** Puts `stackwright` and `node` on `PATH`. */
  readonly stackwright: readonly string[];
  /** Puts `spack` on `PATH` and has the shell know `spack env activate`: for the shell that goes on with the job. */
  readonly spack: readonly string[];
}

const nothing: SetupLines = { tools: [], stackwright: [], spack: [] };

/**
 * The shell commands that bring what a job's own commands call. There are none for a job that calls neither
 * `stackwright` nor `spack`, and for one that says that it brings its own: by `before_script::` (which replaces), by
 * sourcing Spack's `setup-env`, or by a variable `SPACK_ROOT`.
 */
export function setupOf(attributes: Attributes | undefined, setup: JobSetup | undefined): SetupLines {
  const before = attributes?.get('before_script');
  if (!setup || !attributes || before?.mode === 'replace') return nothing;
  const lines = [...commands(before?.value), ...commands(attributes.get('script')?.value)];
  const variables = attributes.get('variables')?.value;
  const ownSpack =
    lines.some((line) => line.includes('setup-env.')) ||
    (isMapping(variables) && variables.has('SPACK_ROOT'));
  const stackwright = lines.some((line) => calls.stackwright.test(line));
  const spack = !ownSpack && setup.spack.ref !== undefined && lines.some((line) => calls.spack.test(line));
  const builds = spack || lines.some((line) => /\bstackwright rebuild\b/.test(line));
  return {
    tools: stackwright || spack ? [builds ? toolsToBuild : toolsToFetch] : [],
    stackwright: stackwright ? [bringStackwright] : [],
    spack: spack ? [bringSpack] : [],
  };
}

const textsOf = new WeakMap<PipelineInput, readonly string[]>();

/** The different texts of all jobs' setups, for engines that write each of them once. */
export function setupTexts(input: PipelineInput): readonly string[] {
  let texts = textsOf.get(input);
  if (!texts) textsOf.set(input, (texts = differentTexts(input)));
  return texts;
}

function differentTexts({ attributes, setup, ci }: PipelineInput): readonly string[] {
  const texts = new Set<string>();
  const jobs = [...attributes.build.values(), ...(ci.rebuildIndex ? [attributes.service.reindex] : [])];
  for (const own of jobs) {
    const { tools, stackwright, spack } = setupOf(own, setup);
    for (const text of [...tools, ...stackwright, ...spack]) texts.add(text);
  }
  return [...texts].sort();
}

const calls = {
  stackwright: /(?:^|[\s;&|(])stackwright(?:\s|$)/m,
  spack: /(?:^|[\s;&|(])spack(?:\s|$)/m,
};

/**
 * Installs programs where they are missing. Only in a container, which is thrown away after the job, and as root: the
 * programs of any other machine are its administrator's business. `STACKWRIGHT_INSTALL=false` switches it off.
 */
function installTools(
  programs: string,
  packages: Readonly<Record<'apt' | 'dnf' | 'zypper', string>>,
): string {
  return `# Installs in a container what Spack and this job need and the image lacks.
missing=""
for program in ${programs}; do command -v "$program" >/dev/null 2>&1 || missing="$missing $program"; done
if [ -n "$missing" ] && [ "\${STACKWRIGHT_INSTALL:-true}" = true ] && [ "$(id -u)" = 0 ] && { [ -n "\${container:-}\${KUBERNETES_SERVICE_HOST:-}" ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]; }; then
  echo "Installing what is missing:$missing"
  if command -v apt-get >/dev/null 2>&1; then
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ${packages.apt} || exit 1
  elif command -v dnf >/dev/null 2>&1; then
    dnf -q -y install ${packages.dnf} || exit 1
  elif command -v zypper >/dev/null 2>&1; then
    zypper -q -n install ${packages.zypper} || exit 1
  fi
fi`;
}

/** What Spack's documentation lists as its prerequisites. */
const toolsToBuild = installTools('bzip2 file gcc git gpg make patch python3 tar unzip xz', {
  apt: 'build-essential bzip2 ca-certificates curl file gfortran git gnupg gzip patch python3 tar unzip xz-utils zstd',
  dnf: 'bzip2 ca-certificates file findutils gcc gcc-c++ gcc-gfortran git gnupg2 gzip make patch python3 tar unzip which xz zstd',
  zypper:
    'bzip2 ca-certificates-mozilla curl file gcc gcc-c++ gcc-fortran git gpg2 gzip make patch python3 tar unzip xz zstd',
});

const toolsToFetch = installTools('curl tar', {
  apt: 'ca-certificates curl tar',
  dnf: 'ca-certificates tar',
  zypper: 'ca-certificates-mozilla curl tar',
});

/** Where the setup keeps what it brings; every job of a runner's folder finds what the one before left. */
const toolsFolder = `tools="\${CI_PROJECT_DIR:-$PWD}/.stackwright/tools"`;

const bringStackwright = `# Brings stackwright, and Node for it, where they are missing.
${toolsFolder}
if [ -n "\${STACKWRIGHT_COMMAND:-}" ] || [ "$(stackwright --version 2>/dev/null)" != "$STACKWRIGHT_VERSION" ]; then
  mkdir -p "$tools/bin" || exit 1
  printf '#!/bin/sh\\nexec %s "$@"\\n' "\${STACKWRIGHT_COMMAND:-npx --yes stackwright@$STACKWRIGHT_VERSION}" > "$tools/bin/stackwright.$$" || exit 1
  chmod +x "$tools/bin/stackwright.$$"
  mv -f "$tools/bin/stackwright.$$" "$tools/bin/stackwright" || exit 1
  PATH="$tools/bin:$PATH"
  export PATH
  if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null &&
    ! { [ -n "\${STACKWRIGHT_COMMAND:-}" ] && stackwright --version >/dev/null 2>&1; }; then
    node="node-v${nodeVersion}-$(uname -s | tr 'A-Z' 'a-z')-$(uname -m | sed 's/^x86_64$/x64/; s/^aarch64$/arm64/')"
    if [ ! -x "$tools/$node/bin/node" ]; then
      echo "Fetching $node"
      mkdir -p "$tools/fetch.$$" || exit 1
      for file in SHASUMS256.txt "$node.tar.gz"; do
        url="\${NODEJS_ORG_MIRROR:-https://nodejs.org/dist}/v${nodeVersion}/$file"
        { command -v curl >/dev/null 2>&1 && curl -fsSL --retry 3 -o "$tools/fetch.$$/$file" "$url"; } ||
          wget -q -O "$tools/fetch.$$/$file" "$url" || { echo "Could not fetch $url" >&2; exit 1; }
      done
      (
        cd "$tools/fetch.$$" || exit 1
        grep " $node.tar.gz\\$" SHASUMS256.txt > checksum || exit 1
        { command -v sha256sum >/dev/null 2>&1 && sha256sum -c checksum || shasum -a 256 -c checksum; } || exit 1
        tar -xzf "$node.tar.gz"
      ) || { echo "The checksum of $node.tar.gz is wrong, or it cannot be unpacked." >&2; exit 1; }
      # A job that runs at the same time may have been quicker.
      [ -e "$tools/$node" ] || mv "$tools/fetch.$$/$node" "$tools/$node" 2>/dev/null || [ -e "$tools/$node" ] || exit 1
      rm -rf "$tools/fetch.$$"
    fi
    PATH="$tools/$node/bin:$PATH"
  fi
fi`;

const bringSpack = `# Brings the Spack that SPACK_REPO and SPACK_REF name, where there is none.
${toolsFolder}
if ! command -v spack >/dev/null 2>&1; then
  SPACK_ROOT="$tools/spack-$(echo "$SPACK_REF" | tr -c 'A-Za-z0-9.\\n' '-')"
  if [ ! -e "$SPACK_ROOT/bin/spack" ]; then
    mkdir -p "$tools" && git init -q "$SPACK_ROOT.$$" || exit 1
    git -C "$SPACK_ROOT.$$" fetch -q --depth=1 "\${SPACK_REPO:-https://github.com/spack/spack}" "$SPACK_REF" || exit 1
    git -C "$SPACK_ROOT.$$" checkout -q --detach FETCH_HEAD || exit 1
    [ -e "$SPACK_ROOT" ] || mv "$SPACK_ROOT.$$" "$SPACK_ROOT" || exit 1
    rm -rf "$SPACK_ROOT.$$"
  fi
  export SPACK_ROOT
  . "$SPACK_ROOT/share/spack/setup-env.sh"
fi`;
