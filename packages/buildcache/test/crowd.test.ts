import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  cephMissing,
  has,
  type S3Server,
  startFaultyProxy,
  startRegistry,
  startS3,
  startVersitygw,
} from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  KeySigner,
  type OciMirror,
  openMirror,
  openV3Mirror,
  presentPackages,
  Trust,
  verifyMirror,
} from '../src/index.js';
import { madeHash, madePackage, removeTemporaryFolders, temporaryFolder } from '../src/testing.js';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const built = existsSync(join(dist, 'testing.js'));
const missing = cephMissing();
const names = Array.from({ length: 32 }, (_, i) => `p${i}`);
afterAll(removeTemporaryFolders);

/** Pushes every eighth package and brings the index up to date after each; or only does that, again and again. */
const worker = `
import { openMirror } from '${pathToFileURL(join(dist, 'index.js')).href}';
import { madePackage } from '${pathToFileURL(join(dist, 'testing.js')).href}';
const [url, what, number] = process.argv.slice(2);
const mirror = await openMirror(url);
if (what === 'push') {
  for (let i = Number(number); i < ${names.length}; i += 8) {
    await mirror.push(madePackage('p' + i, { needs: i > 8 ? ['p' + (i - 8)] : [] }));
    await mirror.updateIndex();
  }
} else {
  for (let i = 0; i < 6; i++) await mirror.updateIndex({ full: i === 3 });
}
await mirror.close();
`;

async function crowd(url: string, env: NodeJS.ProcessEnv) {
  const script = join(temporaryFolder(), 'worker.mjs');
  writeFileSync(script, worker);
  const work = (...args: string[]) =>
    new Promise<void>((resolve, reject) => {
      const child = spawn(process.execPath, [script, url, ...args], {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let complaint = '';
      child.stderr.on('data', (chunk: Buffer) => (complaint += chunk));
      child
        .once('error', reject)
        .once('exit', (code) => (code === 0 ? resolve() : reject(new Error(complaint))));
    });
  await Promise.all([
    ...Array.from({ length: 8 }, (_, i) => work('push', String(i))),
    ...Array.from({ length: 4 }, () => work('index')),
  ]);
  const mirror = await openMirror(url, { env });
  expect([...(await mirror.index()).hashes].sort()).toEqual(names.map(madeHash).sort());
  expect(await verifyMirror(mirror)).toEqual({ packages: names.length, findings: [] });
  await mirror.close();
}

describe.skipIf(!built)(
  `eight pushers and four indexers at once${built ? '' : ' (not built: tsc --build)'}`,
  () => {
    it('leave an index of every package in a folder', async () => {
      await crowd(join(temporaryFolder(), 'mirror'), { PATH: process.env['PATH'] });
    });
  },
);

describe.skipIf(missing)(`a mirror in a bucket of Ceph (${missing ?? 'RADOS gateway on 127.0.0.1'})`, () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3();
    await server.createBucket('bucket');
  }, 120_000);
  afterAll(() => server?.stop());

  it.skipIf(!built)(
    'has an index of every package after eight pushers and four indexers at once',
    async () => {
      await crowd('s3://bucket/crowd', { ...server.env, PATH: process.env['PATH'] });
    },
  );

  it.skipIf(!built)(
    'has such an index also where conditions are not kept',
    async () => {
      await server.createBucket('open');
      await server.openBucket('open');
      const proxy = await startFaultyProxy(server.endpoint, 0, ['if-match', 'if-none-match']);
      const nobody = {
        PATH: process.env['PATH'],
        HOME: temporaryFolder(),
        AWS_EC2_METADATA_DISABLED: 'true',
      };
      await crowd('s3://open/crowd', { ...nobody, S3_ENDPOINT_URL: proxy.url });
      await proxy.stop();
    },
    120_000,
  );

  it('behind a proxy that drops, delays, truncates and answers 500 and 503 is pushed, read and pruned whole', async () => {
    const proxy = await startFaultyProxy(server.endpoint, 1 / 5);
    const retry = { attempts: 15, first: 2, longest: 50 };
    const env = { ...server.env, S3_ENDPOINT_URL: proxy.url };
    const mirror = await openV3Mirror('s3://bucket/faulty', { env, retry });
    const key = await createKey({ name: 'Faulty' });
    const sources = names.map((name, i) =>
      madePackage(name, { content: Buffer.alloc(i === 0 ? 20_000_000 : 30_000, name) }),
    );
    const { pushed, failed } = await mirror.pushAll(sources, {
      signer: new KeySigner(key),
      parallel: 6,
    });
    expect(failed).toEqual([]);
    expect(pushed.filter((one) => one.outcome === 'pushed')).toHaveLength(names.length);
    await mirror.updateIndex();
    const trusted = mirror.withPolicy({ kind: 'trusted', trust: new Trust([key.toPublic()]) });
    expect(await verifyMirror(trusted)).toEqual({ packages: names.length, findings: [] });
    const folder = await openV3Mirror(temporaryFolder());
    const refs = [...(await presentPackages(trusted)).values()];
    expect((await folder.copyFrom(trusted, refs)).failed).toEqual([]);
    await folder.updateIndex();
    expect(await verifyMirror(folder.withPolicy(trusted.policy))).toEqual({
      packages: names.length,
      findings: [],
    });

    const keep = new Set(names.slice(0, 10).map(madeHash));
    const plan = await mirror.planPrune({ keep, grace: 0 });
    expect(plan.packages).toHaveLength(names.length - 10);
    await mirror.prune(plan, { keep, grace: 0 });
    expect(await verifyMirror(trusted)).toEqual({ packages: 10, findings: [] });
    expect(proxy.faults()).toBeGreaterThan(50);
    await mirror.close();
    await proxy.stop();
  }, 180_000);
});

