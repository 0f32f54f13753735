import { BuildcacheError } from '../error.js';
import { checkFreshness, type FreshnessOptions } from '../index/freshness.js';
import { readCheckedFacts } from '../layer-facts.js';
import type { MirrorReader } from '../mirror.js';
import { describe, isSamePackage, type PackageRef } from '../package-ref.js';
import { checkStatedTarball } from '../statement.js';

/** One thing that is wrong with a mirror. */
export interface MirrorFinding {
  /** `NAME@VERSION/HASH7`, or what else it is about. */
  readonly what: string;
  /** A `BuildcacheErrorCode`, or `missing-dependency`, `index-stale`, `index-incomplete`. */
  readonly code: string;
  readonly message: string;
  /** `warning`: works all the same. */
  readonly severity: 'error' | 'warning';
}

export interface VerifyMirrorOptions {
  /** Only these; all when left out. */
  readonly packages?: readonly PackageRef[];
  /** Leave the tarballs unread: signatures, specs and dependencies only. */
  readonly shallow?: boolean;
  /** How old the index may be, and what is remembered of it. */
  readonly freshness?: Omit<FreshnessOptions, 'signal'>;
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Checks every signature, length, checksum, spec and dependency of a mirror, and its index. Goes on after a finding. */
export async function verifyMirror(
  mirror: MirrorReader,
  options: VerifyMirrorOptions = {},
): Promise<{ packages: number; findings: MirrorFinding[] }> {
  const { signal } = options;
  const present = await presentPackages(mirror.withView(undefined), signal);
  const inView = mirror.view === undefined ? present : await presentPackages(mirror, signal);
  const chosen = options.packages ?? [...inView.values()].filter(({ hash }) => present.has(hash));
  const findings: MirrorFinding[] = [];
  let done = 0;
  const waiting = chosen.values();
  const verifyOn = async () => {
    for (const ref of waiting) {
      signal?.throwIfAborted();
      findings.push(...(await verifyPackage(mirror, ref, present, options)));
      options.onProgress?.(++done, chosen.length);
    }
  };
  await Promise.all(Array.from({ length: options.parallel ?? 8 }, verifyOn));
  if (!options.packages) {
    findings.push(...(await verifyIndex(mirror, present, options)));
    const views = mirror.view === undefined ? await mirror.views(signal) : [];
    for (const view of views) findings.push(...(await verifyIndex(mirror.withView(view), present, options)));
  }
  return { packages: chosen.length, findings };
}

/**
 * What the mirror holds, from a listing; from the index where it cannot be listed. Where it was opened with a view: what
 * the view holds.
 */
export async function presentPackages(
  mirror: MirrorReader,
  signal?: AbortSignal,
): Promise<Map<string, PackageRef>> {
  const present = new Map<string, PackageRef>();
  if (mirror.canList && mirror.view === undefined) {
    for await (const { name, version, hash } of mirror.packages(signal))
      present.set(hash, { name, version, hash });
    return present;
  }
  for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
    if (inBuildcache) present.set(node.hash, { name: node.name, version: node.version, hash: node.hash });
  }
  return present;
}

async function verifyPackage(
  mirror: MirrorReader,
  ref: PackageRef,
  present: ReadonlyMap<string, PackageRef>,
  options: VerifyMirrorOptions,
): Promise<MirrorFinding[]> {
  const what = describe(ref);
  const findings: MirrorFinding[] = [];
  try {
    const { manifest, document } = await mirror.package(ref, options.signal);
    const { root, nodes } = document;
    for (const edge of root.dependencies) {
      const needed = edge.types.includes('link') || edge.types.includes('run');
      if (!needed || present.has(edge.hash) || nodes.get(edge.hash)?.external) continue;
      findings.push({
        what,
        code: 'missing-dependency',
        message: `${what} needs ${edge.name}/${edge.hash.slice(0, 7)}, which the mirror lacks.`,
        severity: 'error',
      });
    }
    if (!options.shallow) {
      const open = () => mirror.tarball(manifest, options.signal);
      checkStatedTarball(ref, manifest.statement, await readCheckedFacts(open, what, options.signal));
    }
  } catch (error) {
    if (!(error instanceof BuildcacheError)) throw error;
    const severity = error.code === 'newer' ? 'warning' : 'error';
    findings.push({ what, code: error.code, message: error.message, severity });
  }
  return findings;
}

async function verifyIndex(
  mirror: MirrorReader,
  present: ReadonlyMap<string, PackageRef>,
  { freshness, signal }: VerifyMirrorOptions,
): Promise<MirrorFinding[]> {
  const findings: MirrorFinding[] = [];
  const named = mirror.view === undefined ? 'the index' : `the index view "${mirror.view}"`;
  // A view holds what it was given; the whole index has to hold everything.
  const missing = new Set(mirror.view === undefined ? present.keys() : []);
  try {
    await checkFreshness(mirror, { ...freshness, signal });
    for await (const { node, inBuildcache } of mirror.indexEntries(signal)) {
      missing.delete(node.hash);
      const there = present.get(node.hash);
      if (there && !isSamePackage(there, node)) {
        findings.push({
          what: describe(there),
          code: 'wrong-package',
          message: `${describe(there)}: ${named} has ${describe(node)} in its place.`,
          severity: 'error',
        });
      }
      if (inBuildcache && !there) {
        findings.push({
          what: describe(node),
          code: 'index-stale',
          message: `${named.replace('the', 'The')} names ${describe(node)}, which the mirror lacks.`,
          severity: 'error',
        });
      }
    }
  } catch (error) {
    if (!(error instanceof BuildcacheError)) throw error;
    const severity = error.code === 'missing-index' ? 'warning' : 'error';
    return [{ what: named, code: error.code, message: error.message, severity }];
  }
  if (missing.size > 0) {
    findings.push({
      what: named,
      code: 'index-incomplete',
      message: `The index lacks ${missing.size} of ${present.size} packages. Bring it up to date with: stackwright mirror index`,
      severity: 'warning',
    });
  }
  return findings;
}
