import { Readable } from 'node:stream';
import { type PlainSigner, plainlySignedBy, type Trust } from '@stackwright/buildcache';
import {
  attach,
  type Descriptor,
  type Digest,
  digestOf,
  hexOf,
  type Manifest,
  mediaTypes,
  type RegistryRepository,
  readAll,
  referrersOf,
} from '@stackwright/oci';
import { ImageError } from './error.js';

/** An in-toto statement (version 1): a predicate of a known type about an image. */
export interface Statement {
  readonly _type: typeof statementType;
  readonly subject: readonly { readonly name: string; readonly digest: { readonly sha256: string } }[];
  readonly predicateType: string;
  readonly predicate: object;
}

/** A statement of an image that a trusted key signed. */
export interface ProvenStatement {
  readonly predicateType: string;
  readonly predicate: Readonly<Record<string, unknown>>;
  /** The fingerprint of the key. */
  readonly signedBy: string;
}

export const predicateTypes = {
  provenance: 'https://slsa.dev/provenance/v1',
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
} as const;

const statementType = 'https://in-toto.io/Statement/v1';
const payloadType = 'application/vnd.in-toto+json';
const envelopeType = 'application/vnd.dsse.envelope.v1+json';
const simpleSigningType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const cosignSignature = 'dev.cosignproject.cosign/signature';
/** As BuildKit marks what it attaches. */
const predicateAnnotation = 'in-toto.io/predicate-type';
/** Bytes of one statement with all packages of an image. */
const envelopeLimit = 64 * 1024 * 1024;

/** @param name the image without its tag */
export function statementOf(
  name: string,
  digest: Digest,
  predicateType: string,
  predicate: object,
): Statement {
  return {
    _type: statementType,
    subject: [{ name, digest: { sha256: hexOf(digest) } }],
    predicateType,
    predicate,
  };
}

/**
 * Signs an image and statements about it, and attaches them in a registry: each statement as a referrer of the image (a
 * DSSE envelope), and signature and statements under the tags where cosign looks for them (`sha256-HEX.sig`, `.att`). The
 * image need not be there yet, so that whoever sees it sees its proof.
 * @param name the reference that the signature names
 */
export async function attachProof(
  target: RegistryRepository,
  subject: Descriptor,
  { name, statements, signer }: { name: string; statements: readonly Statement[]; signer: PlainSigner },
  signal?: AbortSignal,
): Promise<void> {
  const envelopes = statements.map((statement) => ({ statement, bytes: envelopeOf(statement, signer) }));
  for (const { statement, bytes } of envelopes) {
    const annotations = { [predicateAnnotation]: statement.predicateType };
    const layers = [{ mediaType: envelopeType, bytes }];
    await attach(target, subject, { artifactType: payloadType, layers, annotations }, signal);
  }
  const payload = simpleSigning(name, subject.digest);
  const signature = signer.sign(payload).toString('base64');
  const signed = {
    mediaType: simpleSigningType,
    bytes: payload,
    annotations: { [cosignSignature]: signature },
  };
  const attested = envelopes.map(({ statement, bytes }) => ({
    mediaType: envelopeType,
    bytes,
    annotations: { [cosignSignature]: '', predicateType: statement.predicateType },
  }));
  await putForCosign(target, `${cosignTag(subject.digest)}.sig`, [signed], signal);
  await putForCosign(target, `${cosignTag(subject.digest)}.att`, attested, signal);
}

/**
 * What trusted keys have signed of an image.
 * @throws ImageError `unproven` when there is no provenance that a trusted key signed
 */
