import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readKeyFiles, trustOf } from '@stackwright/buildcache';
import { attach, RegistryRepository, referrersOf } from '@stackwright/oci';
import { has, type RegistryServer, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from './call.js';

const missing = has('docker-registry') ? '' : ' (skipped: apt-get install docker-registry)';
const quickstart = fileURLToPath(new URL('../../../stacks/quickstart', import.meta.url));
const payload = 'application/vnd.in-toto+json';
const types = {
  provenance: 'https://slsa.dev/provenance/v1',
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
};

interface Statement {
  readonly predicateType: string;
  readonly predicate: Readonly<Record<string, never>>;
  readonly signedBy: string;
}

describe.skipIf(missing !== '')(`an image that is signed${missing}`, () => {
  const cwd = mkdtempSync(join(tmpdir(), 'image-proof-'));
  const at = (name: string) => join(cwd, name);
  let registry: RegistryServer;
  let env: NodeJS.ProcessEnv;
  const run = (args: readonly string[], over: NodeJS.ProcessEnv = {}) =>
    call(args, { cwd, env: { ...env, ...over } });
  const verify = (reference: string, key = 'a.pub') =>
    run(['image', 'verify', reference, '--trust', key, '--json']);

  beforeAll(async () => {
    registry = await startRegistry();
    for (const name of ['a', 'b'])
      await call(['key', 'create', name, '-o', `${name}.key`, '--public', `${name}.pub`], { cwd });
    env = {
      HOME: cwd,
      SPACK_SIGNING_KEY: readFileSync(at('a.key'), 'utf8').trim(),
      GITHUB_SERVER_URL: 'https://user:password@git.example.org',
      GITHUB_REPOSITORY: 'me/stack',
      GITHUB_SHA: 'c'.repeat(40),
    };
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(cwd, { recursive: true, force: true });
  });

  it('says by whom, from which lock, commit and packages, with licences and two bills of materials', async () => {
    const reference = `${registry.host}/group/stack:1`;
    const stack = at('quickstart');
    cpSync(quickstart, stack, { recursive: true });
    const recipe = join(stack, 'spack_repo/quickstart/packages/hello/package.py');
    const text = readFileSync(recipe, 'utf8');
    writeFileSync(recipe, text.replace('    version(', '    license("Apache-2.0 OR MIT")\n\n    version('));
    const pushed = await run(['image', 'push', stack, reference, '--sign']);
    expect(pushed).toMatchObject({ code: 0 });
    const { stdout, code } = await verify(reference);
    expect(code).toBe(0);
    const { digest, statements } = JSON.parse(stdout) as { digest: string; statements: Statement[] };
    expect(digest).toBe(pushed.stdout.trim());
    expect(statements.map(({ predicateType }) => predicateType).sort()).toEqual(Object.values(types).sort());
    const [key] = (await trustOf({ keys: await readKeyFiles([at('a.pub')]) })).fingerprints;
    expect(statements.map(({ signedBy }) => signedBy)).toEqual([key, key, key]);

    const of = (type: string) => statements.find(({ predicateType }) => predicateType === type)?.predicate;
    const quickstartKey = await trustOf({
      keys: await readKeyFiles([join(quickstart, 'keys/quickstart.pub')]),
    });
    expect(of(types.provenance)).toMatchObject({
      buildDefinition: {
        externalParameters: { stack: 'quickstart', kind: 'software' },
        internalParameters: { spack: { version: '1.1.0' } },
        resolvedDependencies: expect.arrayContaining([
          { name: 'stack', uri: 'https://git.example.org/me/stack', digest: { gitCommit: 'c'.repeat(40) } },
          {
            name: 'hello@2.0/hocoygzxdt3joeunr4qllim24bqkuvhh',
            digest: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
            annotations: {
              spec: expect.stringMatching(/^sha256:/),
              signedBy: quickstartKey.fingerprints[0],
            },
          },
        ]),
      },
      runDetails: { builder: { version: { stackwright: expect.any(String) } } },
    });
    const licences = { name: 'hello', licenseDeclared: 'Apache-2.0 OR MIT' };
    expect(of(types.spdx)).toMatchObject({
      spdxVersion: 'SPDX-2.3',
      packages: expect.arrayContaining([expect.objectContaining(licences)]),
    });
    const component = { name: 'hello', version: '2.0', licenses: [{ expression: 'Apache-2.0 OR MIT' }] };
    expect(of(types.cyclonedx)).toMatchObject({
      bomFormat: 'CycloneDX',
      specVersion: '1.5',
      components: expect.arrayContaining([expect.objectContaining(component)]),
    });
    expect(stdout).not.toContain('password');
  });

  it('counts only with a trusted key, and only for itself', async () => {
    const reference = `${registry.host}/group/stack:1`;
    expect(await verify(reference, 'b.pub')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no provenance of it that a trusted key signed'),
    });
    const other = `${registry.host}/group/stack:2`;
    await run(['image', 'push', quickstart, other, '--label', 'a=b']);
    expect(await verify(other)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('has no signed statements'),
    });
    // Somebody puts the statements of one image beside another, and things that are no statements.
    const repository = new RegistryRepository(registry.host, 'group/stack');
    const [first, second] = [await repository.head('1'), await repository.head('2')];
    if (!first || !second) throw new Error('The images are there.');
    for (const { digest } of await referrersOf(repository, first.digest, payload)) {
      const { layers } = JSON.parse(String((await repository.manifest(digest))?.bytes));
      const chunks: Buffer[] = [];
      for await (const chunk of await repository.blob(layers[0])) chunks.push(chunk as Buffer);
      const copied = [{ mediaType: layers[0].mediaType, bytes: Buffer.concat(chunks) }];
      await attach(repository, second, { artifactType: payload, layers: copied });
    }
    for (const text of [
      '',
      'null',
      '{"payloadType":"application/vnd.in-toto+json","payload":7,"signatures":[null]}',
    ])
      await attach(repository, second, {
        artifactType: payload,
        layers: [{ mediaType: 'application/vnd.dsse.envelope.v1+json', bytes: Buffer.from(text) }],
      });
    expect(await verify(other)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no provenance of it that a trusted key signed'),
    });
  });

  it('is refused before any work where there is no key, or nowhere to keep the signature', async () => {
    const reference = `${registry.host}/group/stack:3`;
    const keyless = await run(['image', 'push', quickstart, reference, '--sign'], { SPACK_SIGNING_KEY: '' });
    expect(keyless).toMatchObject({ code: 3, stderr: expect.stringContaining('no key to sign the image') });
    const layout = await run(['image', 'build', quickstart, '-o', 'oci:layout', '--sign']);
    expect(layout).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot be signed') });
    expect(await verify(reference)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('is not there'),
    });
  });

  it.skipIf(!has('cosign')).each(['ed25519', 'rsa3072'])(
    'is accepted by cosign: %s (skipped without cosign: go install github.com/sigstore/cosign/v2/cmd/cosign@v2.4.1)',
    async (algorithm) => {
      const key = ['key', 'create', algorithm, '--algorithm', algorithm, '-o', `${algorithm}.key`];
      await call([...key, '--public', `${algorithm}.pub`], { cwd });
      const reference = `${registry.host}/${algorithm}/stack:1`;
      const push = ['image', 'push', quickstart, reference, '--sign', '--key', `${algorithm}.key`];
      expect(await run(push)).toMatchObject({ code: 0 });
      const { stdout: pem } = await call(['key', 'export', `${algorithm}.key`, '--pem'], { cwd });
      writeFileSync(at('key.pem'), pem);
      const cosign = (...args: string[]) =>
        execFileSync('cosign', [...args, '--key', at('key.pem'), '--insecure-ignore-tlog=true', reference], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, HOME: cwd },
        });
      expect(cosign('verify')).toContain('cosign container image signature');
      for (const type of Object.values(types))
        expect(cosign('verify-attestation', '--type', type)).toContain('payloadType');
    },
  );
});
