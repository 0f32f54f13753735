import { type ConcreteNode, targetFamily } from '@stackwright/spack-env';
import type { JobScript } from '../engine/job-script.js';

/** Where a job of a workflow runs. */
export interface JobMachine {
  readonly 'runs-on': string | readonly string[];
  readonly container?: { readonly image: string };
}

/** Runners that GitHub hosts. */
const hosted = /^(ubuntu|windows|macos)-[\w.-]+$/;

/** The hosted Ubuntu runners, by Spack's name of the operating system. */
const ubuntu: Readonly<Record<string, string>> = {
  'ubuntu22.04': 'ubuntu-22.04',
  'ubuntu24.04': 'ubuntu-24.04',
};

/** The hosted macOS runners, by Spack's name of the operating system. */
const macos: Readonly<Record<string, string>> = {
  sonoma: 'macos-14',
  sequoia: 'macos-15',
  tahoe: 'macos-26',
};

/** Images of operating systems, by the start of Spack's name of them; the rest of the name is the version. */
const images: readonly (readonly [RegExp, (version: string) => string])[] = [
  [/^debian(\d+)$/, (version) => `debian:${version}`],
  [/^ubuntu(\d+\.\d+)$/, (version) => `ubuntu:${version}`],
  [/^(?:rhel|redhat)(\d+)$/, (version) => `registry.access.redhat.com/ubi${version}/ubi`],
  [/^almalinux(\d+)$/, (version) => `almalinux:${version}`],
  [/^rocky(\d+)$/, (version) => `rockylinux/rockylinux:${version}`],
  [/^centos([89]|\d\d)$/, (version) => `quay.io/centos/centos:stream${version}`],
  [/^fedora(\d+)$/, (version) => `fedora:${version}`],
  [/^(?:opensuse-?leap|opensuse|sles)(\d+)$/, (version) => `opensuse/leap:${version}`],
  [/^(?:amzn|amazon)(\d+)$/, (version) => `amazonlinux:${version}`],
];

/** The runner of containers, whatever is in them. */
const linuxRunner = 'ubuntu-24.04';

/**
 * The runner and the container of a job: the stack's own image and tags where it has some that GitHub knows, else the
 * operating system that the lock was made for. A tag that is a hosted runner's name is taken alone; with a tag
 * `self-hosted` all tags are the runner's labels; all other tags are meant for another CI server.
 * @param node a package that the job builds
 * @returns also `unknown`, the operating system for which there is neither a runner nor an image
 */
export function machineOf(
  { image, tags }: Pick<JobScript, 'image' | 'tags'>,
  node: ConcreteNode | undefined,
): { readonly machine: JobMachine; readonly unknown?: string } {
  const runner = tags.includes('self-hosted') ? tags : tags.find((tag) => hosted.test(tag));
  if (image !== undefined) return { machine: { 'runs-on': runner ?? linuxOf(node), container: { image } } };
  if (runner !== undefined) return { machine: { 'runs-on': runner } };
  const os = node?.arch.os ?? '';
  const own = node?.arch.platform === 'darwin' ? macos[os] : ubuntu[os];
  if (own) return { machine: { 'runs-on': isArm(node) && ubuntu[os] ? `${own}-arm` : own } };
  for (const [name, imageOf] of images) {
    const version = name.exec(os)?.[1];
    if (version) return { machine: { 'runs-on': linuxOf(node), container: { image: imageOf(version) } } };
  }
  return { machine: { 'runs-on': linuxOf(node) }, unknown: os };
}

function linuxOf(node: ConcreteNode | undefined): string {
  return isArm(node) ? `${linuxRunner}-arm` : linuxRunner;
}

function isArm(node: ConcreteNode | undefined): boolean {
  return node !== undefined && targetFamily(node.arch.target) === 'aarch64';
}
