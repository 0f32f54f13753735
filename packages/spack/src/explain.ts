import { open } from 'node:fs/promises';

/** The part of Spack's output that says why: from its first "Error:" on, at most twenty lines. */
export function explain(output: string): string {
  const lines = output.trimEnd().split('\n');
  // Spack's own errors; a compiler's before them are in the log.
  const own = lines.findIndex((line) => /^==> Error: /.test(line));
  const first = own >= 0 ? own : lines.findIndex((line) => /\bError: /.test(line));
  return (first >= 0 ? lines.slice(first, first + 20) : lines.slice(-20)).join('\n');
}

/** The end of a file that may be large. */
export async function tailOf(file: string): Promise<string> {
  const length = 256 * 1024;
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read({
      buffer: Buffer.alloc(Math.min(size, length)),
      position: Math.max(0, size - length),
    });
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
