import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

// One rule for each thing, whichever command asks: what these commands say of the same stack has to be the same.

const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'one-way-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
// A PATH without Spack, whatever this machine has.
const env = { PATH: '/usr/bin:/bin', HOME: folder };
const run = (args: string[], more: NodeJS.ProcessEnv = {}) =>
  call(args, { cwd: folder, env: { ...env, ...more } });

function stackWith(name: string, edit: (text: string, file: string) => string): string {
  const copy = join(folder, name);
  cpSync(quickstart, copy, { recursive: true });
  for (const file of ['spack.yaml', 'stackwright.yaml']) {
    const path = join(copy, file);
    writeFileSync(path, edit(readFileSync(path, 'utf8'), file));
  }
  return copy;
}

describe('the image of a stack', () => {
  it.each([
    ['software', ''],
    ['software, moved', '  installRoot: /srv/software\n'],
    ['mirror', '  kind: mirror\n'],
  ])('is the same from run and image build: %s', async (_kind, settings) => {
    const stack = stackWith(`image-${settings.length}`, (text, file) =>
      file === 'stackwright.yaml' ? text.replace('image:\n', `image:\n${settings}`) : text,
    );
    const ran = await run(['run', stack, '--work', join(stack, 'work'), '--json']);
    const built = await run(['image', 'build', stack, '--work', join(stack, 'other'), '--json']);
    expect([ran.code, built.code]).toEqual([0, 0]);
    expect(JSON.parse(built.stdout).digest).toBe(JSON.parse(ran.stdout).image.digest);
  });
});

describe('run', () => {
  it('asks for each manifest and each blob once at most', async () => {
    const asked = new Map<string, number>();
    const server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname);
      if (request.method === 'GET') asked.set(path, (asked.get(path) ?? 0) + 1);
      readFile(join(quickstart, 'mirror', path)).then(
        (bytes) =>
          response
            .writeHead(200, { 'content-length': bytes.length })
            .end(request.method === 'GET' ? bytes : ''),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const ran = await run(['run', quickstart, '--mirror', `http://127.0.0.1:${port}`, '--work', 'counted']);
      expect(ran).toMatchObject({ code: 0, stderr: expect.stringContaining('has 9 of 9') });
    } finally {
      server.close();
    }
    const packages = [...asked].filter(([path]) => /^\/(blobs|v3\/manifests\/spec)\//.test(path));
    // A manifest and a spec of each package, and the tarballs of the eight that the image holds.
    expect(packages).toHaveLength(9 + 9 + 8);
    expect(packages.filter(([, times]) => times > 1)).toEqual([]);
  });
});

describe('the pipeline of a stack', () => {
  it.each([
    ['as it is', (text: string) => text],
    // The virtual packages that a job provides count, and those of its dependencies do not.
    [
      'with matches on virtuals',
      (text: string) => text.replace('match: [libgreet, libchorus]', 'match: [c, libgreet]'),
    ],
    ['without CDash', (text: string) => text.replace(/\n {2}cdash:[\s\S]*/, '\n')],
  ])('is the same from run and generate: %s', async (name, edit) => {
    const stack = stackWith(`pipeline-${name.replaceAll(' ', '-')}`, edit);
    expect((await run(['run', stack, '--work', join(stack, 'work')])).code).toBe(0);
    expect((await run(['generate', stack, '--no-prune-dag', '--output-file', 'p.yml'])).code).toBe(0);
    const ofRun = readFileSync(join(stack, 'work/pipeline.gitlab-ci.yml'), 'utf8');
    expect(ofRun).toBe(readFileSync(join(folder, 'p.yml'), 'utf8'));
    expect(ofRun).toContain('hello@2.0');
  });
});

describe('a package whose signature was stripped', () => {
  let stack: string;
  let mirror: string;
  const hello = 'hocoygzxdt3joeunr4qllim24bqkuvhh';
  const reason = /not signed/;
  beforeAll(() => {
    stack = stackWith('stripped', (text) => text);
    mirror = join(stack, 'mirror');
    const at = join(mirror, 'v3/manifests/spec/hello');
    const file = join(at, readdirSync(at)[0] ?? '');
    const signed = readFileSync(file, 'utf8');
    writeFileSync(file, signed.slice(signed.indexOf('{'), signed.lastIndexOf('}') + 1));
  });

  it('does not count for graph: it is to be built, and the reason is told', async () => {
    const { stdout } = await run(['graph', stack, '--mirror', mirror, '--json']);
    const { nodes } = JSON.parse(stdout) as { nodes: { hash: string; action: string; reason: string }[] };
    expect(nodes.find((node) => node.hash === hello)).toMatchObject({
      action: 'build',
      reason: expect.stringMatching(reason),
    });
    expect(nodes.filter(({ action }) => action === 'build')).toHaveLength(1);
  });

  it('does not count for generate: it gets a job, and the reason is told', async () => {
    const { stderr } = await run(['generate', stack, '--output-file', 'stripped.yml']);
    expect(stderr).toMatch(/\[x\] hello@2\.0\/\S+ +not signed/);
    expect(readFileSync(join(folder, 'stripped.yml'), 'utf8')).toContain('hello@2.0');
  });

  it('does not count for image build, which builds nothing and so refuses', async () => {
    const built = await run(['image', 'build', stack]);
    expect(built).toMatchObject({ code: 2, stderr: expect.stringMatching(/hello@2\.0.*not signed/) });
  });

  it.each([
    ['run', () => ['run', stack, '--mirror', mirror, '--work', 'stripped-run']],
    ['rebuild', () => ['rebuild', stack, '--hash', hello, '--mirror', mirror, '--work', 'stripped-rebuild']],
  ])('is not replaced by %s without a key that the user gave', async (_name, args) => {
    const { code, stderr } = await run(args());
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^Error: hello@2\.0.*not signed/m)]);
  });

  it.each([
    ['run', () => ['run', stack, '--mirror', mirror, '--work', 'stripped-run']],
    ['rebuild', () => ['rebuild', stack, '--hash', hello, '--mirror', mirror, '--work', 'stripped-rebuild']],
  ])('is built again by %s with one', async (_name, args) => {
    const { stdout: key } = await run(['key', 'create', 'CI']);
    const { code, stderr } = await run(args(), { SPACK_SIGNING_KEY: key.trim() });
    // There is no Spack here: that it is asked for shows that the package is to be built.
    expect([code, stderr]).toEqual([3, expect.stringMatching(/Spack is needed to build/)]);
    expect(stderr).toMatch(reason);
  });
});
