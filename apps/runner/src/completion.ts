import type { Command } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;

/** Scripts that ask `stackwright complete` for the words; file names are completed by the shell itself. */
const scripts: Readonly<Record<(typeof shells)[number], string>> = {
  bash: `# stackwright completion bash >> ~/.bashrc
_stackwright() {
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(stackwright complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _stackwright stackwright
`,
  zsh: `#compdef stackwright
# stackwright completion zsh > "\${fpath[1]}/_stackwright"
_stackwright() {
  local -a words_found
  words_found=("\${(@f)$(stackwright complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${words_found[1]}" ]]; then compadd -- "\${words_found[@]}"; else _files; fi
}
compdef _stackwright stackwright
`,
  fish: `# stackwright completion fish > ~/.config/fish/completions/stackwright.fish
complete -c stackwright -a '(stackwright complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
};

export function completionScript(shell: (typeof shells)[number]): string {
  return scripts[shell];
}

/**
 * What can stand for the last of the words that were typed so far: commands, options, the choices of an option. Empty
 * where a file name belongs.
 * @param program with the command defined that the words name
 * @param words after `stackwright`; the last one is the one to complete, and may be empty
 */
export function completions(program: Command, words: readonly string[]): readonly string[] {
  const typed = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  let command = program;
  for (const word of before) {
    command = command.commands.find((one) => one.name() === word) ?? command;
  }
  const option = command.options.find(({ long, short }) => [long, short].includes(before.at(-1)));
  if (option && (option.required || option.optional)) {
    return (option.argChoices ?? []).filter((choice) => choice.startsWith(typed));
  }
  const names = typed.startsWith('-')
    ? command.options.filter((one) => !one.hidden).flatMap((one) => one.long ?? [])
    : command.commands.map((one) => one.name());
  return names.filter((name) => name.startsWith(typed) && name !== 'complete');
}
