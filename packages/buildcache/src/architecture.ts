import { targetFamily } from '@stackwright/spack-env';

const goNames: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64', x86: '386' };

/** OCI's (Go's) name of the architecture that a Spack target belongs to. */
export function goArchitecture(target: string): string {
  const family = targetFamily(target);
  return goNames[family] ?? family;
}
