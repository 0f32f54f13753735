import { isVariableName } from '../ci/ci-section.js';
import { artifactPaths } from '../ci/settings.js';
import { endScripts } from '../engine/end-scripts.js';
import { type JobScript, jobScript } from '../engine/job-script.js';
import { jobVariables, type PipelineInput, pipelineVariables } from '../engine/pipeline-input.js';
import { setupTexts } from '../engine/setup.js';
import { shellWord } from '../engine/shell.js';
import { badName, JobGraphError } from '../error.js';
import { type Job, shortName } from '../graph/graph.js';

export interface SlurmOptions {
  /** Of the stack: names the jobs and the folder that remembers what was submitted. */
  readonly name: string;
  /** The folder with `spack.yaml` and `spack.lock`; absolute. */
  readonly stack: string;
  /** Where jobs run and the state is kept; absolute. */
  readonly folder: string;
}

/**
 * A bash script that submits one job a package, each after those that it needs: `SCRIPT [submit|status|cancel]`.
 * It may be run again: what is done or still waits is left alone, what failed is submitted anew with its dependents.
 * Resources come from the same `ci` section: tags that are `sbatch` options (`--partition=…`, `-C…`), tags
 * `partition:NAME` and `constraint:NAME`, and the variables `KUBERNETES_CPU_REQUEST`, `KUBERNETES_MEMORY_REQUEST`,
 * `SPACK_BUILD_JOBS` and `SLURM_*`.
 * @throws JobGraphError (`input`) for a job without script, or a resource that cannot be read
 */
export function slurmScript(input: PipelineInput, options: SlurmOptions): string {
  const { graph } = input.pruned;
  const paths = artifactPaths(input.settings);
  const common = {
    ...pipelineVariables(input),
    SPACK_CONCRETE_ENV_DIR: options.stack,
    CI_PROJECT_DIR: options.folder,
  };
  const parts: string[] = [];
  const stateFolder = `${options.folder}/.stackwright-slurm/${safe(options.name)}`;
  const setups = setupTexts(input);
  const setupFile = (text: string) => `${stateFolder}/setup-${setups.indexOf(text)}.sh`;
  for (const job of graph.jobs.values()) {
    if (!/^[\w-]+$/.test(job.hash)) throw badName('hash of a job', job.hash);
    const script = jobScript(input.attributes.build.get(job.hash)!, {
      environment: options.stack,
      setup: input.setup,
      job,
    });
    const variables = { ...script.variables, ...jobVariables(input, job) };
    parts.push(
      submission(
        job.hash,
        `${job.node.name}@${job.node.version}`,
        job.dependencies,
        script,
        variables,
        setupFile,
        job,
      ),
    );
  }
  for (const [name, script] of endScripts(input, options.stack)) {
    // After everything, whatever became of it.
    parts.push(submission(name, name, ['any'], script, script.variables, setupFile));
  }
  const exports = exportsOf(common).join('\n');
  const folders = [paths.logs, paths.reproduction, paths.tests, paths.userData].map(shellWord).join(' ');
  return `#!/usr/bin/env bash
# Builds the stack ${printable(options.name)} with Slurm: ${graph.jobs.size} jobs.
# Usage: bash THIS [submit|status|cancel]. Written by stackwright generate; safe to run again.
set -euo pipefail

folder=${shellWord(options.folder)}
state=${shellWord(stateFolder)}
stack=${shellWord(safe(options.name))}
mkdir -p "$state"

${exports}

# What was submitted: one file a job with Slurm's number, and "done" or "failed" when the job has ended.
declare -A id
all=()

queued() { squeue --noheader --format=%i --jobs="$1" 2>/dev/null | grep -qx "$1"; }

state_of() {
  local key=$1 now=""
  # Asked once, and before the files are looked at: a job that ends meanwhile has left its file by then.
  if [[ ! -e $state/$key.done && -e $state/$key.id ]]; then
    now=$(squeue --noheader --format=%T --jobs="$(<"$state/$key.id")" 2>/dev/null | tr 'A-Z' 'a-z' || true)
  fi
  if [[ -e $state/$key.done ]]; then echo "done"
  elif [[ -n $now ]]; then echo "$now"
  elif [[ -e $state/$key.failed ]]; then echo "failed"
  elif [[ -e $state/$key.id ]]; then echo "lost or blocked"
  else echo "not submitted"
  fi
}

# submit_job KEY NAME SECONDS-OR-NOTHING "DEPENDENCIES" SBATCH-OPTION... <<< SCRIPT
submit_job() {
  local key=$1 name=$2 seconds=$3 needs=$4 depend="" need script
  shift 4
  script=$(cat)
  if [[ -e $state/$key.done ]]; then return; fi
  if [[ -e $state/$key.id ]] && queued "$(<"$state/$key.id")"; then
    id[$key]=$(<"$state/$key.id")
    all+=("\${id[$key]}")
    return
  fi
  for need in $needs; do
    if [[ $need == any ]]; then
      if (( \${#all[@]} > 0 )); then depend=$(IFS=:; echo "afterany:\${all[*]}"); fi
    elif [[ ! -e $state/$need.done ]]; then
      # Slurm takes a number that it does not know for one that ended well, so it is never given one.
      depend+="\${depend:+,}afterok:\${id[$need]:?$name needs a job that was not submitted}"
    fi
  done
  rm -f "$state/$key.failed"
  id[$key]=$(sbatch --parsable --job-name="$stack:$name" --chdir="$folder" --output="$state/$key.log" \\
    --kill-on-invalid-dep=yes \${seconds:+--time="$(( (seconds + 59) / 60 ))"} \${depend:+--dependency="$depend"} "$@" <<EOF
#!/usr/bin/env bash
finish() { code=\\$?; if (( code == 0 )); then touch $(printf %q "$state/$key.done"); else touch $(printf %q "$state/$key.failed"); fi; exit "\\$code"; }
trap finish EXIT
trap 'exit 143' TERM
(
set -eo pipefail
$script
)
EOF
)
  id[$key]=\${id[$key]%%;*}
  echo "\${id[$key]}" > "$state/$key.id"
  all+=("\${id[$key]}")
  echo "submitted \${id[$key]} $name"
}

submit() {
  mkdir -p ${folders}
${setups.map((text) => `  printf '%s\\n' ${shellWord(text)} > ${shellWord(setupFile(text))}`).join('\n')}
${parts.join('\n')}
}

show() { printf '%-16s %s\\n' "$(state_of "$1")" "$2"; }

status() {
  :
${[...graph.jobs.values()].map((job) => `  show ${shellWord(job.hash)} ${shellWord(printable(shortName(job.node)))}`).join('\n')}
}

cancel() {
  local file
  for file in "$state"/*.id; do
    [[ -e $file ]] && scancel "$(<"$file")" 2>/dev/null || true
  done
}

cd "$folder"
case \${1:-submit} in
  submit) submit ;;
  status) status ;;
  cancel) cancel ;;
  *) echo "usage: $0 [submit|status|cancel]" >&2; exit 2 ;;
esac
`;
}

