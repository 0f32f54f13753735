import { isUtf8 } from 'node:buffer';

/**
 * File names as text in which every byte survives: bytes that are not UTF-8 become lone low surrogates U+DC80 to
 * U+DCFF, as in Python (PEP 383), because Spack sorts and writes names in that form.
 */
export function nameOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    let length = 1;
    for (let size = 4; size > 0; size--) {
      const part = bytes.subarray(at, at + size);
      if (part.length === size && isUtf8(part) && [...part.toString('utf8')].length === 1) {
        length = size;
        text += part.toString('utf8');
        break;
      }
      if (size === 1) text += String.fromCharCode(0xdc00 + bytes[at]!);
    }
    at += length;
  }
  return text;
}

/** The bytes of a name that `nameOf` read. */
export function bytesOf(name: string): Buffer {
  if (!hasRawBytes(name)) return Buffer.from(name, 'utf8');
  const parts: Buffer[] = [];
  for (const char of name) {
    const code = char.codePointAt(0)!;
    parts.push(code >= 0xdc80 && code <= 0xdcff ? Buffer.from([code - 0xdc00]) : Buffer.from(char, 'utf8'));
  }
  return Buffer.concat(parts);
}

/** Whether the name holds bytes that are not UTF-8. */
export function hasRawBytes(name: string): boolean {
  return /(?<![\ud800-\udbff])[\udc80-\udcff]/.test(name);
}

/** Orders by code points, as Python orders text; `<` would order by UTF-16 units. */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x === y) continue;
    // A surrogate pair stands for a code point above all others; a lone low surrogate for itself.
    const high = (unit: number, text: string) =>
      unit >= 0xd800 && unit < 0xdc00
        ? 0x10000 + unit
        : unit >= 0xdc00 && unit < 0xe000 && isPaired(text, at)
          ? 0x10000 + unit
          : unit;
    return high(x, a) - high(y, b);
  }
  return a.length - b.length;
}

function isPaired(text: string, at: number): boolean {
  const before = at > 0 ? text.charCodeAt(at - 1) : 0;
  return before >= 0xd800 && before < 0xdc00;
}
