import { parseCi } from '@stackwright/job-graph';
import type { ConcreteNode } from '@stackwright/spack-env';
import type { Stack } from '../stack.js';

/** Whose tests are run: of the packages that the manifest names, or of every package that is built. */
export type TestChoice = 'roots' | 'all';

/**
 * Which packages are tested. Packages whose tests are known to be broken (`ci: broken-tests-packages`) are not.
 * @param choice undefined for none
 */
export async function packagesToTest(
  stack: Stack,
  choice: TestChoice | undefined,
): Promise<(node: ConcreteNode) => boolean> {
  if (choice === undefined) return () => false;
  const { config } = await stack.environment();
  const broken = new Set(config.ci === undefined ? [] : parseCi(config.ci).brokenTestsPackages);
  const roots = new Set((await stack.lock()).roots.map(({ hash }) => hash));
  return ({ name, hash }) => !broken.has(name) && (choice === 'all' || roots.has(hash));
}
