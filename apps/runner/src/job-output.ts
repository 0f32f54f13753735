import { randomUUID } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import { type Context, shown } from './context.js';

/** How a forge folds a part of a job's log. Both texts are whole lines. */
interface Fold {
  readonly start: string;
  readonly end: string;
}

/** Writes what a build prints as it comes, folded where a forge can fold it. */
export class JobOutput {
  private fold: Fold | undefined;
  private lineEnded = true;

  constructor(
    private readonly context: Context,
    private readonly title: string,
    private readonly put: (text: string) => void,
  ) {}

  /** @param text a piece of the output, without secrets */
  write(text: string): void {
    if (text === '') return;
    if (!this.fold) {
      this.fold = foldOf(this.title, this.context.env);
      this.put(this.fold.start);
    }
    // Colours go, a carriage return ends a line, and everything else that would move the cursor is shown.
    const plain = stripVTControlCharacters(text).replace(/\r\n?/g, '\n');
    this.put(shown(this.context, plain));
    this.lineEnded = plain.endsWith('\n');
  }

  /** Ends the part, so that a line of our own can follow. */
  end(): void {
    if (!this.fold) return;
    this.put(`${this.lineEnded ? '' : '\n'}${this.fold.end}`);
    this.fold = undefined;
    this.lineEnded = true;
  }
}

function foldOf(title: string, env: NodeJS.ProcessEnv): Fold {
  if (env.GITLAB_CI) {
    const name = `stackwright_${randomUUID().slice(0, 8)}`;
    const mark = (what: string) => `section_${what}:${Math.floor(Date.now() / 1000)}:${name}\r\u001b[0K`;
    return { start: `${mark('start')}${title}\n`, end: `${mark('end')}\n` };
  }
  if (env.GITHUB_ACTIONS) {
    // A build must not give commands to the runner; only who knows the word turns them on again.
    const word = randomUUID();
    return {
      start: `::group::${title}\n::stop-commands::${word}\n`,
      end: `::${word}::\n::endgroup::\n`,
    };
  }
  return { start: '', end: '' };
}
