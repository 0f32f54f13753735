import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inputOf as input } from '../engine/engines.test.support.js';
import type { JobGraph } from '../graph/graph.js';
import { graph } from '../graph/graphs.test.support.js';
import { slurmScript } from './script.js';

const run = promisify(execFile);

const inputOf = (full: JobGraph, job: object, folder = '/project') =>
  input(full, { 'rebuild-index': false, 'pipeline-gen': [{ 'build-job': job }] }, { folder });
const options = (folder: string) => ({ name: 'test', stack: join(folder, 'stack'), folder });

describe('slurmScript', () => {
  const script = (job: object) =>
    slurmScript(inputOf(graph({ a: [] }), { 'script:': ['true'], ...job }), options('/p'));

  it.each([
    [
      'a partition and a constraint from tags',
      { tags: ['partition:big', 'constraint:avx2', 'x86_64'] },
      ['--partition=big', '--constraint=avx2'],
    ],
    ['options of sbatch from tags', { tags: ['--exclusive'] }, ['--exclusive']],
    [
      'processors and memory as Kubernetes writes them',
      { variables: { KUBERNETES_CPU_REQUEST: '2500m', KUBERNETES_MEMORY_REQUEST: '2Gi' } },
      ['--cpus-per-task=3', '--mem=2048M'],
    ],
    [
      'processors from the number of make jobs',
      { variables: { SPACK_BUILD_JOBS: '12' } },
      ['--cpus-per-task=12'],
    ],
    ['what sbatch has variables for', { variables: { SLURM_ACCOUNT: 'lab' } }, ['--account=lab']],
  ])('takes %s', (_name, job, wanted) => {
    const line = script(job)
      .split('\n')
      .find((each) => each.startsWith('  submit_job a '))!;
    for (const option of wanted) expect(line).toContain(option);
    expect(line).not.toContain('x86_64');
  });

  it('refuses an amount that is none', () => {
    expect(() => script({ variables: { KUBERNETES_MEMORY_REQUEST: 'lots' } })).toThrowError(/cannot be read/);
  });

  it('keeps commands as they are, whatever is in them', async () => {
    const text = script({ 'script:': ['echo \'a  b\' "$HOME" $(date) \\n', 'SCRIPT', 'EOF'] });
    expect(text).toContain('echo \'a  b\' "$HOME" $(date) \\n\nSCRIPT\nEOF\nSCRIPT_');
    const file = join(await mkdtemp(join(tmpdir(), 'slurm-')), 'x.sh');
    await writeFile(file, text);
    await run('bash', ['-n', file]);
  });
});

// Not everyone's PATH has the folder of the daemons, which this test names and which start each other.
process.env.PATH = `${process.env.PATH}:/usr/sbin`;
const tools = ['slurmctld', 'slurmd', 'munged'].map((name) => join('/usr/sbin', name));
const missing = tools.some((tool) => !existsSync(tool)) || process.getuid?.() !== 0;

