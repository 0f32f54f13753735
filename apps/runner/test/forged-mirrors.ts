import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  createKey,
  formatPublicKey,
  formatSigningKey,
  KeySigner,
  openV3Mirror,
  type PackageRef,
  packedBytes,
  type Signer,
  v3,
} from '@stackwright/buildcache';
import { digestOf, hexOf } from '@stackwright/oci';
import { madeHash, madePackage } from '@stackwright/testing';

/** The commands that take packages from a mirror, or say what it holds. */
export const readingCommands = [
  'run',
  'image',
  'pull',
  'copy',
  'sync',
  'publish',
  'sign',
  'index',
  'verify',
  'list',
] as const;
export type ReadingCommand = (typeof readingCommands)[number];

/** A mirror in which `alpha` was forged. */
export interface Forgery {
  readonly what: string;
  /** The code that every command refuses it with. */
  readonly code: string;
  /** Those that look at what was forged. */
  readonly commands: readonly ReadingCommand[];
  /** What they say. */
  readonly message: RegExp;
  /** What a command is asked for; everything when left out. */
  readonly specs?: (command: ReadingCommand) => readonly string[];
  /** The mirror is read without signatures. */
  readonly unsigned?: boolean;
  readonly forge: (mirror: MirrorFolder) => void | Promise<void>;
}

type Made = ReturnType<typeof madePackage>;
type Json = Record<string, unknown>;
type Item = Made['items'] extends () => AsyncGenerator<infer One> ? One : never;

export const alpha = madePackage('alpha', { specVersion: 5, needs: ['beta'] });
export const beta = madePackage('beta', { specVersion: 5 });
const gamma = madePackage('gamma', { specVersion: 5 });

/** A mirror of three packages, the stack that they are of, and who signed them. */
export class MirrorFolder {
  private constructor(
    readonly folder: string,
    /** Whose signatures count. */
    readonly signer: Signer,
    readonly stranger: Signer,
    /** The manifest of `alpha`, signed by a key that is trusted and has expired since. */
    readonly expiredText: string,
  ) {}

  get mirror(): string {
    return join(this.folder, 'mirror');
  }

