import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKey, formatPublicKey, formatSigningKey } from '@stackwright/buildcache';
import { Spack } from '@stackwright/spack';
import { zipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { call } from './call.js';

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'reproduce-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const spack = await Spack.find({ env: process.env }).catch(() => undefined);
const libgreet = 'lxymk2z6d2wwfnlqcpxtqd2vynx2ohhv';
const token = 'hunter2-hunter2';

const description = {
  version: 1,
  hash: libgreet,
  name: 'libgreet',
  packageVersion: '1.2.0',
  failure: { kind: 'compiler', message: 'main.c:7:3: error: no' },
  spack: { version: '1.1.0' },
  environment: 'environment',
  tests: false,
  variables: {},
};
const reproduce = (...args: string[]) => call(['reproduce', ...args], { env: process.env, cwd: folder });

describe('stackwright reproduce', () => {
  const zip = (files: Record<string, string>) =>
    zipSync(Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])));

  it('prints the steps for what is in a zip archive, at a URL too', async () => {
    const archive = zip({ 'jobs/reproduction/reproduction.json': JSON.stringify(description) });
    writeFileSync(join(folder, 'artifacts.zip'), archive);
    const { code, stdout } = await reproduce('artifacts.zip');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^libgreet@1\.2\.0\/lxymk2z failed \(compiler\): main\.c:7:3: error: no$/m);
    expect(stdout).toContain(`sh ${join(folder, 'artifacts/jobs/reproduction/reproduce.sh')}\n`);
    const server = createServer((_request, response) => response.end(archive));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const fetched = await reproduce(`http://127.0.0.1:${port}/download.zip`, '--json');
    server.close();
    expect(JSON.parse(fetched.stdout)).toMatchObject({
      name: 'libgreet',
      folder: join(folder, 'download/jobs/reproduction'),
    });
    expect((await reproduce('artifacts.zip')).stderr).toContain('is there already');
  });

  it.each([
    ['leads-out.zip', zip({ '../out.txt': 'x' }), /its entry \.\.\/out\.txt leads out of it/],
    ['no.zip', Buffer.from('no archive'), /no\.zip is no zip archive/],
    ['empty.zip', zip({ 'a.txt': 'x' }), /holds no reproduction\.json and no repro\.json/],
    ['newer.zip', zip({ 'reproduction.json': '{"version":2}' }), /has version 2; 1 is known/],
  ])('refuses %s', async (name, bytes, message) => {
    writeFileSync(join(folder, name), bytes);
    const { code, stderr } = await reproduce(name);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    expect(existsSync(join(folder, '../out.txt'))).toBe(false);
  });
});

describe.skipIf(!spack)('a job that failed (skipped without spack on PATH)', () => {
  const stack = join(folder, 'stack');
  const artifacts = join(folder, 'job/reproduction');
  let failed: Awaited<ReturnType<typeof call>>;
  beforeAll(async () => {
    cpSync(quickstart, stack, { recursive: true });
    const file = join(stack, 'spack.yaml');
    const document = parseDocument(readFileSync(file, 'utf8'));
    document.setIn(['spack', 'config', 'install_tree', 'root'], join(folder, 'opt'));
    writeFileSync(file, String(document));
    rmSync(join(stack, 'mirror/v3/manifests/spec/libgreet'), { recursive: true });
    const recipe = join(stack, 'spack_repo/quickstart/packages/libgreet/package.py');
    writeFileSync(
      recipe,
      readFileSync(recipe, 'utf8').replace(
        '        make(',
        '        raise InstallError("out of tune")\n        make(',
      ),
    );
    const key = await createKey({ name: 'CI' });
    writeFileSync(join(stack, 'keys/ci.pub'), formatPublicKey(key));
    writeFileSync(join(stack, 'stackwright.yaml'), 'trust: [keys/quickstart.pub, keys/ci.pub]\n');
    const args = [
      'rebuild',
      stack,
      '--hash',
      libgreet,
      '--mirror',
      join(stack, 'mirror'),
      '--work',
      join(folder, 'work'),
    ];
    failed = await call(args, {
      env: {
        ...process.env,
        SPACK_SIGNING_KEY: formatSigningKey(key),
        MY_TOKEN: token,
        SPACK_JOB_REPRO_DIR: artifacts,
      },
      cwd: folder,
    });
  }, 120_000);

  it('leaves what repeats the failure on any machine, and --run does', { timeout: 120_000 }, async () => {
    expect([failed.code, failed.stderr]).toEqual([
      1,
      expect.stringContaining(
        `    repeat: stackwright reproduce work/reproduction/libgreet-${libgreet} --run\n`,
      ),
    ]);
    for (const name of [
      'environment/spack.lock',
      'environment/spack.yaml',
      'build.txt',
      'reproduce.sh',
      'keys',
    ])
      expect([name, existsSync(join(artifacts, name))]).toEqual([name, true]);
    expect(JSON.parse(readFileSync(join(artifacts, 'reproduction.json'), 'utf8'))).toMatchObject({
      name: 'libgreet',
      spack: { version: '1.1.0' },
      environment: 'environment',
    });
    expect(JSON.stringify(readFileSync(join(artifacts, 'reproduction.json'), 'utf8'))).not.toContain(token);
    // The stack itself is not needed.
    cpSync(join(stack, 'mirror'), join(folder, 'kept'), { recursive: true });
    const { code, stderr } = await reproduce('job', '--run');
    expect(stderr).toContain('out of tune');
    expect([code, stderr]).toEqual([1, expect.stringContaining('libgreet@1.2.0/lxymk2z failed again.')]);
  });

  it('says that a failure does not repeat', { timeout: 120_000 }, async () => {
    const mended = join(folder, 'mended');
    cpSync(artifacts, mended, { recursive: true });
    const recipe = join(mended, 'environment/spack_repo/quickstart/packages/libgreet/package.py');
    writeFileSync(
      recipe,
      readFileSync(recipe, 'utf8').replace('        raise InstallError("out of tune")\n', ''),
    );
    const { code, stdout } = await reproduce('mended', '--run');
    expect([code, stdout]).toEqual([0, expect.stringContaining('the failure did not repeat')]);
  });

  it('is repeated from what spack ci rebuild leaves, too', { timeout: 120_000 }, async () => {
    const own = join(folder, 'spacks');
    mkdirSync(join(own, 'jobs_scratch_dir/spack_repro'), { recursive: true });
    cpSync(join(artifacts, 'environment'), join(own, 'jobs_scratch_dir/concrete_environment'), {
      recursive: true,
    });
    const repro = join(own, 'jobs_scratch_dir/spack_repro');
    writeFileSync(
      join(repro, 'repro.json'),
      JSON.stringify({ job_name: 'libgreet', job_spec_json: 'libgreet.json', ci_project_dir: '/builds/x' }),
    );
    writeFileSync(
      join(repro, 'libgreet.json'),
      JSON.stringify({ spec: { nodes: [{ name: 'libgreet', version: '1.2.0', hash: libgreet }] } }),
    );
    writeFileSync(
      join(repro, 'spack_info.txt'),
      '\nspack v1.1.0 (0c2be44e4ece21eb091ad5de4c97716b7c6d4c87)\n',
    );
    const { code, stderr } = await reproduce('spacks', '--run');
    expect(stderr).toContain('out of tune');
    expect(code).toBe(1);
  });
});