export async function proofOf(
  source: RegistryRepository,
  subject: Descriptor,
  trust: Trust,
  signal?: AbortSignal,
): Promise<ProvenStatement[]> {
  const proven: ProvenStatement[] = [];
  const referrers = await referrersOf(source, subject.digest, payloadType, signal);
  for (const referrer of referrers) {
    const envelope = await envelopeIn(source, referrer, signal);
    const found = envelope && (await provenIn(envelope, subject.digest, trust));
    if (found) proven.push(found);
  }
  if (proven.some(({ predicateType }) => predicateType === predicateTypes.provenance)) return proven;
  const what = `${source.name}@${subject.digest}`;
  const why =
    referrers.length === 0
      ? 'has no signed statements'
      : `has ${referrers.length} statements, but no provenance of it that a trusted key signed`;
  throw new ImageError('unproven', `${what} ${why}.`, {
    hint: 'Give the key of whoever published it with --trust FILE. To sign an image, push it with --sign.',
  });
}

/** Simple signing, as cosign and containers/image read it. The same input gives the same bytes. */
function simpleSigning(name: string, digest: Digest): Buffer {
  const critical = {
    identity: { 'docker-reference': name },
    image: { 'docker-manifest-digest': digest },
    type: 'cosign container image signature',
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

/** DSSE 1.0: the signature is over type and payload with their lengths. */
function envelopeOf(statement: Statement, signer: PlainSigner): Buffer {
  const payload = Buffer.from(JSON.stringify(statement));
  const sig = signer.sign(preAuthentication(payloadType, payload)).toString('base64');
  const signatures = [{ keyid: signer.fingerprint, sig }];
  return Buffer.from(JSON.stringify({ payloadType, payload: payload.toString('base64'), signatures }));
}

function preAuthentication(type: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
}

function cosignTag(digest: Digest): string {
  return `sha256-${hexOf(digest)}`;
}

interface SignedLayer {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
}

async function putForCosign(
  target: RegistryRepository,
  tag: string,
  content: readonly SignedLayer[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await target.putBlob(descriptor, () => Readable.from([bytes]), { signal });
    return descriptor;
  };
  const layers: Descriptor[] = [];
  for (const { mediaType, bytes, annotations } of content)
    layers.push({ ...(await put(mediaType, bytes)), annotations });
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
  const config = Buffer.from(JSON.stringify({ architecture: '', os: '', config: {}, rootfs }));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await put(mediaTypes.config, config),
    layers,
  };
  await target.putManifest(tag, Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest, signal);
}

/** The envelope that a referrer holds; undefined for what holds none, as anybody may attach anything. */
async function envelopeIn(
  source: RegistryRepository,
  { digest }: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  const found = await source.manifest(digest, signal);
  const { layers } = (found ? parsed(found.bytes) : {}) as Partial<Manifest>;
  const [layer] = Array.isArray(layers) ? layers : [];
  if (layer?.mediaType !== envelopeType || !(layer.size <= envelopeLimit)) return undefined;
  return readAll(await source.blob(layer, signal), envelopeLimit);
}

/** What an envelope says of an image, where a trusted key signed it. */
async function provenIn(bytes: Buffer, digest: Digest, trust: Trust): Promise<ProvenStatement | undefined> {
  const envelope = parsed(bytes) as {
    payloadType?: unknown;
    payload?: unknown;
    signatures?: readonly { sig?: unknown }[];
  };
  if (envelope.payloadType !== payloadType || typeof envelope.payload !== 'string') return undefined;
  const payload = Buffer.from(envelope.payload, 'base64');
  const signed = preAuthentication(payloadType, payload);
  const { predicateType, predicate, subject } = parsed(payload) as Partial<Statement>;
  const about = Array.isArray(subject) && subject.some((one) => one?.digest?.sha256 === hexOf(digest));
  if (!about || typeof predicateType !== 'string' || typeof predicate !== 'object') return undefined;
  for (const { sig } of Array.isArray(envelope.signatures) ? envelope.signatures : []) {
    const signedBy = await plainlySignedBy(signed, Buffer.from(String(sig), 'base64'), trust);
    if (signedBy) return { predicateType, predicate: { ...predicate }, signedBy };
  }
  return undefined;
}

/** JSON that anybody may have written: an empty object for what is none. */
function parsed(bytes: Buffer): object {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
