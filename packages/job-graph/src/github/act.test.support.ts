import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { commitAll } from '@stackwright/testing';
import type { PipelineFile } from '../engine/engine.js';

/**
 * Runs a workflow on this machine. Actions of GitHub are replaced by steps that do nothing: act has the repository
 * already, and nowhere to keep artifacts.
 * @param program the path of act
 */
export function runAct(
  program: string,
  folder: string,
  files: readonly PipelineFile[],
): { readonly status: number | null; readonly output: string } {
  for (const { path, text } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const nothing = join(folder, 'nothing');
  mkdirSync(nothing);
  writeFileSync(
    join(nothing, 'action.yml'),
    'name: nothing\ndescription: nothing\nruns:\n  using: composite\n  steps: [{run: "true", shell: sh}]\n',
  );
  const used = new Set(
    files.flatMap(({ text }) => [...text.matchAll(/uses: (actions\/\S+)/g)].map(([, action]) => action)),
  );
  commitAll(folder);
  const { status, stdout, stderr } = spawnSync(
    program,
    [
      'workflow_dispatch',
      '--workflows',
      files[0]!.path,
      '--platform',
      'ubuntu-latest=-self-hosted',
      '--concurrent-jobs=1',
      ...[...used].map((action) => `--local-repository=${action}=${nothing}`),
    ],
    {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, ACT_DISABLE_VERSION_CHECK: '1' },
      encoding: 'utf8',
      timeout: 300_000,
    },
  );
  return { status, output: stdout + stderr };
}
