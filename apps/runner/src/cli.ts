#!/usr/bin/env node
import { main } from './main.js';

// Who reads may have seen enough (`| head`): the work goes on, its output has nowhere to go.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
process.exitCode = await main(process.argv.slice(2));
