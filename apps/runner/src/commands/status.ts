import { watch } from 'node:fs';
import { openStack, runStatus, type StatusOptions } from '@stackwright/stack';
import { callerOf } from '../caller.js';
import type { Define } from '../command.js';
import { print, printJson } from '../context.js';

export const define: Define = (command, context) => {
  command
    .argument('[stack]', 'folder with spack.yaml and spack.lock', '.')
    .option('--watch', 'go on until the run ends, and print each change')
    .option('--work <folder>', 'folder of the run (default: .stackwright/STACK)')
    .option('--json', 'print the record of the run, as in run.json')
    .action(async (argument: string, options: StatusOptions & { watch?: boolean; json?: boolean }) => {
      const caller = callerOf(context, { quiet: options.json });
      const stack = await openStack(caller, argument);
      let told = '';
      for (;;) {
        const { run, text, folder } = await runStatus(caller, stack, options);
        if (options.json && !options.watch) return printJson(context, run);
        if (text !== told) print(context, text);
        told = text;
        if (!options.watch || run.state !== 'running') return;
        await changed(folder, caller.signal);
      }
    });
};

/** Waits until a file of a folder changes, and looks every two seconds all the same: not every file system tells. */
async function changed(folder: string, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(folder, { recursive: true });
    const timer = setTimeout(end, 2000);
    watcher.on('change', end).on('error', end);
    signal.addEventListener('abort', stop, { once: true });
    function end() {
      clearTimeout(timer);
      watcher.close();
      signal.removeEventListener('abort', stop);
      resolve();
    }
    function stop() {
      end();
      reject(signal.reason);
    }
  });
}