  static async make(folder: string): Promise<MirrorFolder> {
    const [key, stranger, notary] = await Promise.all([
      createKey({ name: 'Builder' }),
      createKey({ name: 'Stranger' }),
      createKey({ name: 'Notary' }),
    ]);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'notary'), formatSigningKey(notary), { mode: 0o600 });
    writeStack(join(folder, 'stack'));
    const signer = new KeySigner(key);
    const mirror = await openV3Mirror(join(folder, 'mirror'));
    for (const one of [alpha, beta, gamma]) await mirror.push(one, { signer });
    await mirror.updateIndex();
    const made = new MirrorFolder(folder, signer, new KeySigner(stranger), '');
    const expired = await createKey({ name: 'Expired', expires: 2 });
    const expiredText = await new KeySigner(expired).sign(made.plain(v3.spec(alpha)));
    writeFileSync(join(folder, 'trusted.pub'), `${formatPublicKey(key)}\n${formatPublicKey(expired)}`);
    // Until the key has expired.
    await sleep(2500);
    return new MirrorFolder(folder, signer, made.stranger, expiredText);
  }

  /** The same in another folder, to be forged. */
  copyTo(folder: string): MirrorFolder {
    cpSync(this.folder, folder, { recursive: true });
    return new MirrorFolder(folder, this.signer, this.stranger, this.expiredText);
  }

  text(key: string): string {
    return readFileSync(join(this.mirror, key), 'utf8');
  }

  /** What was signed. */
  plain(key: string): string {
    const text = this.text(key);
    return text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1);
  }

  json(key: string): { version: number; data: Json[]; stackwright?: Json } {
    return JSON.parse(this.plain(key));
  }

  write(key: string, content: string | Buffer): void {
    const file = join(this.mirror, key);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  move(from: string, to: string): void {
    mkdirSync(dirname(join(this.mirror, to)), { recursive: true });
    renameSync(join(this.mirror, from), join(this.mirror, to));
  }

  remove(key: string): void {
    rmSync(join(this.mirror, key), { force: true });
  }

  has(key: string): boolean {
    return existsSync(join(this.mirror, key));
  }

  /** Writes a manifest that the trusted key has signed: somebody with the key lies, or was deceived. */
  async signed(ref: PackageRef, json: unknown): Promise<void> {
    this.write(v3.spec(ref), await this.signer.sign(lines(json)));
  }

  /** The key of a blob that the package's manifest names: its tarball or its spec. */
  blobKey(ref: PackageRef, which: 'tarball' | 'spec'): string {
    const record = this.json(v3.spec(ref)).data[which === 'tarball' ? 0 : 1] as { checksum: string };
    return v3.blob(`sha256:${record.checksum}`);
  }

  bytes(key: string): Buffer {
    return readFileSync(join(this.mirror, key));
  }

  /** Writes a blob. Returns what a manifest says of it. */
  blob(bytes: Buffer): { checksum: string; contentLength: number } {
    const digest = digestOf(bytes);
    this.write(v3.blob(digest), bytes);
    return { checksum: hexOf(digest), contentLength: bytes.length };
  }

  /** Gives `alpha` another spec, with a manifest that fits it. */
  async respecify(change: (nodes: Json[], document: Json) => unknown): Promise<void> {
    const document = JSON.parse(gunzipSync(this.bytes(this.blobKey(alpha, 'spec'))).toString());
    document.spec.nodes = change(document.spec.nodes, document) ?? document.spec.nodes;
    const manifest = this.json(v3.spec(alpha));
    Object.assign(manifest.data[1]!, this.blob(gzipSync(JSON.stringify(document))));
    await this.signed(alpha, manifest);
  }

  /** Gives `alpha` another tarball, with a manifest that fits it and has no statement. */
  async repack(items: AsyncIterable<Item>, sign = true): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of packedBytes(items, () => {})) chunks.push(chunk);
    await this.replaceTarball(Buffer.concat(chunks), sign);
  }

  async replaceTarball(bytes: Buffer, sign = true): Promise<void> {
    const { stackwright: _, ...manifest } = this.json(v3.spec(alpha));
    Object.assign(manifest.data[0]!, this.blob(bytes));
    if (sign) await this.signed(alpha, manifest);
    else this.write(v3.spec(alpha), lines(manifest));
  }

  /** Gives `alpha` a statement that says something else of the tarball. */
  async misstate(change: Json): Promise<void> {
    const manifest = this.json(v3.spec(alpha));
    const { tarball, ...statement } = manifest.stackwright as { tarball: Json };
    await this.signed(alpha, {
      ...manifest,
      stackwright: { ...statement, tarball: { ...tarball, ...change } },
    });
  }

  /** Writes other bytes as the index, with a manifest that fits them. */
  reindex(change: (text: string) => string): void {
    const manifest = this.json(v3.index);
    const [record] = manifest.data as { checksum: string }[];
    const text = this.bytes(v3.blob(`sha256:${record!.checksum}`)).toString();
    Object.assign(record!, this.blob(Buffer.from(change(text))));
    this.write(v3.index, lines(manifest));
  }

  indexBlob(): string {
    const [record] = this.json(v3.index).data as { checksum: string }[];
    return v3.blob(`sha256:${record!.checksum}`);
  }
}

function lines(json: unknown): string {
  return JSON.stringify(json, null, 1);
}

/** A stack of `alpha` and `gamma`, with its lock. */
function writeStack(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'spack.yaml'), 'spack:\n  specs: [alpha, gamma]\n');
  const nodes = [alpha, gamma].flatMap(
    ({ specText }) => (JSON.parse(specText) as { spec: { nodes: { hash: string }[] } }).spec.nodes,
  );
  const lock = {
    _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6, 'specfile-version': 5 },
    spack: { version: '1.1.0', type: 'git', commit: '0'.repeat(40) },
    roots: [alpha, gamma].map(({ name, hash }) => ({ hash, spec: name })),
    concrete_specs: Object.fromEntries(nodes.map((node) => [node.hash, node])),
  };
  writeFileSync(join(folder, 'spack.lock'), JSON.stringify(lock));
}

const all = readingCommands.filter((command) => command !== 'list');
const without = (...left: readonly ReadingCommand[]) => all.filter((command) => !left.includes(command));
/** Those that go by what the mirror lists, not by a lock. */
const listing = without('run', 'image');
/** Those that read signatures. */
const checking = without('index');
/** Those that read the tarball of a package whose manifest a trusted key has signed. */
const reading: readonly ReadingCommand[] = ['run', 'image', 'pull', 'verify'];
const copying: readonly ReadingCommand[] = ['copy', 'sync', 'publish'];

