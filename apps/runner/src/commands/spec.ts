import { text } from 'node:stream/consumers';
import {
  formatSpec,
  type HostArchitecture,
  hostArchitecture,
  parseSpec,
  SpackEnvError,
} from '@stackwright/spack-env';
import type { Define } from '../command.js';
import { note, print, printJson } from '../context.js';
import { RunnerError } from '../exit.js';

interface Options {
  readonly stdin?: boolean;
  readonly json?: boolean;
  readonly platform?: string;
  readonly os?: string;
  readonly target?: string;
}

interface Answer {
  readonly input: string;
  readonly spec?: string;
  readonly error?: { readonly message: string; readonly position: number };
}

export const define: Define = (command, context) => {
  command
    .argument('[specs...]', 'specs, one an argument')
    .option('--stdin', 'read specs from standard input, one a line')
    .option('--json', 'print JSON')
    .option('--platform <name>', 'what os=default_os and the like stand for')
    .option('--os <name>', 'what os=default_os and the like stand for')
    .option('--target <name>', 'what os=default_os and the like stand for')
    .action(async (specs: string[], options: Options) => {
      if (specs.length === 0 && !options.stdin) {
        throw new RunnerError('usage', 'No spec was given.', { hint: 'Name specs, or use --stdin.' });
      }
      const inputs = [...specs];
      if (options.stdin) inputs.push(...(await lines(context.stdin)));
      const host = hostOf(options);
      const answers = inputs.map((input) => answer(input, host));
      if (options.json) printJson(context, answers);
      for (const { input, spec, error } of options.json ? [] : answers) {
        if (spec !== undefined) print(context, `${spec}\n`);
        if (error) note(context, `${error.message}\n  ${input}\n  ${' '.repeat(error.position)}^`);
      }
      const refused = answers.filter(({ error }) => error).length;
      if (refused > 0) throw new RunnerError('usage', `${refused} of ${answers.length} specs refused.`);
    });
};

/** The lines of a stream; one break at its end ends the last. */
async function lines(stream: NodeJS.ReadableStream): Promise<string[]> {
  const all = await text(stream);
  return all === '' ? [] : all.replace(/\r?\n$/, '').split(/\r?\n/);
}

function hostOf({ platform, os, target }: Options): HostArchitecture | undefined {
  if (!platform && !os && !target) return undefined;
  const here = platform && os && target ? { platform, os, target } : hostArchitecture();
  return { platform: platform ?? here.platform, os: os ?? here.os, target: target ?? here.target };
}

function answer(input: string, host: HostArchitecture | undefined): Answer {
  try {
    return { input, spec: formatSpec(parseSpec(input, { host })) };
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    const { message, hint, position } = error.findings[0]!;
    return {
      input,
      error: { message: hint ? `${message} ${hint}` : message, position: position?.offset ?? 0 },
    };
  }
}