const noVersitygw = has('versitygw')
  ? ''
  : ' (skipped: needs versitygw; go install github.com/versity/versitygw/cmd/versitygw@v1.0.14)';

describe.skipIf(!built || noVersitygw !== '')(`a mirror of versitygw${noVersitygw}`, () => {
  it('has an index of every package after eight pushers and four indexers at once', async () => {
    const server = await startVersitygw(['bucket']);
    try {
      await crowd('s3://bucket/crowd', { ...server.env, PATH: process.env['PATH'] });
    } finally {
      await server.stop();
    }
  }, 120_000);
});

const noRegistry = has('docker-registry')
  ? ''
  : ' (skipped: needs docker-registry; apt-get install docker-registry)';

describe.skipIf(noRegistry !== '')(`a mirror in a registry${noRegistry}`, () => {
  let server: Awaited<ReturnType<typeof startRegistry>>;
  beforeAll(async () => {
    server = await startRegistry();
  });
  afterAll(() => server?.stop());

  it.skipIf(!built)(
    'has an index of every package after eight pushers and four indexers at once',
    () => crowd(`oci+http://${server.host}/crowd`, { PATH: process.env['PATH'] }),
    120_000,
  );

  it('behind a proxy that drops, delays, truncates and answers 500 and 503 is pushed, read and pruned whole', async () => {
    const proxy = await startFaultyProxy(`http://${server.host}`, 1 / 6);
    const mirror = await openMirror(`oci+http://${new URL(proxy.url).host}/faulty`);
    const sources = names.map((name, i) =>
      madePackage(name, {
        content: Buffer.alloc(i === 0 ? 20_000_000 : 30_000, name),
        needs: i > 8 ? [`p${i - 8}`] : [],
      }),
    );
    const { pushed, failed } = await (mirror as OciMirror).pushAll(sources, { parallel: 6 });
    expect([failed, pushed.filter((one) => one.outcome === 'pushed').length]).toEqual([[], names.length]);
    await mirror.updateIndex();
    expect(await verifyMirror(mirror)).toEqual({ packages: names.length, findings: [] });
    const folder = await openV3Mirror(temporaryFolder());
    expect((await folder.copyFrom(mirror, sources)).failed).toEqual([]);
    expect(await verifyMirror(folder, { packages: sources })).toMatchObject({ findings: [] });
    const keep = new Set(names.slice(0, 8).map(madeHash));
    await mirror.prune(await mirror.planPrune({ keep }));
    expect(await verifyMirror(mirror)).toEqual({ packages: 8, findings: [] });
    expect(proxy.faults()).toBeGreaterThan(50);
    await proxy.stop();
  }, 180_000);
});
