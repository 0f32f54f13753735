import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Stack } from '../stack.js';

// Replaced by the merged configuration of spack-env once it reads environments.
async function readManifest(stack: Stack): Promise<Record<string, any>> {
  return parse(await readFile(join(stack.folder, 'spack.yaml'), 'utf8')).spack ?? {};
}

/** The stack's mirror to push to: its first binary one, else undefined. */
export async function configuredMirror(stack: Stack): Promise<string | undefined> {
  const { mirrors } = await readManifest(stack);
  const first = Object.values(mirrors ?? {})[0] as
    | string
    | { url?: string; push?: string | { url?: string } }
    | undefined;
  if (typeof first === 'string' || first === undefined) return first;
  const push = typeof first.push === 'string' ? first.push : first.push?.url;
  return push ?? first.url;
}

/** `config:install_tree:root`, where the stack sets it. */
export async function configuredInstallRoot(stack: Stack): Promise<string | undefined> {
  const { config } = await readManifest(stack);
  return config?.install_tree?.root;
}
