import { describe, expect, it } from 'vitest';
import { knownTargets, targetFamily } from '../spec/target.js';
import { detectTarget, hostArchitecture, linuxName } from './host.js';

describe('linuxName', () => {
  it.each([
    ['ID=debian\nVERSION_ID="12"', 'debian12'],
    ['ID=ubuntu\nVERSION_ID="22.04"', 'ubuntu22.04'],
    ['ID="rhel"\nVERSION_ID="9.3"', 'rhel9'],
    ['ID="opensuse-leap"\nVERSION_ID="15.5"', 'opensuse15'],
    ['ID="amzn"\nVERSION_ID="2"', 'amzn2'],
    ['ID=arch', 'arch'],
    ['', 'unknown'],
  ])('%j is %s', (text, name) => {
    expect(linuxName(text)).toBe(name);
  });
});

describe('detectTarget', () => {
  const x86 = (vendor: string, target: string, without = '') =>
    `processor\t: 0\nvendor_id\t: ${vendor}\nflags\t\t: ${[...knownTargets().get(target)!.features].filter((f) => f !== without && f !== 'sse3').join(' ')}\n\nprocessor\t: 1\n`;

  it.each([
    ['zen2', x86('AuthenticAMD', 'zen2')],
    ['icelake', x86('GenuineIntel', 'icelake')],
    // A feature that is switched off must not throw it back to the family.
    ['x86_64_v3', x86('AuthenticAMD', 'zen2', 'clzero').replaceAll('fsgsbase', '')],
    ['x86_64_v3', x86('Unknown', 'zen2')],
    ['x86_64', 'processor : 0\nflags : none\n'],
  ])('finds %s', (target, cpuinfo) => {
    expect(detectTarget('x86_64', cpuinfo)).toBe(target);
  });

  it('finds ARM by its part and POWER by its generation', () => {
    const features = [...knownTargets().get('neoverse_v1')!.features].join(' ');
    const arm = `processor : 0\nFeatures : ${features}\nCPU implementer : 0x41\nCPU part : 0xd40\n`;
    expect(detectTarget('aarch64', arm)).toBe('neoverse_v1');
    expect(detectTarget('ppc64le', 'processor : 0\ncpu : POWER9, altivec supported\n')).toBe('power9le');
  });

  it('names this machine', () => {
    const { platform, os, target } = hostArchitecture();
    expect([platform, os, target].every((name) => name !== '')).toBe(true);
    expect(targetFamily(target)).not.toBe('');
  });
});
