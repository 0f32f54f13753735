#!/usr/bin/env node
import { exitCode } from './exit-code.js';
import { main } from './main.js';

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Who reads may have seen enough (`| head`): the work goes on, its output has nowhere to go.
    if (error.code === 'EPIPE') return;
    const why = error.code === 'ENOSPC' ? 'no space is left on the device' : error.message;
    if (stream !== process.stderr) process.stderr.write(`Error: The output could not be written: ${why}.\n`);
    process.exit(exitCode.failed);
  });
}
process.exitCode = await main(process.argv.slice(2));
