import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { formatFinding, readPlainFile, upgradeManifest } from '@stackwright/spack-env';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';

export const define: Define = (command, context) => {
  command
    .argument('<stack>', 'folder with spack.yaml')
    .option('--write', 'change spack.yaml; without it the new form is printed')
    .option('--json', 'print JSON')
    .action(async (argument: string, options: { write?: boolean; json?: boolean }) => {
      const stack = resolve(context.cwd, argument);
      const file = (await stat(stack)).isDirectory() ? join(stack, 'spack.yaml') : stack;
      const { text, notes } = upgradeManifest(await readPlainFile(file), file);
      if (options.write && notes.length > 0) await replace(file, text);
      if (options.json) {
        printJson(context, {
          file,
          changed: notes.length > 0,
          written: Boolean(options.write && notes.length > 0),
          notes,
          text,
        });
        return;
      }
      for (const finding of notes) note(context, formatFinding(finding));
      if (notes.length === 0) note(context, `${file} is in the current form.`);
      else if (options.write) note(context, `${file} was written.`);
      if (!options.write) print(context, text);
    });
};

/** A reader sees the old file or the new one, never half of one. */
async function replace(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { mode: (await stat(file)).mode });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