const otherPackage = /alpha@1\.0\/\w{7}.*(beta@1\.0\/|in its place)/;
const alphaFile = (suffix: string) => v3.spec(alpha).replace(/alpha-1\.0-\w+/, suffix);
/** Entries of a package, some changed or added. */
async function* itemsOf(
  made: Made,
  change: (item: Item) => Item = (item) => item,
  ...more: Item[]
): AsyncGenerator<Item> {
  for await (const item of made.items()) {
    // Of what a tar holds, the file that tells of the package is the last.
    if (item.entry.name.endsWith('binary_distribution')) yield* more;
    yield change(item);
  }
}
const file = (name: string, text = 'forged\n'): Item => ({
  entry: { name, type: 'file', mode: 0o644, size: text.length },
  content: [Buffer.from(text)],
});
const prefixOf = ({ name, hash }: PackageRef) => `opt/made/${name}-1.0-${hash}`;

/** Tarballs whose headers no packer of ours writes: of `alpha`'s, the entry of its file is changed. */
function withHeader(mirror: MirrorFolder, change: (header: Buffer) => void): Buffer {
  const tar = gunzipSync(mirror.bytes(mirror.blobKey(alpha, 'tarball')));
  const at = tar.indexOf(`${prefixOf(alpha)}/file\0`);
  const header = tar.subarray(at, at + 512);
  change(header);
  header.write('        ', 148, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return gzipSync(tar);
}

export const forgeries: readonly Forgery[] = [
  {
    what: "another package's signed manifest in its place",
    code: 'wrong-package',
    commands: all,
    message: otherPackage,
    forge: (mirror) => mirror.write(v3.spec(alpha), mirror.text(v3.spec(beta))),
  },
  {
    what: "another package's signed manifest without a statement, as Spack writes it",
    code: 'wrong-package',
    commands: all,
    message: otherPackage,
    forge: async (mirror) => {
      const { stackwright: _, ...manifest } = mirror.json(v3.spec(beta));
      await mirror.signed(alpha, manifest);
    },
  },
  {
    what: 'its manifest under the name of another version',
    code: 'wrong-package',
    commands: listing,
    message: /alpha@2\.0.*alpha@1\.0/,
    forge: (mirror) => mirror.move(v3.spec(alpha), alphaFile(`alpha-2.0-${alpha.hash}`)),
  },
  {
    what: 'its manifest under the name of another package',
    code: 'wrong-package',
    commands: listing,
    message: /alfa@1\.0.*alpha@1\.0/,
    forge: (mirror) => mirror.move(v3.spec(alpha), v3.spec({ ...alpha, name: 'alfa' })),
  },
  {
    what: 'its manifest under another hash',
    code: 'wrong-package',
    commands: listing,
    message: /alpha@1\.0.*alpha@1\.0/,
    forge: (mirror) => mirror.move(v3.spec(alpha), alphaFile(`alpha-1.0-${madeHash('other')}`)),
  },
  {
    what: 'no signature',
    code: 'signature-missing',
    commands: checking,
    message: /not signed/,
    forge: (mirror) => mirror.write(v3.spec(alpha), mirror.plain(v3.spec(alpha))),
  },
  {
    what: 'a signature by a stranger',
    code: 'signature-untrusted',
    commands: checking,
    message: /not (?:signed by a )?trusted/,
    forge: async (mirror) =>
      mirror.write(v3.spec(alpha), await mirror.stranger.sign(mirror.plain(v3.spec(alpha)))),
  },
  {
    what: 'the manifest of another mirror, whose key is not trusted here, and which was built elsewhere',
    code: 'signature-untrusted',
    commands: checking,
    message: /not (?:signed by a )?trusted/,
    forge: async (mirror) => {
      const elsewhere = join(mirror.folder, 'elsewhere');
      const built = { specVersion: 5, needs: ['beta'], content: Buffer.from('built elsewhere\n') } as const;
      await (await openV3Mirror(elsewhere)).push(madePackage('alpha', built), { signer: mirror.stranger });
      cpSync(elsewhere, mirror.mirror, { recursive: true });
      rmSync(elsewhere, { recursive: true });
    },
  },
  {
    what: 'a signature by a key that has expired',
    code: 'key-expired',
    commands: checking,
    message: /expired|not signed by a trusted/,
    forge: (mirror) => mirror.write(v3.spec(alpha), mirror.expiredText),
  },
  {
    what: "the text of its manifest with the signature of another's",
    code: 'signature-wrong',
    commands: checking,
    message: /signature does not match/,
    forge: (mirror) => {
      const cut = (key: string) => mirror.text(key).split('-----BEGIN PGP SIGNATURE-----');
      const [text] = cut(v3.spec(alpha));
      const [, signature] = cut(v3.spec(beta));
      mirror.write(v3.spec(alpha), `${text}-----BEGIN PGP SIGNATURE-----${signature}`);
    },
  },
  {
    what: 'a manifest that was edited after it was signed',
    code: 'signature-wrong',
    commands: checking,
    message: /signature does not match/,
    forge: (mirror) =>
      mirror.write(v3.spec(alpha), mirror.text(v3.spec(alpha)).replace('"size":', '"size": ')),
  },
  {
    what: 'half a manifest',
    code: 'signature-wrong',
    commands: checking,
    message: /signature does not match/,
    forge: (mirror) => mirror.write(v3.spec(alpha), mirror.text(v3.spec(alpha)).slice(0, 600)),
  },
  {
    what: 'an unsigned manifest in front of the signed one',
    code: 'signature-missing',
    commands: checking,
    message: /not signed/,
    forge: (mirror) =>
      mirror.write(v3.spec(alpha), `${mirror.plain(v3.spec(beta))}\n${mirror.text(v3.spec(alpha))}`),
  },
  {
    what: 'a manifest that names two tarballs',
    code: 'manifest',
    commands: all,
    message: /two blobs of type/,
    forge: async (mirror) => {
      const manifest = mirror.json(v3.spec(alpha));
      const [tarball] = mirror.json(v3.spec(beta)).data;
      await mirror.signed(alpha, { ...manifest, data: [tarball, ...manifest.data] });
    },
  },
  {
    what: 'other bytes for its spec',
    code: 'checksum',
    commands: all,
    message: /checksum/,
    forge: (mirror) => {
      const key = mirror.blobKey(alpha, 'spec');
      const bytes = mirror.bytes(key);
      bytes[20]! ^= 1;
      mirror.write(key, bytes);
    },
  },
  {
    what: 'half of its spec',
    code: 'length',
    commands: all,
    message: /bytes/,
    forge: (mirror) => {
      const key = mirror.blobKey(alpha, 'spec');
      mirror.write(key, mirror.bytes(key).subarray(0, 100));
    },
  },
  {
    what: 'no spec',
    code: 'missing-blob',
    commands: all,
    message: /lacks the blob/,
    forge: (mirror) => mirror.remove(mirror.blobKey(alpha, 'spec')),
  },
  {
    what: 'a spec that was edited, its hash kept',
    code: 'dag-hash',
    commands: all,
    message: /was changed: the dag hash/,
    forge: (mirror) => mirror.respecify(([root]) => void (root!['parameters'] = { shared: false })),
  },
  {
    what: 'a spec whose dependency was edited, the hash kept',
    code: 'dag-hash',
    commands: all,
    message: /the spec of beta@1\.0.*was changed: the dag hash/,
    forge: (mirror) => mirror.respecify(([, needed]) => void (needed!['parameters'] = { shared: false })),
  },
  {
    what: 'a spec of two roots',
    code: 'spec',
    commands: all,
    message: /second root, gamma/,
    forge: (mirror) => mirror.respecify((nodes) => [...nodes, ...JSON.parse(gamma.specText).spec.nodes]),
  },
  {
    what: 'a spec that has its root twice',
    code: 'spec',
    commands: all,
    message: /two nodes/,
    forge: (mirror) =>
      mirror.respecify((nodes) => [...nodes, { ...nodes[0], parameters: { shared: false } }]),
  },
  {
    what: 'a spec that calls it external',
    code: 'spec',
    commands: all,
    message: /external package/,
    forge: (mirror) =>
      mirror.respecify(([root]) => void (root!['external'] = { path: '/usr', module: null })),
  },
  {
    what: "another package's statement",
    code: 'wrong-package',
    commands: all,
    message: otherPackage,
    forge: async (mirror) => {
      const { stackwright } = mirror.json(v3.spec(beta));
      await mirror.signed(alpha, { ...mirror.json(v3.spec(alpha)), stackwright });
    },
  },
  {
    what: "a statement that names another package's prefix",
    code: 'statement',
    commands: all,
    message: /statement/,
    forge: (mirror) => mirror.misstate({ prefix: `/${prefixOf(beta)}` }),
  },
  {
    what: 'a statement without a time',
    code: 'statement',
    commands: all,
    message: /statement in its manifest has no time/,
    forge: async (mirror) => {
      const manifest = mirror.json(v3.spec(alpha));
      await mirror.signed(alpha, { ...manifest, stackwright: { ...manifest.stackwright, time: 'now' } });
    },
  },
  {
    what: 'a statement with the digest of another tar',
    code: 'statement',
    commands: reading,
    message: /"digest"/,
    forge: (mirror) => mirror.misstate({ digest: digestOf(Buffer.from('other')) }),
  },
  {
    what: 'a statement with other libraries than there are',
    code: 'statement',
    commands: ['run', 'image', 'verify'],
    message: /"needed"/,
    forge: (mirror) => mirror.misstate({ needed: ['libevil.so'] }),
  },
  {
    what: 'other bytes for its tarball',
    code: 'checksum',
    commands: [...reading, ...copying],
    message: /checksum|digest/,
    forge: (mirror) => {
      const key = mirror.blobKey(alpha, 'tarball');
      const bytes = mirror.bytes(key);
      bytes[bytes.length - 5]! ^= 1;
      mirror.write(key, bytes);
    },
  },
  {
    what: 'half of its tarball',
    code: 'length',
    commands: [...reading, ...copying],
    message: /bytes/,
    forge: (mirror) => {
      const key = mirror.blobKey(alpha, 'tarball');
      mirror.write(key, mirror.bytes(key).subarray(0, 100));
    },
  },
  {
    what: 'no tarball',
    code: 'missing-blob',
    commands: [...reading, ...copying],
    message: /lacks the blob/,
    forge: (mirror) => mirror.remove(mirror.blobKey(alpha, 'tarball')),
  },
  {
    what: 'the tarball of another package, signed without a statement',
    code: 'wrong-package',
    commands: [...reading, 'sign'],
    message: /its tarball is that of the package/,
    forge: (mirror) => mirror.repack(itemsOf(beta)),
  },
  {
    what: 'the tarball of another package, where nobody has to sign',
    code: 'wrong-package',
    commands: [...reading, 'copy', 'sync', 'sign'],
    unsigned: true,
    message: /its tarball is that of the package/,
    forge: (mirror) => mirror.repack(itemsOf(beta), false),
  },
  {
    what: "its files in another package's prefix",
    code: 'tar-path',
    commands: [...reading, 'copy', 'sync', 'sign'],
    unsigned: true,
    message: /its tarball has files of/,
    forge: (mirror) =>
      mirror.repack(
        itemsOf(alpha, ({ entry, content }) => ({
          entry: { ...entry, name: entry.name.replace(prefixOf(alpha), prefixOf(beta)) },
          content,
        })),
        false,
      ),
  },
  {
    what: 'a file outside of its prefix',
    code: 'tar-path',
    commands: [...reading, 'sign'],
    message: /outside of its prefix/,
    forge: (mirror) => mirror.repack(itemsOf(alpha, undefined, file('etc/passwd'))),
  },
  {
    what: 'a file that hides one of the base image',
    code: 'tar-path',
    commands: ['run', 'image', 'verify', 'sign'],
    message: /\.wh\./,
    forge: (mirror) => mirror.repack(itemsOf(alpha, undefined, file(`${prefixOf(alpha)}/.wh.file`))),
  },
  {
    what: 'a program that runs as its owner',
    code: 'tar-type',
    commands: ['run', 'image', 'verify', 'sign'],
    message: /with the mode 4755/,
    forge: (mirror) =>
      mirror.replaceTarball(withHeader(mirror, (header) => void header.write('0004755\0', 100, 'latin1'))),
  },
  {
    what: 'a device',
    code: 'tar-type',
    commands: [...reading, 'sign'],
    message: /device|kind|type/,
    forge: (mirror) =>
      mirror.replaceTarball(
        withHeader(mirror, (header) => {
          header.write('3', 156, 'latin1');
          header.write('00000000000\0', 124, 'latin1');
        }),
      ),
  },
  {
    what: 'an index that lists what is not there',
    code: 'index-stale',
    commands: ['verify'],
    message: /names alpha.*which the mirror lacks/,
    forge: (mirror) => mirror.remove(v3.spec(alpha)),
  },
  {
    what: "an index that calls it by another package's name",
    code: 'wrong-package',
    commands: ['pull', 'copy', 'sync', 'publish', 'sign', 'verify'],
    message: /index.*in its place/,
    specs: () => ['Alpha'],
    forge: (mirror) => mirror.reindex((text) => text.replaceAll('"name":"alpha"', '"name":"Alpha"')),
  },
  {
    what: 'another index than its manifest names',
    code: 'checksum',
    commands: ['verify', 'list'],
    message: /checksum/,
    forge: (mirror) => {
      const key = mirror.indexBlob();
      mirror.write(key, mirror.bytes(key).toString().replace('"alpha"', '"Alpha"'));
    },
  },
];
