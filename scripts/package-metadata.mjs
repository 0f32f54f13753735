// Before a release: writes into each package where its source is, which npm's provenance compares with the workflow.
// The address is that of the repository that releases: GITHUB_SERVER_URL and GITHUB_REPOSITORY.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { publishedPackages } from './packages.mjs';

const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
if (!server || !repository) {
  console.error('GITHUB_SERVER_URL and GITHUB_REPOSITORY have to name the repository.');
  process.exit(3);
}
const url = `${server}/${repository}`;

for (const directory of publishedPackages()) {
  const file = fileURLToPath(new URL(`../${directory}/package.json`, import.meta.url));
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  manifest.repository = { type: 'git', url: `git+${url}.git`, directory };
  manifest.homepage = `${url}/tree/main/${directory}#readme`;
  manifest.bugs = { url: `${url}/issues` };
  writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
}
