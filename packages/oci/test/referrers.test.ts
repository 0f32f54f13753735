import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attach, detach, mediaTypes, RegistryRepository, referrersOf, referrersTag } from '../src/index.js';

const digest = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}` as const;
const subject = { mediaType: mediaTypes.manifest, digest: digest(Buffer.from('image')), size: 5 };
const type = 'application/vnd.example.note';
const note = (text: string) => ({
  artifactType: type,
  layers: [{ mediaType: 'text/plain', bytes: Buffer.from(text) }],
  annotations: { text },
});

/** As much of a registry as referrers need, with the API of distribution spec 1.1 or without. */
function startRegistry(api: boolean): Promise<Server> {
  const blobs = new Set<string>();
  const manifests = new Map<string, Buffer>();
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://x');
    const at = path.pathname.split('/').slice(4).join('/');
    const [kind, name = ''] = path.pathname.replace('/v2/made/', '').split('/');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const answer = (status: number, bytes: Buffer | string = '', headers = {}) =>
      response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : bytes);
    if (kind === 'blobs' && request.method === 'HEAD') return answer(blobs.has(name) ? 200 : 404);
    if (kind === 'blobs' && request.method === 'POST')
      return answer(202, '', { location: '/v2/made/blobs/uploads/1' });
    if (kind === 'blobs' && request.method === 'PUT') {
      blobs.add(path.searchParams.get('digest') ?? '');
      return answer(201);
    }
    if (kind === 'manifests' && request.method === 'PUT') {
      manifests.set(name, body);
      manifests.set(digest(body), body);
      return answer(201);
    }
    if (kind === 'manifests' && request.method === 'DELETE') {
      for (const [key, bytes] of manifests) if (digest(bytes) === name) manifests.delete(key);
      return answer(202);
    }
    if (kind === 'manifests') {
      const found = manifests.get(name);
      const headers = found && { 'docker-content-digest': digest(found), 'content-length': found.length };
      return answer(found ? 200 : 404, found, headers);
    }
    if (kind === 'referrers' && api) {
      const all = [...manifests].flatMap(([key, bytes]) => {
        const json = JSON.parse(bytes.toString());
        if (key !== digest(bytes) || json.subject?.digest !== name) return [];
        const { artifactType, annotations } = json;
        return [
          { mediaType: mediaTypes.manifest, digest: key, size: bytes.length, artifactType, annotations },
        ];
      });
      // One a page.
      const page = Number(path.searchParams.get('page') ?? 0);
      const next = `</v2/made/referrers/${name}?page=${page + 1}>; rel="next"`;
      const list = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: all.slice(page, page + 1) };
      return answer(200, JSON.stringify(list), page + 1 < all.length ? { link: next } : {});
    }
    return answer(404, at);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

describe.each([
  ['with the referrers API', true],
  ['without it', false],
])('the referrers of an image in a registry %s', (_, api) => {
  let server: Server;
  let repository: RegistryRepository;
  beforeEach(async () => {
    server = await startRegistry(api);
    repository = new RegistryRepository(`127.0.0.1:${(server.address() as AddressInfo).port}`, 'made');
  });
  afterEach(() => void server.close());
  const texts = async (artifactType = type) =>
    (await referrersOf(repository, subject.digest, artifactType)).map((one) => one.annotations?.text);

  it('are those that were attached, of one type', async () => {
    expect(await texts()).toEqual([]);
    for (const text of ['one', 'two', 'two']) await attach(repository, subject, note(text));
    expect((await texts()).sort()).toEqual(['one', 'two']);
    await attach(repository, subject, { ...note('three'), artifactType: 'application/vnd.example.other' });
    expect((await texts()).sort()).toEqual(['one', 'two']);
    expect(await texts('application/vnd.example.other')).toEqual(['three']);
    // The tag is for registries that lack the API only.
    expect((await repository.head(referrersTag(subject.digest))) !== undefined).toBe(!api);
  });

  it('are taken away by type', async () => {
    await attach(repository, subject, note('one'));
    await attach(repository, subject, { ...note('three'), artifactType: 'application/vnd.example.other' });
    await detach(repository, subject.digest, type);
    expect(await texts()).toEqual([]);
    expect(await texts('application/vnd.example.other')).toEqual(['three']);
    await detach(repository, subject.digest, 'application/vnd.example.other');
    expect(await repository.head(referrersTag(subject.digest))).toBeUndefined();
  });
});
