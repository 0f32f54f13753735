import { appendFile, type FileHandle, open, stat } from 'node:fs/promises';
import { SpackError } from './error.js';
import type { CommandOptions, Running } from './session.js';

/** Milliseconds between two looks at a log. */
const interval = 250;
const minute = 60;

/** Looks at the log of a command that writes it by itself: tells what is new, and ends what takes too long. */
export class LogWatch {
  private constructor(
    private readonly file: string,
    private readonly options: CommandOptions,
    private position: number,
  ) {}

  static async open(file: string, options: CommandOptions): Promise<LogWatch> {
    const size = options.append
      ? await stat(file).then(
          (found) => found.size,
          () => 0,
        )
      : 0;
    return new LogWatch(file, options, size);
  }

  /**
   * Watches a command until it ends.
   * @returns call it after the end: reads what is left, and gives the error where a limit was exceeded
   */
  start(running: Running): () => Promise<SpackError | undefined> {
    const { timeout, silence, onOutput } = this.options;
    if (timeout === undefined && silence === undefined && !onOutput) return async () => undefined;
    let over = false;
    let heard = Date.now();
    const began = heard;
    let reason: SpackError | undefined;
    const watching = (async () => {
      for (;;) {
        // Asked before reading, so that the last look comes after the end.
        const last = over;
        if (await this.read(onOutput)) heard = Date.now();
        if (last) return;
        const now = Date.now();
        if (!reason && silence !== undefined && now - heard >= silence * 1000) {
          reason = this.exceeded('silent', `printed nothing for ${spoken(silence)}`);
          await this.giveUp(running, reason);
        } else if (!reason && timeout !== undefined && now - began >= timeout * 1000) {
          reason = this.exceeded('timed-out', `took longer than ${spoken(timeout)}`);
          await this.giveUp(running, reason);
        }
        await Promise.race([
          running.ended.catch(() => {}),
          new Promise((next) => setTimeout(next, interval)),
        ]);
      }
    })();
    void running.ended
      .catch(() => {})
      .finally(() => {
        over = true;
      });
    return async () => {
      over = true;
      await watching;
      return reason;
    };
  }

  private exceeded(code: 'silent' | 'timed-out', what: string): SpackError {
    return new SpackError(code, `It ${what} and was ended.`, {
      log: this.file,
      hint: `What it ran is at the end of ${this.file}`,
    });
  }

  private async giveUp(running: Running, reason: SpackError): Promise<void> {
    const processes = await running.processes();
    await appendFile(this.file, `\n==> stackwright: ${reason.message} Its processes:\n${processes}\n`);
    running.end();
  }

  /** @returns whether there was something new */
  private async read(onOutput: CommandOptions['onOutput']): Promise<boolean> {
    if (!onOutput) {
      const { size } = await stat(this.file).catch(() => ({ size: 0 }));
      const grown = size !== this.position;
      this.position = size;
      return grown;
    }
    const handle = await open(this.file).catch(() => undefined);
    if (!handle) return false;
    try {
      return await this.readFrom(handle, onOutput);
    } finally {
      await handle.close();
    }
  }

  private decoder = new TextDecoder();

  private async readFrom(handle: FileHandle, onOutput: (text: string) => void): Promise<boolean> {
    const buffer = Buffer.alloc(256 * 1024);
    for (let grown = false; ; grown = true) {
      const { bytesRead } = await handle.read({ buffer, position: this.position });
      if (bytesRead === 0) return grown;
      this.position += bytesRead;
      onOutput(this.decoder.decode(buffer.subarray(0, bytesRead), { stream: true }));
    }
  }
}

function spoken(seconds: number): string {
  if (seconds < minute) return `${seconds} second${seconds === 1 ? '' : 's'}`;
  const minutes = Math.round(seconds / minute);
  return `${minutes} minute${minutes === 1 ? '' : 's'}`;
}
