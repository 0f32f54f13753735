/** Orders texts by code point, as Spack's host language does; `<` on strings orders by UTF-16 unit. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates stand for code points above every other unit.
    const high = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
    return high(x) - high(y);
  }
  return a.length - b.length;
}

/** White space as Spack's tokenizer understands it: Unicode's, with the separators 1C to 1F and without FEFF. */
export const space = '[\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';

const edges = new RegExp(`^${space}+|${space}+$`, 'g');
const between = new RegExp(`${space}+`);

export const strip = (text: string): string => text.replace(edges, '');

export const words = (text: string): string[] => text.split(between).filter((word) => word !== '');