describe.skipIf(missing)('with Slurm (as root; apt-get install slurm-wlm munge)', () => {
  let slurm: Awaited<ReturnType<typeof startSlurm>>;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slurm-work-'));
    slurm = await startSlurm();
  });
  afterAll(async () => {
    await slurm?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const submit = async (work: string, verb = 'submit') =>
    (await run('bash', [join(work, 'jobs.sh'), verb], { env: { ...process.env, SLURM_CONF: slurm.config } }))
      .stdout;
  const ended = async (work: string) => {
    for (let turn = 0; turn < 300; turn++) {
      const status = await submit(work, 'status');
      if (!/pending|running|completing|configuring/.test(status)) return status;
      await sleep(200);
    }
    throw new Error('the jobs did not end');
  };
  const stack = async (name: string, full: JobGraph, script: string[]) => {
    const work = join(folder, name);
    await mkdir(join(work, 'stack'), { recursive: true });
    await writeFile(
      join(work, 'jobs.sh'),
      slurmScript(inputOf(full, { 'script:': script }, work), { ...options(work), name }),
    );
    return work;
  };
  const log = async (work: string) => (await readFile(join(work, 'log'), 'utf8')).trim().split('\n');

  it('runs every job after those that it needs, and does nothing when run again', async () => {
    const work = await stack('whole', graph({ top: ['left', 'right'], left: ['base'], right: ['base'] }), [
      'echo "$SPACK_JOB_SPEC_PKG_NAME" >> log',
    ]);
    expect((await submit(work)).match(/submitted/g)).toHaveLength(4);
    expect(await ended(work)).not.toMatch(/failed|lost|not/);
    const order = await log(work);
    expect([order[0], order[3], order.length]).toEqual(['base', 'top', 4]);
    expect(await submit(work)).toBe('');
  });

  it('stops only the dependents of a failing job, and runs those when it is run again', async () => {
    const work = await stack('part', graph({ top: ['bad'], other: ['good'] }), [
      'if [[ $SPACK_JOB_SPEC_PKG_NAME == bad && ! -e fixed ]]; then exit 3; fi',
      'echo "$SPACK_JOB_SPEC_PKG_NAME" >> log',
    ]);
    await submit(work);
    const status = await ended(work);
    expect(status).toMatch(/failed +bad@1/);
    expect(status).toMatch(/lost or blocked +top@1/);
    expect((await log(work)).sort()).toEqual(['good', 'other']);
    await writeFile(join(work, 'fixed'), '');
    expect((await submit(work)).match(/submitted/g)).toHaveLength(2);
    await ended(work);
    expect((await log(work)).slice(2)).toEqual(['bad', 'top']);
  });
});

/** One controller and one node, with their own keys and ports, on this machine. */
async function startSlurm() {
  const folder = await mkdtemp(join(tmpdir(), 'slurm-parts-'));
  const file = (name: string) => join(folder, name);
  const host = hostname();
  await writeFile(file('munge.key'), Buffer.alloc(1024, 'stackwright-test'), { mode: 0o600 });
  const [ctldPort, slurmdPort] = [await freePort(), await freePort()];
  await writeFile(
    file('slurm.conf'),
    `ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${ctldPort}
SlurmdPort=${slurmdPort}
AuthType=auth/munge
AuthInfo=socket=${file('munge.sock')}
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
StateSaveLocation=${file('state')}
SlurmdSpoolDir=${file('spool')}
SlurmctldPidFile=${file('slurmctld.pid')}
SlurmdPidFile=${file('slurmd.pid')}
SlurmctldLogFile=${file('slurmctld.log')}
SlurmdLogFile=${file('slurmd.log')}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0,kill_invalid_depend
NodeName=${host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`,
  );
  await mkdir(file('state'));
  await mkdir(file('spool'));
  const env = { ...process.env, SLURM_CONF: file('slurm.conf') };
  const start = (command: string, args: string[]) => spawn(command, args, { env, stdio: 'ignore' });
  const parts = [
    start('munged', [
      '--foreground',
      '--force',
      `--socket=${file('munge.sock')}`,
      `--key-file=${file('munge.key')}`,
      `--pid-file=${file('munge.pid')}`,
      `--log-file=${file('munge.log')}`,
      `--seed-file=${file('munge.seed')}`,
    ]),
  ];
  const stop = async () => {
    for (const part of parts.reverse()) {
      if (part.exitCode !== null || part.signalCode !== null) continue;
      const gone = new Promise((resolve) => part.once('exit', resolve));
      part.kill('SIGTERM');
      const late = setTimeout(() => part.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(late);
    }
    await rm(folder, { recursive: true, force: true });
  };
  for (let turn = 0; turn < 50 && !existsSync(file('munge.sock')); turn++) await sleep(100);
  parts.push(start('slurmctld', ['-D', '-i']), start('slurmd', ['-D', '-N', host]));
  for (let turn = 0; turn < 150; turn++) {
    const { stdout } = await run('sinfo', ['--noheader', '--format=%T'], { env, timeout: 5000 }).catch(
      () => ({
        stdout: '',
      }),
    );
    if (stdout.trim() === 'idle') return { config: file('slurm.conf'), stop };
    await sleep(200);
  }
  const log = await readFile(file('slurmctld.log'), 'utf8').catch(() => '');
  await stop();
  throw new Error(`Slurm did not start:\n${log.split('\n').slice(-15).join('\n')}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
