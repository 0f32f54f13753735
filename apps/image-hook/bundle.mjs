// Writes the hook into one file that a build can fetch, with its checksum beside it: no npm is needed where it runs.
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const name = 'stackwright-image-hook.mjs';

rmSync(path('bundle'), { recursive: true, force: true });
const bundle = await rolldown({ input: path('dist/cli.js'), platform: 'node' });
await bundle.write({ file: path(`bundle/${name}`), format: 'esm', codeSplitting: false });
const checksum = createHash('sha256')
  .update(readFileSync(path(`bundle/${name}`)))
  .digest('hex');
writeFileSync(path(`bundle/${name}.sha256`), `${checksum}  ${name}\n`);
