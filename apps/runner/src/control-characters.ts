// Control characters but tab and line end, and those that turn the direction of text: a terminal would obey them.
const control = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * A text as it is shown: names and messages come from manifests, specs and keys of others, and what would move the
 * cursor, set a title or hide a word is written out instead (`\\u001b`).
 */
export function visible(text: string): string {
  return text.replace(control, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
