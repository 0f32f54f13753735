import { PassThrough } from 'node:stream';
import { main } from '../src/index.js';

/** Calls the command in this process, as a shell would: exit code and what it printed. */
export async function call(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; stdin?: string; signal?: AbortSignal } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const stdin = new PassThrough();
  stdin.end(options.stdin ?? '');
  const code = await main(args, {
    ...streams,
    stdin,
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const text = (stream: PassThrough) => (stream.read() ?? '').toString() as string;
  return { code, stdout: text(streams.stdout), stderr: text(streams.stderr) };
}
