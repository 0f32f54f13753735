import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch as nodeArch, platform as nodePlatform, release } from 'node:os';
import { knownTargets, target as targetNamed } from '../spec/target.js';

/** What Spack calls the machine that it runs on. */
export interface HostArchitecture {
  /** `linux`, `darwin`, `windows`, `freebsd`. */
  readonly platform: string;
  /** `debian12`, `rhel9`, `sonoma`, `windows10.0.22631`. */
  readonly os: string;
  /** A microarchitecture, such as `zen2`. */
  readonly target: string;
}

let found: HostArchitecture | undefined;

/** This machine, as Spack names it; looked at once. */
export function hostArchitecture(): HostArchitecture {
  found ??= { platform: hostPlatform(), os: hostOs(), target: hostTarget() };
  return found;
}

function hostPlatform(): string {
  const name = nodePlatform();
  return name === 'win32' || name === 'cygwin' ? 'windows' : name;
}

function hostOs(): string {
  switch (nodePlatform()) {
    case 'linux':
      return linuxName(readText('/etc/os-release') ?? readText('/usr/lib/os-release') ?? '');
    case 'darwin':
      return macName(output('sw_vers', ['-productVersion']));
    case 'win32':
      return `windows${release()}`;
    default:
      return `${nodePlatform()}${release()}`;
  }
}

/** The name and version from an `os-release` file, as Spack joins them: `ubuntu22.04`, but `rhel9` and `debian12`. */
export function linuxName(osRelease: string): string {
  const field = (name: string) =>
    new RegExp(`^${name}=(["']?)(.*)\\1$`, 'm').exec(osRelease)?.[2]?.trim() ?? '';
  let id = (field('ID') || 'unknown').toLowerCase().replaceAll(' ', '_');
  id = { ol: 'oracle', 'opensuse-leap': 'opensuse' }[id] ?? id;
  const parts = field('VERSION_ID').split(/[^\w-]/);
  let version = parts[0] ?? '';
  if (id.includes('ubuntu')) version = parts.slice(0, 2).join('.');
  if (id.includes('tumbleweed')) {
    id = 'opensuse';
    version = `tumbleweed${/ldd \(GNU libc\) (.*)/.exec(output('ldd', ['--version']))?.[1] ?? version}`;
  }
  return `${id}${version}`.replaceAll('-', '_');
}

const macNames: Readonly<Record<string, string>> = {
  '10.13': 'highsierra',
  '10.14': 'mojave',
  '10.15': 'catalina',
  '10.16': 'bigsur',
  '11': 'bigsur',
  '12': 'monterey',
  '13': 'ventura',
  '14': 'sonoma',
  '15': 'sequoia',
  '26': 'tahoe',
};

function macName(version: string): string {
  const [major = '', minor = ''] = version.trim().split('.');
  return macNames[Number(major) >= 11 ? major : `${major}.${minor}`] ?? 'macos';
}

function hostTarget(): string {
  const machine = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' }[nodeArch() as string] ?? nodeArch();
  if (nodePlatform() === 'linux') return detectTarget(machine, readText('/proc/cpuinfo') ?? '');
  if (nodePlatform() === 'darwin' && machine === 'aarch64') {
    return (
      /Apple (M[1-4])/.exec(output('sysctl', ['-n', 'machdep.cpu.brand_string']))?.[1]?.toLowerCase() ?? 'm1'
    );
  }
  return machine;
}

const armVendors: Readonly<Record<string, string>> = {
  '0x41': 'ARM',
  '0x43': 'Cavium',
  '0x46': 'Fujitsu',
  '0x61': 'Apple',
};

/** The best known target whose code runs on the processor that `/proc/cpuinfo` describes. */
export function detectTarget(machine: string, cpuinfo: string): string {
  const first = cpuinfo.split(/\n\s*\n/)[0] ?? '';
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(first)?.[1]?.trim() ?? '';
  const features = new Set(field(machine === 'aarch64' ? 'Features' : 'flags').split(/\s+/));
  // Linux does not list what another feature implies.
  if (features.has('ssse3')) features.add('sse3');
  const vendor = machine === 'aarch64' ? (armVendors[field('CPU implementer')] ?? '') : field('vendor_id');
  const generation = Number(/POWER(\d+)/.exec(field('cpu'))?.[1] ?? 0);
  const runs = [...knownTargets().values()].filter((candidate) => {
    if (!candidate.lineage.has(machine)) return false;
    if (machine.startsWith('ppc64')) return Number(candidate.part) <= generation;
    if (machine === 'aarch64' && candidate.vendor === 'generic') return candidate.name === machine;
    if (candidate.vendor !== 'generic' && candidate.vendor !== vendor) return false;
    return [...candidate.features].every((feature) => features.has(feature));
  });
  const best = (list: typeof runs) =>
    list.reduce((a, b) =>
      b.lineage.size > a.lineage.size ||
      (b.lineage.size === a.lineage.size && b.features.size > a.features.size)
        ? b
        : a,
    );
  const generic = runs.filter((candidate) => candidate.vendor === 'generic');
  if (generic.length === 0) return machine;
  const base = best(generic);
  const part = field('CPU part');
  const samePart = part ? runs.filter((candidate) => candidate.part === part) : [];
  const special = (samePart.length > 0 ? samePart : runs).filter(
    (candidate) => candidate.name !== base.name && targetNamed(candidate.name).lineage.has(base.name),
  );
  return special.length > 0 ? best(special).name : base.name;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function output(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
