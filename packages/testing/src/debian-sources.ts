import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

/** A source package of Debian that ships the tarball that a recipe names. */
interface Source {
  readonly file: string;
  readonly source: string;
  readonly version: string;
}

/**
 * Fills a Spack source mirror with tarballs from Debian's source packages. A recipe's version can be had where its
 * sha256 is that of a tarball in Debian's index, which makes both the same bytes. Needs apt and no root: apt's state is
 * kept in a folder of its own.
 * @param recipes folder of the `builtin` repository, which has a folder `packages`
 * @param mirror folder that becomes the source mirror
 * @param specs `NAME@VERSION`
 * @throws Error naming each version that Debian does not ship, or no longer serves
 */
export async function fillSourceMirror(
  recipes: string,
  mirror: string,
  specs: readonly string[],
): Promise<void> {
  const wanted = new Map(specs.flatMap((spec) => checksums(recipes, spec).map((sha256) => [sha256, spec])));
  const folder = mkdtempSync(join(tmpdir(), 'apt-'));
  try {
    const apt = ownApt(folder);
    execFileSync('apt-get', [...apt, '-qq', 'update'], { stdio: 'pipe' });
    const found = await findSources(apt, wanted);
    const missing = specs.filter((spec) => ![...found.keys()].some((sha256) => wanted.get(sha256) === spec));
    for (const [sha256, source] of found) {
      if (!fetchSource(apt, folder, mirror, sha256, source)) missing.push(wanted.get(sha256) ?? sha256);
    }
    if (missing.length > 0) throw new Error(`Debian serves no source of ${missing.join(', ')}.`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The sha256 of each tarball that a recipe names for a version. */
function checksums(recipes: string, spec: string): readonly string[] {
  const [name = '', version = ''] = spec.split('@');
  const recipe = readFileSync(join(recipes, 'packages', name.replaceAll('-', '_'), 'package.py'), 'utf8');
  const named = /^ *version\(\s*"([^"]+)"(?:(?!version\()[\s\S])*?"([0-9a-f]{64})"/gm;
  return [...recipe.matchAll(named)].flatMap(([, each, sha256]) =>
    each === version && sha256 ? [sha256] : [],
  );
}

/** Options that give apt this machine's sources as source packages, and a state of its own. */
function ownApt(folder: string): readonly string[] {
  const parts = join(folder, 'sources.list.d');
  for (const path of [parts, join(folder, 'lists/partial'), join(folder, 'cache/archives/partial')])
    mkdirSync(path, { recursive: true });
  const list = '/etc/apt/sources.list';
  const asSources = (text: string) =>
    text.replace(/^deb(?= )/gm, 'deb-src').replace(/^Types:.*$/gm, 'Types: deb-src');
  writeFileSync(join(folder, 'sources.list'), existsSync(list) ? asSources(readFileSync(list, 'utf8')) : '');
  for (const file of existsSync(`${list}.d`) ? readdirSync(`${list}.d`) : [])
    if (/\.(list|sources)$/.test(file))
      writeFileSync(join(parts, file), asSources(readFileSync(join(`${list}.d`, file), 'utf8')));
  const settings = {
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': parts,
    'Dir::State::Lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    // The user that apt switches to cannot write here.
    'APT::Sandbox::User': 'root',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Reads Debian's index of source packages: a paragraph a package, its tarballs as lines of sha256, size and name. */
async function findSources(
  apt: readonly string[],
  wanted: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, Source>> {
  const found = new Map<string, Source>();
  const files = execFileSync(
    'apt-get',
    [...apt, 'indextargets', '--format', '$(FILENAME)', 'Created-By: Sources'],
    {
      encoding: 'utf8',
    },
  );
  for (const index of files.split('\n').filter((file) => file !== '' && existsSync(file))) {
    const reader = spawn('/usr/lib/apt/apt-helper', ['cat-file', index], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let source = '';
    let version = '';
    const tarballs: [string, string][] = [];
    for await (const line of createInterface({ input: reader.stdout })) {
      if (line.startsWith('Package: ')) source = line.slice('Package: '.length);
      else if (line.startsWith('Version: ')) version = line.slice('Version: '.length);
      else if (line === '') {
        for (const [sha256, file] of tarballs.splice(0)) found.set(sha256, { file, source, version });
      } else {
        const [, sha256, file] = /^ ([0-9a-f]{64}) \d+ (\S+)$/.exec(line) ?? [];
        if (sha256 && file && wanted.has(sha256)) tarballs.push([sha256, file]);
      }
    }
    for (const [sha256, file] of tarballs) found.set(sha256, { file, source, version });
  }
  return found;
}

/** Puts one tarball where Spack looks for it: by its checksum, with the ending of the recipe's URL. */
function fetchSource(
  apt: readonly string[],
  folder: string,
  mirror: string,
  sha256: string,
  { file, source, version }: Source,
): boolean {
  const ending = /\.(tar\.\w+|tgz|zip)$/.exec(file)?.[1] ?? 'tar.gz';
  const target = join(mirror, '_source-cache/archive', sha256.slice(0, 2), `${sha256}.${ending}`);
  if (existsSync(target)) return true;
  try {
    execFileSync(
      'apt-get',
      [...apt, 'source', '-qq', '--download-only', '--tar-only', `${source}=${version}`],
      {
        cwd: folder,
        stdio: 'ignore',
      },
    );
  } catch {
    // A tarball may be in the index and no longer on the server.
  }
  if (!existsSync(join(folder, file))) return false;
  mkdirSync(dirname(target), { recursive: true });
  renameSync(join(folder, file), target);
  const short = { 'tar.gz': 'tgz', 'tar.bz2': 'tbz2', 'tar.xz': 'txz' }[ending];
  if (short) linkSync(target, `${target.slice(0, -ending.length)}${short}`);
  return true;
}
