import { isAbsolute, join, normalize } from 'node:path';
import { targetFamily } from '../spec/target.js';
import type { HostArchitecture } from './host.js';

/** What the variables of paths stand for. */
export interface VariableFacts {
  readonly host: HostArchitecture;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly user: string;
  readonly tempdir: string;
  /** The environment's folder. */
  readonly environment: string;
  /** Where Spack is; without it `$spack` stays as it is. */
  readonly spack?: string | undefined;
}

/**
 * Fills `$env`, `$spack`, `$user`, `$tempdir` and the like (in any case, with or without braces), then variables of
 * the process's environment, then a leading `~`. What is not known stays as it is written.
 */
export function substituteVariables(text: string, facts: VariableFacts): string {
  const { host } = facts;
  const triple = `${host.platform}-${host.os}-${host.target}`;
  const known: Readonly<Record<string, string | undefined>> = {
    env: facts.environment,
    spack: facts.spack,
    user: facts.user,
    tempdir: facts.tempdir,
    user_cache_path: facts.env['SPACK_USER_CACHE_PATH'] ?? join(facts.home, '.spack'),
    architecture: triple,
    arch: triple,
    platform: host.platform,
    operating_system: host.os,
    os: host.os,
    target: host.target,
    target_family: targetFamily(host.target),
    date: new Date().toISOString().slice(0, 10),
  };
  const own = (record: Readonly<Record<string, string | undefined>>, key: string) =>
    Object.hasOwn(record, key) ? record[key] : undefined;
  return text
    .replace(
      /\$(?:(\w+)\b|\{(\w+)\})/g,
      (all, bare: string | undefined, braced: string | undefined) =>
        own(known, (bare ?? braced!).toLowerCase()) ?? all,
    )
    .replace(
      /\$(?:(\w+)|\{([^}]*)\})/g,
      (all, bare: string | undefined, braced: string | undefined) => own(facts.env, (bare ?? braced)!) ?? all,
    )
    .replace(/^~(?=\/|$)/, () => facts.home);
}

/** Whether a path is on another machine. */
export const isRemote = (path: string): boolean => /^(?!file:)[a-z][a-z0-9+.-]*:\/\//i.test(path);

/** An absolute path: variables filled in, `file://` taken off, relative to a folder. */
export function resolvePath(text: string, folder: string, facts: VariableFacts): string {
  const filled = substituteVariables(text, facts);
  if (isRemote(filled)) return filled;
  const path = filled.replace(/^file:\/\/(?:localhost)?(?=\/)/i, '');
  return normalize(isAbsolute(path) ? path : join(folder, path)).replace(/(?<=.)\/$/, '');
}