function submission(
  key: string,
  name: string,
  needs: readonly string[],
  script: JobScript,
  variables: Readonly<Record<string, string>>,
  setupFile: (text: string) => string,
  job?: Job,
): string {
  const exports = exportsOf(variables);
  const after = script.after.length > 0 ? [`trap ${shellWord(script.after.join('\n'))} EXIT`] : [];
  const { tools, stackwright, spack } = script.setup;
  // Read from files, as the same lines in a thousand jobs would be most of the script.
  const setup = [...tools, ...stackwright, ...spack].map((text) => `. ${shellWord(setupFile(text))}`);
  const body = [...exports, ...after, ...setup, ...script.before, ...script.script].join('\n');
  let mark = 'SCRIPT';
  while (body.split('\n').includes(mark)) mark += '_';
  const head = [
    key,
    printable(name),
    script.timeout === undefined ? '' : String(script.timeout),
    needs.join(' '),
    ...resources(script, job),
  ].map(shellWord);
  return `  submit_job ${head.join(' ')} <<'${mark}'\n${body}\n${mark}`;
}

/** A name is written as it is, so only one that is a variable's to the shell is taken. */
function exportsOf(variables: Readonly<Record<string, string>>): string[] {
  return Object.entries(variables).map(([name, value]) => {
    if (!isVariableName(name)) throw badName('variable', name);
    return `export ${name}=${shellWord(value)}`;
  });
}

/** Options of `sbatch` from a job's tags and variables. */
function resources({ tags, variables }: JobScript, job: Job | undefined): string[] {
  const wrong = (name: string) =>
    new JobGraphError(
      'bad-resource',
      `${name}=${variables[name]}${job ? ` of ${job.node.name}` : ''} cannot be read as an amount.`,
    );
  const options: string[] = [];
  for (const tag of tags) {
    const [, kind, value] = /^(partition|constraint|account|qos):(.+)$/.exec(tag) ?? [];
    if (kind) options.push(`--${kind}=${value}`);
    else if (/^--?[a-z]/i.test(tag)) options.push(tag);
  }
  const cpu = variables.KUBERNETES_CPU_REQUEST;
  const cpus = cpu === undefined ? undefined : cpuCount(cpu);
  if (cpus !== undefined && !(cpus > 0)) throw wrong('KUBERNETES_CPU_REQUEST');
  const jobs = variables.SPACK_BUILD_JOBS;
  const count = cpus ?? (jobs && /^\d+$/.test(jobs) ? Number(jobs) : undefined);
  if (count !== undefined) options.push(`--cpus-per-task=${Math.ceil(count)}`);
  const memory = variables.KUBERNETES_MEMORY_REQUEST;
  if (memory !== undefined) {
    const megabytes = memorySize(memory);
    if (!(megabytes > 0)) throw wrong('KUBERNETES_MEMORY_REQUEST');
    options.push(`--mem=${Math.ceil(megabytes)}M`);
  }
  // What sbatch itself reads from its environment, such as SLURM_PARTITION, as an option here.
  for (const [name, value] of Object.entries(variables)) {
    const [, option] = /^(?:SLURM|SBATCH)_([A-Z_]+)$/.exec(name) ?? [];
    if (option) options.push(`--${option.toLowerCase().replaceAll('_', '-')}=${value}`);
  }
  return options;
}

/** Kubernetes' `500m` or `4`. */
function cpuCount(text: string): number {
  const [, number, milli] = /^(\d+(?:\.\d+)?)(m?)$/.exec(text.trim()) ?? [];
  return number ? Number(number) / (milli ? 1000 : 1) : Number.NaN;
}

/** Kubernetes' `16G`, `512Mi` or plain bytes, in units of 1024 squared. */
function memorySize(text: string): number {
  const [, number, prefix = '', binary] = /^(\d+(?:\.\d+)?)([kKMGT]?)(i?)B?$/.exec(text.trim()) ?? [];
  if (!number) return Number.NaN;
  const power = 'KMGT'.indexOf(prefix.toUpperCase()) + 1;
  return (Number(number) * (binary ? 1024 : 1000) ** (prefix ? power : 0)) / 1024 ** 2;
}

/** A name that can be a file's. */
function safe(name: string): string {
  return name.replace(/[^\w.-]+/g, '-') || 'stack';
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
