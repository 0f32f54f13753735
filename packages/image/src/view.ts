import { Readable } from 'node:stream';
import {
  type InspectedPrefix,
  inspectedFolders,
  searchFolders,
  type TarItem,
  tarBytes,
  viewFolders,
} from '@stackwright/buildcache';
import type { PlacedPackage } from './assemble.js';
import { ImageError } from './error.js';
import { keyOf, type LayerFile } from './layer.js';
import { foldersAbove } from './sbang.js';
import type { Staging } from './staging.js';

/** A name that several packages have in a view. */
export interface ViewConflict {
  /** Below the view. */
  readonly path: string;
  /** The packages that have it, by name and version; the first one's is in the view. */
  readonly packages: readonly string[];
}

/** A folder of links to the files of packages, with a short path. */
export interface View {
  /** Absolute. */
  readonly root: string;
  /** Targets by absolute path. */
  readonly links: ReadonlyMap<string, string>;
  readonly conflicts: readonly ViewConflict[];
  /** What search paths take from it. */
  readonly inspected: InspectedPrefix;
}

/**
 * A view of packages: what lies in `bin`, `lib`, `share/man` and the like of all of them. Further folders are linked as
 * wholes. Where several packages have a name, that of the first is taken.
 * @throws ImageError `name` when the view would lie in a package or hold one
 */
export function viewOf(root: string, packages: readonly PlacedPackage[]): View {
  checkRoot(root, packages);
  const links = new Map<string, string>();
  const owners = new Map<string, string[]>();
  for (const { prefix, contents, package: blob } of packages) {
    const owner = `${blob.node.name}@${blob.node.version}`;
    for (const [folder, names] of Object.entries(contents.entries)) {
      for (const path of names.map((name) => `${folder}/${name}`).filter((path) => !isMerged(path))) {
        owners.set(path, [...(owners.get(path) ?? []), owner]);
        if (!links.has(`${root}/${path}`)) links.set(`${root}/${path}`, `${prefix}/${path}`);
      }
    }
  }
  const conflicts = [...owners]
    .filter(([, all]) => all.length > 1)
    .map(([path, all]) => ({ path, packages: all }));
  return { root, links, conflicts, inspected: { prefix: root, folders: foldersOf(root, links) } };
}

/** The layer of a view. */
export function viewLayer({ links }: View, staging: Staging, signal?: AbortSignal): Promise<LayerFile> {
  const tar = () => Readable.from(tarBytes(linkItems(links)), { objectMode: false });
  return staging.pack(keyOf('view', JSON.stringify([...links].sort())), tar, 'stackwright: view', { signal });
}

/** Whether a folder of a view is put together of those of the packages, and so no link. */
function isMerged(path: string): boolean {
  return viewFolders.some((folder) => folder === path || folder.startsWith(`${path}/`));
}

function foldersOf(root: string, links: ReadonlyMap<string, string>): string[] {
  const paths = [...links.keys()];
  return Object.keys(inspectedFolders).filter(
    (folder) => folder === '.' || paths.some((path) => path.startsWith(`${root}/${folder}/`)),
  );
}

function checkRoot(root: string, packages: readonly PlacedPackage[]): void {
  const hint = 'Give an absolute path that no package has: image.view: /opt/view';
  if (!/^(?:\/[\w.+-]+)+$/.test(root) || root.includes('/.'))
    throw new ImageError('name', `"${root}" is no folder for a view.`, { hint });
  const within = packages.find(
    ({ prefix }) => `${prefix}/`.startsWith(`${root}/`) || `${root}/`.startsWith(`${prefix}/`),
  );
  if (within)
    throw new ImageError('name', `The view ${root} and the package ${within.prefix} lie in each other.`, {
      hint,
    });
}

function* linkItems(links: ReadonlyMap<string, string>): Generator<TarItem> {
  yield* foldersAbove([...links.keys()]);
  for (const [path, target] of [...links].sort(([a], [b]) => (a < b ? -1 : 1)))
    yield { entry: { name: path.slice(1), type: 'symlink', mode: 0o755, size: 0, target }, content: [] };
}

const profilePath = '/etc/profile.d/stackwright.sh';

/** A layer with what login shells read: they set `PATH` anew, and would not find the packages. */
export function profileLayer(
  inspected: readonly InspectedPrefix[],
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFile> {
  const content = Buffer.from(profileOf(inspected));
  const items = function* (): Generator<TarItem> {
    yield* foldersAbove([profilePath]);
    const entry = { name: profilePath.slice(1), type: 'file', mode: 0o644, size: content.length } as const;
    yield { entry, content: [content] };
  };
  const tar = () => Readable.from(tarBytes(items()), { objectMode: false });
  return staging.pack(keyOf('profile', content.toString()), tar, 'stackwright: profile', { signal });
}

/** A script of a POSIX shell that puts the packages in front of each search path, once. */
export function profileOf(inspected: readonly InspectedPrefix[]): string {
  const lines = [...searchFolders(inspected)].map(([variable, folders]) => {
    const list = folders.join(':');
    // An empty last part makes man search its own default places too.
    const rest = variable === 'MANPATH' ? `:\${${variable}-}` : `\${${variable}:+:$${variable}}`;
    return `case ":\${${variable}-}:" in\n*":${list}:"*) ;;\n*) export ${variable}="${list}${rest}" ;;\nesac\n`;
  });
  return ['# Search paths of the packages of this image, for login shells.\n', ...lines].join('');
}
