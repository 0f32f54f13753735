import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { type PackageContents, type TarItem, tarBytes } from '@stackwright/buildcache';
import { keyOf, type LayerFile } from './layer.js';
import type { Staging } from './staging.js';

/**
 * Runs a script whose interpreter has a longer path than kernels accept in a first line: the first line of the script
 * starts this program, the second names the interpreter. Perl and Ruby look at first lines themselves and would start
 * this program again, unless they are told to skip what stands before the line that names them (-x).
 */
export const sbang = `#!/bin/sh
# Starts a script with the interpreter that its second line names. Its first line
# ("#!/bin/sh .../sbang") started this program. In languages to which "#" is no
# comment, the second line has "--", "//" or "<?php" in front.
script=$1
fail() {
    echo "sbang: $script: $1" >&2
    exit 127
}
[ -r "$script" ] && [ -f "$script" ] || fail "no script that can be read"
{
    IFS= read -r line
    IFS= read -r line
} <"$script"
case $line in
'<?php '*) line=\${line#'<?php '} line=\${line%'?>'} ;;
--* | //*) line=\${line#??} ;;
esac
case $line in
'#!'*) line=\${line#??} ;;
'!'*) line=\${line#?} ;;
*) fail "its second line names no interpreter" ;;
esac
set -f
IFS=' 	'
program=
for word in $line; do
    case $word in
    */env | -* | *=*) ;;
    *)
        program=\${word##*/}
        break
        ;;
    esac
done
[ -n "$program" ] || fail "its second line names no interpreter"
case $program in
perl* | ruby*) set -- -x "$@" ;;
esac
# Split on purpose: an interpreter and its options.
exec $line "$@"
`;

/** Where the scripts of packages look for `sbang`, from their first lines. Sorted. */
export function sbangPaths(packages: readonly { readonly contents: PackageContents }[]): string[] {
  const paths = packages.flatMap(({ contents }) =>
    contents.shebangs.flatMap((asked) => /^\S+ (\/.*\/sbang)$/.exec(asked)?.[1] ?? []),
  );
  return [...new Set(paths)].sort();
}

/** A layer with `sbang` at these places. */
export function sbangLayer(
  paths: readonly string[],
  staging: Staging,
  signal?: AbortSignal,
): Promise<LayerFile> {
  const tar = () => Readable.from(tarBytes(programsAt(paths)), { objectMode: false });
  return staging.pack(keyOf('sbang', sbang, ...paths), tar, 'stackwright: sbang', { signal });
}

function* programsAt(paths: readonly string[]): Generator<TarItem> {
  yield* foldersAbove(paths);
  const content = Buffer.from(sbang);
  for (const path of paths) {
    yield {
      entry: { name: path.slice(1), type: 'file', mode: 0o755, size: content.length },
      content: [content],
    };
  }
}

/** The folders above absolute paths, uppermost first, as entries of a tar. */
export function* foldersAbove(paths: readonly string[]): Generator<TarItem> {
  const folders = new Set<string>();
  for (const path of paths) for (let at = dirname(path); at !== '/'; at = dirname(at)) folders.add(at);
  for (const folder of [...folders].sort())
    yield { entry: { name: folder.slice(1), type: 'folder', mode: 0o755, size: 0 }, content: [] };
}
