import { XMLBuilder } from 'fast-xml-parser';

/** What an element holds: text, elements (a list stands for several of one name), `@NAME` attributes, `__cdata`. */
export type XmlValue = string | number | XmlElement | readonly XmlValue[];
export interface XmlElement {
  readonly [name: string]: XmlValue | undefined;
}

const builder = new XMLBuilder({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  cdataPropName: '__cdata',
  suppressBooleanAttributes: false,
  // No line breaks: of some fields CDash would keep only the blanks that follow their text.
  format: false,
});

/** A document with one root element. Elements whose value is undefined are left out. */
export function xmlDocument(root: XmlElement): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${builder.build(defined(root))}`;
}

/** Text that CDash must get in one piece: its parser keeps only what follows the last `&amp;` of some fields. */
export function cdata(text: string): XmlElement {
  return { __cdata: text.replaceAll(']]>', ']] >') };
}

function defined(value: XmlValue): unknown {
  if (Array.isArray(value)) return value.map(defined);
  if (typeof value !== 'object') return String(value);
  return Object.fromEntries(
    Object.entries(value as XmlElement)
      .filter(([, one]) => one !== undefined)
      .map(([name, one]) => [name, defined(one as XmlValue)]),
  );
}
