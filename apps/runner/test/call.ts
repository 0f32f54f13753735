import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { main } from '../src/index.js';

/** Calls the command in this process, as a shell would: exit code and what it printed. */
export async function call(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; stdin?: string; signal?: AbortSignal } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  // Read from the start: a stream holds back what nobody reads.
  const printed = Promise.all([text(streams.stdout), text(streams.stderr)]);
  const stdin = new PassThrough();
  stdin.end(options.stdin ?? '');
  const code = await main(args, {
    ...streams,
    stdin,
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  streams.stdout.end();
  streams.stderr.end();
  const [stdout, stderr] = await printed;
  return { code, stdout, stderr };
}
