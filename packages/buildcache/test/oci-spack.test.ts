import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { mediaTypes, RegistryRepository, readImage } from '@stackwright/oci';
import { has, startNginx, startRegistry } from '@stackwright/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  installedPackage,
  OciMirror,
  openV3Mirror,
  presentPackages,
  pullPackage,
  readInstallTree,
  trustOf,
  verifyMirror,
} from '../src/index.js';
import { quickstartKey, quickstartMirror, removeTemporaryFolders, temporaryFolder } from '../src/testing.js';
import { baseImage } from './base-image.js';
import { RealSpack, spackMissing } from './real-spack.js';

const absent = ['docker-registry', 'nginx', 'openssl'].filter((program) => !has(program));
const missing =
  spackMissing ??
  (absent.length > 0 ? `needs ${absent.join(', ')}: apt-get install ${absent.join(' ')}` : '');

// With TLS too: Spack 1.1 reads the index of a registry over TLS only.
describe.skipIf(missing !== '')(
  `a registry with real Spack (${missing || 'the one on PATH'})`,
  { timeout: 600_000 },
  () => {
    let base: string;
    let spack: RealSpack;
    let registry: Awaited<ReturnType<typeof startRegistry>>;
    let tls: Awaited<ReturnType<typeof startTls>>;
    const ours = (name: string) => OciMirror.open(`oci+http://${registry.host}/${name}`);
    const bases = () => new RegistryRepository(registry.host, 'bases/small');

    /** Fills a build cache with the quickstart's packages. */
    async function fill(name: string, withBase = false) {
      const from = await openV3Mirror(quickstartMirror);
      const refs = [...(await presentPackages(from)).values()];
      const image = { source: bases(), image: await readImage(bases(), '1') };
      const options = withBase ? { base: async () => image } : {};
      expect((await ours(name).copyFrom(from, refs, options)).failed).toEqual([]);
      await ours(name).updateIndex();
      // What Spack has to put up with: each image has a referrer, and a tag that lists it.
      const trust = await trustOf({ keys: [{ text: quickstartKey(), from: 'quickstart.pub' }] });
      const signed = ours(name).withPolicy({ kind: 'trusted', trust });
      for (const ref of refs) expect((await signed.package(ref)).manifest.signed).toBe(true);
      return refs;
    }
    const hello = async (name: string) => {
      const { prefixes } = await readInstallTree(spack.treeOf(name));
      const prefix = [...prefixes.values()].find((path) => /\/hello-2\.0-/.test(path));
      return execFileSync(join(prefix!, 'bin', 'hello')).toString();
    };

    beforeAll(async () => {
      base = temporaryFolder();
      registry = await startRegistry();
      tls = await startTls(base, registry.host);
      spack = new RealSpack(base, { SSL_CERT_FILE: tls.certificate });
      const { layer, config } = baseImage();
      for (const blob of [layer, config]) await bases().putBlob(blob, () => blob.open());
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: config.descriptor,
        layers: [layer.descriptor],
      };
      await bases().putManifest('1', Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest);
    }, 600_000);
    afterAll(async () => {
      await tls?.stop();
      await registry?.stop();
      removeTemporaryFolders();
    });

    it.each([
      ['plain', false],
      ['with-base', true],
    ])('installs from what we pushed, %s', async (name, withBase) => {
      await fill(name, withBase);
      const env = spack.environment(name, `oci+http://${registry.host}/${name}`);
      await spack.run(env, 'install', '--cache-only');
      expect(await hello(name)).toContain('hello');
    });

    it('lists what we pushed and indexed', async () => {
      const refs = await fill('listed');
      const env = spack.environment('listed', `oci://${tls.host}/listed`);
      const listed = await spack.run(env, 'buildcache', 'list', '-aL');
      for (const { hash } of refs) expect(listed).toContain(hash);
      // Spack's own index of it holds the same.
      await spack.run(env, 'buildcache', 'update-index', `oci://${tls.host}/listed`);
      expect([...(await ours('listed').index()).hashes].sort()).toEqual(refs.map(({ hash }) => hash).sort());
    });

    it.each([
      ['theirs', []],
      ['theirs-on-base', ['--base-image', 'BASE', '--tag', 'everything']],
    ])('pushes what we list, verify and unpack: %s', async (name, options) => {
      const env = join(base, 'plain');
      const args = options.map((option) => option.replace('BASE', `${tls.host}/bases/small:1`));
      const push = ['buildcache', 'push', '--unsigned', '--update-index', '--without-build-dependencies'];
      await spack.run(env, ...push, ...args, `oci://${tls.host}/${name}`);
      const mirror = ours(name);
      const refs = [...(await presentPackages(mirror)).values()];
      expect(refs.length).toBeGreaterThanOrEqual(7);
      expect(await verifyMirror(mirror)).toMatchObject({ findings: [] });
      const to = join(base, `pulled-${name}`);
      const { prefix } = await pullPackage(mirror, refs.find((ref) => ref.name === 'hello')!, {
        to,
        root: to,
      });
      expect(prefix.startsWith(to)).toBe(true);

      // Spack's own images stay as they are: nothing is pushed again.
      const tree = await readInstallTree(spack.treeOf('plain'));
      const sources = refs.map(({ hash }) => installedPackage(tree.prefixes.get(hash)!, tree, '/spack'));
      const { pushed, failed } = await mirror.pushAll(sources);
      expect([new Set(pushed.map((one) => one.outcome)), failed]).toEqual([new Set(['present']), []]);
    });
  },
);

/** TLS in front of a registry, with a certificate of its own. */
async function startTls(folder: string, target: string) {
  const certificate = join(folder, 'certificate.pem');
  const key = join(folder, 'key.pem');
  const self = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'];
  const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate];
  execFileSync('openssl', [...self, ...files], { stdio: 'ignore' });
  const nginx = await startNginx({
    directives: `ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    location / {
      proxy_pass http://${target};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
    }`,
  });
  return { ...nginx, certificate };
}
