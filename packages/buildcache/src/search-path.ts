/** Folders of a prefix that Spack puts on search paths (its default `modules:prefix_inspections`). */
export const inspectedFolders: Readonly<Record<string, readonly string[]>> = {
  bin: ['PATH'],
  man: ['MANPATH'],
  'share/man': ['MANPATH'],
  'share/aclocal': ['ACLOCAL_PATH'],
  'lib/pkgconfig': ['PKG_CONFIG_PATH'],
  'lib64/pkgconfig': ['PKG_CONFIG_PATH'],
  'share/pkgconfig': ['PKG_CONFIG_PATH'],
  '.': ['CMAKE_PREFIX_PATH'],
};

/** The search path that a container has where nothing says otherwise. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A package's prefix as an image has it. */
export interface InspectedPrefix {
  /** Absolute, in the image. */
  readonly prefix: string;
  /** The inspected folders that exist, relative to the prefix. */
  readonly folders: readonly string[];
}

/**
 * The environment that makes a stack's packages found: each search path lists the packages in the order given and then
 * what the base had. It is what `spack load` sets from prefixes alone; variables that recipes set in Python are not known here.
 * @param base `NAME=value` strings of the base image
 */
export function searchPaths(packages: readonly InspectedPrefix[], base: readonly string[] = []): string[] {
  const env = new Map(
    base.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
  for (const [variable, paths] of searchFolders(packages)) {
    const rest = env.get(variable) ?? (variable === 'PATH' ? defaultPath : undefined);
    // An empty last part makes man search its own default places too.
    const tail = rest !== undefined ? [rest] : variable === 'MANPATH' ? [''] : [];
    env.set(variable, [...new Set([...paths, ...tail])].join(':'));
  }
  if (!env.has('PATH')) env.set('PATH', defaultPath);
  return [...env].map(([name, value]) => `${name}=${value}`);
}

/** The folders of packages on each search path, by variable. */
export function searchFolders(packages: readonly InspectedPrefix[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [folder, variables] of Object.entries(inspectedFolders)) {
    for (const { prefix, folders } of packages) {
      if (!folders.includes(folder)) continue;
      for (const variable of variables) {
        found.set(variable, [...(found.get(variable) ?? []), pathOf(prefix, folder)]);
      }
    }
  }
  return found;
}

/** The inspected folders of a prefix that an environment's search paths list. */
export function foldersIn(env: readonly string[], prefix: string): string[] {
  const listed = new Map(
    env.map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1).split(':')] as const;
    }),
  );
  return Object.entries(inspectedFolders)
    .filter(([folder, variables]) =>
      variables.some((variable) => listed.get(variable)?.includes(pathOf(prefix, folder))),
    )
    .map(([folder]) => folder);
}

function pathOf(prefix: string, folder: string): string {
  return folder === '.' ? prefix : `${prefix}/${folder}`;
}
