import { open } from 'node:fs/promises';

/** Bytes that are read at a time. */
const size = 1024 * 1024;

/** Whole lines of a file, a piece of it at a time, each with the number of its first line (from 1). */
export async function* readBlocks(
  file: string,
  start = 0,
): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    // Nothing was printed.
    if (error.code !== 'ENOENT') throw error;
  });
  if (!handle) return;
  try {
    const decoder = new TextDecoder();
    let rest = '';
    let line = 1;
    for (let position = 0; ; ) {
      const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(size), position });
      const before = Math.min(Math.max(0, start - position), bytesRead);
      line += count(buffer.subarray(0, before));
      const text = rest + decoder.decode(buffer.subarray(before, bytesRead), { stream: bytesRead > 0 });
      position += bytesRead;
      // A line without an end is taken as it is, so that no line has to fit into memory.
      const end = bytesRead === 0 || text.length > 2 * size ? text.length : text.lastIndexOf('\n') + 1;
      if (end > 0) yield { text: text.slice(0, end), line };
      line += text.slice(0, end).split('\n').length - 1;
      rest = text.slice(end);
      if (bytesRead === 0) return;
    }
  } finally {
    await handle.close();
  }
}

function count(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines += 1;
  return lines;
}
