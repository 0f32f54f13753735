import type { Define } from '../../command.js';
import { RunnerError } from '../../exit.js';
import { type CopyOptions, copy, copyOptions } from './copy.js';
import { signerOptions } from './shared.js';

export const define: Define = (command, context) => {
  signerOptions(copyOptions(command))
    .option('--sign', 'sign each package anew (with --key, --gpg or SPACK_SIGNING_KEY)')
    .addHelpText('after', '\nPackages that no trusted key has signed are left out and reported.')
    .action((from: string, to: string, specs: string[], options: CopyOptions) => {
      if (options.unsigned) {
        throw new RunnerError('usage', 'Only signed packages are published.', {
          hint: 'To copy unsigned ones: stackwright mirror copy --unsigned',
        });
      }
      return copy(context, from, to, specs, options, true);
    });
};
