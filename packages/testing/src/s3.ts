import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';

const run = promisify(execFile);
const programs = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin'];

/** Why there can be no S3 server here; undefined when there can. */
export function cephMissing(): string | undefined {
  try {
    execFileSync('which', programs, { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs Ceph: apt-get install ceph-mon ceph-osd radosgw';
  }
}

export interface S3Server {
  readonly endpoint: string;
  /** The environment that opens stores of this server. */
  readonly env: NodeJS.ProcessEnv;
  /** For what stores cannot do. */
  client(): S3Client;
  createBucket(name: string): Promise<void>;
  /** Lets everybody read and write a bucket without credentials. */
  openBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a monitor, one store in memory and an S3 gateway of Ceph on 127.0.0.1. Takes 5 seconds and 400 MB. */
export async function startS3(): Promise<S3Server> {
  const base = await mkdtemp(join(tmpdir(), 'stackwright-ceph-'));
  for (const folder of ['mon', 'osd', 'log', 'run', 'rgw']) await mkdir(join(base, folder));
  const [monitor, gateway] = [await freePort(), await freePort()];
  const fsid = randomUUID();
  await writeFile(join(base, 'ceph.conf'), configuration(base, fsid, monitor, gateway));
  const conf = ['-c', join(base, 'ceph.conf')];
  const children: ChildProcess[] = [];
  const start = (program: string, args: readonly string[]) => {
    const child = spawn(program, [...conf, ...args], { stdio: 'ignore' });
    children.push(child);
  };
  const stop = async () => {
    for (const child of children.reverse()) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null) {
        child.kill('SIGKILL');
        await ended;
      }
    }
    await rm(base, { recursive: true, force: true });
  };
  try {
    const map = join(base, 'monmap');
    await run('monmaptool', [
      '--create',
      '--clobber',
      '--fsid',
      fsid,
      '--addv',
      'a',
      `[v2:127.0.0.1:${monitor}]`,
      map,
    ]);
    await run('ceph-mon', [...conf, '-i', 'a', '--mkfs', '--monmap', map]);
    start('ceph-mon', ['-i', 'a', '-f']);
    await until(() => run('ceph', [...conf, 'osd', 'ls'], { timeout: 5000 }));
    const osd = randomUUID();
    await run('ceph', [...conf, 'osd', 'new', osd, '0']);
    await run('ceph-osd', [...conf, '-i', '0', '--mkfs', '--osd-uuid', osd, '--osd-data', join(base, 'osd')]);
    start('ceph-osd', ['-i', '0', '-f']);
    await until(async () => {
      const { stdout } = await run('ceph', [...conf, 'osd', 'stat'], { timeout: 5000 });
      if (!stdout.includes('1 up')) throw new Error('not yet');
    });
    start('radosgw', ['-n', 'client.rgw', '-f']);
    const endpoint = `http://127.0.0.1:${gateway}`;
    await until(() => fetch(endpoint));
    const user = [
      '--uid=ci',
      '--display-name=ci',
      '--access-key=AKIALOCALTEST',
      '--secret-key=local-test-secret',
    ];
    await run('radosgw-admin', [...conf, '-n', 'client.rgw', 'user', 'create', ...user]);
    const credentials = { accessKeyId: 'AKIALOCALTEST', secretAccessKey: 'local-test-secret' };
    const client = () => new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    return {
      endpoint,
      env: {
        S3_ENDPOINT_URL: endpoint,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
      client,
      createBucket: async (name) => {
        const once = client();
        await once.send(new CreateBucketCommand({ Bucket: name }));
        once.destroy();
      },
      openBucket: async (name) => {
        const once = client();
        const all = { Effect: 'Allow', Principal: '*', Action: 's3:*' };
        const Resource = [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`];
        const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ ...all, Resource }] });
        await once.send(new PutBucketPolicyCommand({ Bucket: name, Policy }));
        once.destroy();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Does `work` until it succeeds, for half a minute. */
export async function until(work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await work();
      return;
    } catch (error) {
      if (attempt === 300) throw error;
      await sleep(100);
    }
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

function configuration(base: string, fsid: string, monitor: number, gateway: number): string {
  return `[global]
fsid = ${fsid}
mon_host = [v2:127.0.0.1:${monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_supported = none
run_dir = ${base}/run
admin_socket = ${base}/run/$name.$pid.asok
log_file = ${base}/log/$name.log
crash_dir = ${base}/run
mon_cluster_log_file = ${base}/log/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
debug_ms = 0
debug_osd = 0
debug_mon = 0
debug_rgw = 0
[mon.a]
mon_data = ${base}/mon
mon_initial_members = a
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[osd.0]
osd_data = ${base}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_class_update_on_start = true
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:${gateway}
rgw_data = ${base}/rgw
ms_mon_client_mode = crc
ms_client_mode = crc
rgw_rados_pool_pg_num_min = 1
rgw_thread_pool_size = 64
rgw_crypt_require_ssl = false
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_run_sync_thread = false
`;
}

/**
 * A proxy in front of a server that treats a share of the requests badly: a dropped or cut connection, a delay, 500, 503.
 * @param without headers that do not reach the server; only unsigned requests pass without one that would be signed
 */
export async function startFaultyProxy(
  endpoint: string,
  share = 1 / 8,
  without: readonly string[] = [],
): Promise<{ url: string; faults: () => number; stop: () => Promise<void> }> {
  const target = new URL(endpoint);
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  let seed = 20260101;
  const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  let faults = 0;
  const proxy = createHttpServer((incoming, outgoing) => {
    const fault = random() < share ? Math.floor(random() * 6) : -1;
    if (fault >= 0) faults++;
    if (fault === 0) return void incoming.destroy();
    if (fault === 1 || fault === 2) {
      incoming.resume();
      return void outgoing.writeHead(fault === 1 ? 500 : 503, { connection: 'close' }).end();
    }
    for (const name of without) delete incoming.headers[name];
    const forward = httpRequest(
      {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
        agent,
      },
      (answer) => {
        // Cut off in the middle, or lost after the work was done.
        if (fault === 3) {
          answer.resume();
          return void incoming.socket.destroy();
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        if (fault === 4) {
          // A moment later: else the head of the answer is often lost, too.
          const cut = () => setTimeout(() => incoming.socket.destroy(), 5);
          answer.once('data', (chunk: Buffer) => outgoing.write(chunk.subarray(0, chunk.length >> 1)));
          return void answer.once('end', cut).resume();
        }
        answer.pipe(outgoing);
      },
    );
    forward.on('error', () => incoming.socket.destroy());
    if (fault === 5) setTimeout(() => incoming.pipe(forward), 30);
    else incoming.pipe(forward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    faults: () => faults,
    stop: async () => {
      agent.destroy();
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

/** Does `work` for all items, some at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item);
    }),
  );
}
