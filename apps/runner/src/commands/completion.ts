import { Argument } from 'commander';
import type { Define } from '../command.js';
import { completionScript, shells } from '../completion.js';

export const define: Define = (command, context) => {
  command
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .addHelpText(
      'after',
      `
bash:  stackwright completion bash >> ~/.bashrc
zsh:   stackwright completion zsh > "\${fpath[1]}/_stackwright"
fish:  stackwright completion fish > ~/.config/fish/completions/stackwright.fish`,
    )
    .action((shell: (typeof shells)[number]) => {
      context.stdout.write(completionScript(shell));
    });
};
