import type { Define } from '../command.js';
import { RunnerError } from '../exit.js';

export const define: Define = (command) => {
  command.argument('<stack>', 'folder with spack.yaml').action(async () => {
    throw new RunnerError('missing', 'being written');
  });
};
