// Writes the command into few files: reading hundreds of modules would cost more time than most commands' work.
// Commands stay apart from each other, so each reads only what it needs.
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { noticesOf } from './notices.mjs';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

for (const folder of ['bundle', 'assets']) rmSync(path(folder), { recursive: true, force: true });
// OpenPGP.js is LGPL-3.0+: as a dependency of its own, whoever has the command can put another version in its place.
const bundle = await rolldown({ input: path('dist/cli.js'), platform: 'node', external: ['openpgp'] });
const { output } = await bundle.write({ dir: path('bundle'), format: 'esm' });
const modules = output.flatMap((chunk) => (chunk.type === 'chunk' ? chunk.moduleIds : []));
writeFileSync(path('THIRD-PARTY-NOTICES.txt'), noticesOf(modules));
// What packages carry beside their code lies beside the bundle: the report's style and script, the script of a resident Spack.
for (const name of ['report', 'spack'])
  cpSync(path(`../../packages/${name}/assets`), path('assets'), { recursive: true });
