// Writes fixtures/quickstart/pipelines.json: what `spack ci generate` makes of stacks/quickstart with the "ci" sections
// of fixtures/quickstart/cases.json. Needs Spack 1.1 on PATH.
//   node packages/job-graph/scripts/golden-pipelines.mjs
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';

const stack = new URL('../../../stacks/quickstart/', import.meta.url);
const fixtures = new URL('../fixtures/quickstart/', import.meta.url);
const cases = JSON.parse(readFileSync(new URL('cases.json', fixtures), 'utf8'));

function generate({ ci, env, args }) {
  const folder = mkdtempSync(join(tmpdir(), 'golden-pipelines-'));
  try {
    for (const name of ['spack.lock', 'spack_repo', 'sources']) {
      cpSync(new URL(name, stack), join(folder, name), { recursive: true });
    }
    const manifest = parse(readFileSync(new URL('spack.yaml', stack), 'utf8'));
    manifest.spack.ci = ci;
    // No mirror is there, so every package has to be built.
    manifest.spack.mirrors = { 'buildcache-destination': { url: 'file:///nowhere/mirror', signed: true } };
    writeFileSync(join(folder, 'spack.yaml'), stringify(manifest));
    execFileSync('spack', ['-e', '.', 'ci', 'generate', '--output-file', 'pipeline.yml', ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return parse(readFileSync(join(folder, 'pipeline.yml'), 'utf8'), { maxAliasCount: -1 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const spack = execFileSync('spack', ['--version'], { encoding: 'utf8' }).trim();
const pipelines = Object.entries(cases).map(([name, given]) => {
  console.error(name);
  return `${JSON.stringify(name)}:${JSON.stringify(generate(given))}`;
});
writeFileSync(
  new URL('pipelines.json', fixtures),
  `{"spack":${JSON.stringify(spack)},"pipelines":{\n${pipelines.join(',\n')}\n}}\n`,
);
