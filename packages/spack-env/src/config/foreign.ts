import { existsSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, sep } from 'node:path';
import type { Finding } from '../error.js';

/** What is wrong, by code, where the text may not be quoted. */
const plain: Readonly<Record<string, string>> = {
  'broken-yaml': 'Broken YAML.',
  'duplicate-key': 'A key is there twice.',
  'unknown-key': 'Unknown key.',
  'wrong-type': 'A value of the wrong type.',
};
const unread = new Set(['not-a-file', 'too-large', 'unreadable']);

/**
 * Findings without texts of files that are not the stack's own. Whoever writes `include` could otherwise have any file of
 * this machine shown.
 * @param folder of the stack. The working copy that it is in belongs to it, unless that is a home folder.
 * @param fetched folders of repositories that were included
 */
export function withoutForeignTexts(
  findings: readonly Finding[],
  folder: string,
  home: string,
  fetched: readonly string[] = [],
): Finding[] {
  const own = [ownFolder(realPath(folder), realPath(home)), ...fetched.map(realPath)];
  const isForeign = (file: string | undefined) =>
    file !== undefined && isAbsolute(file) && !own.some((one) => isInside(realPath(file), one));
  return findings.map((finding) => {
    const { severity, code, position } = finding;
    // What cannot be read at all was not read.
    if (!isForeign(position?.file) || unread.has(code)) return finding;
    const message = plain[code] ?? 'This is not what Spack expects here.';
    return {
      severity,
      code,
      position,
      message,
      hint: 'The text is not shown: the file is not part of the stack.',
    };
  });
}

function ownFolder(folder: string, home: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (isInside(home, at)) return folder;
    if (existsSync(`${at}${sep}.git`)) return at;
    if (at === dirname(at)) return folder;
  }
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
