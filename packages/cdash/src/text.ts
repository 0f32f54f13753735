import { stripVTControlCharacters } from 'node:util';
import { CdashError } from './error.js';

// What XML 1.0 (section 2.2) allows is left alone; CDash loses all of a file from the first other character on.
const illegal =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Text as XML can hold it: without terminal colours, and with other illegal characters spelled out. */
export function legalText(text: string): string {
  return stripVTControlCharacters(text).replace(illegal, (character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0');
    return `[NON-XML-CHAR-0x${code}]`;
  });
}

/**
 * A site's, build's or group's name as CDash keeps it: it doubles quotes, trims blanks in the query only, and takes at
 * most 255 characters. Of a longer one the end is kept too, since builds often differ there alone.
 * @throws CdashError `invalid` when nothing is left
 */
export function nameText(name: string, what: string): string {
  const text = legalText(name).replaceAll("'", '').replaceAll(/\s+/g, ' ').trim();
  if (text === '') throw new CdashError('invalid', `The ${what} is empty.`);
  return text.length <= 255 ? text : `${text.slice(0, 180).trimEnd()} … ${text.slice(-70).trimStart()}`;
}
