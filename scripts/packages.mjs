// The packages of the workspace that are published, as folders relative to its root.
import { readdirSync, readFileSync } from 'node:fs';

const root = new URL('..', import.meta.url);

export function publishedPackages() {
  return ['packages', 'apps']
    .flatMap((folder) => readdirSync(new URL(folder, root)).map((name) => `${folder}/${name}`))
    .filter((folder) => !JSON.parse(readFileSync(new URL(`${folder}/package.json`, root), 'utf8')).private);
}
