import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Licences that ask for no more than their text and the names of the authors. */
const permissive = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Unlicense',
]);

/**
 * The notices of the packages whose modules a bundle holds, by what was really bundled.
 * @param modules paths of modules
 * @throws Error for a package whose licence asks for more than a notice: it has to stay outside of the bundle
 */
export function noticesOf(modules) {
  const packages = new Map();
  for (const module of modules) {
    if (!/[\\/]node_modules[\\/]/.test(module)) continue;
    const found = packageOf(module.replace(/^\0/, '').replace(/\?.*$/, ''));
    if (found) packages.set(`${found.name}@${found.version}`, found);
  }
  const parts = [...packages].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, one]) => noticeOf(id, one));
  return `This command holds code of these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

/** The package that a module is of: some have further manifests without a name below their own. */
function packageOf(module) {
  for (let folder = dirname(module); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const { name, version, license, author, homepage } = JSON.parse(readFileSync(file, 'utf8'));
    if (name && version) return { folder, name, version, license, author, homepage };
  }
  return undefined;
}

function noticeOf(id, { folder, license, author, homepage }) {
  const choices = String(license).replace(/[()]/g, '').split(' OR ');
  if (!choices.some((choice) => choice.split(' AND ').every((part) => permissive.has(part)))) {
    throw new Error(
      `${id} has the licence ${license}, which asks for more than a notice. Keep it outside of the bundle.`,
    );
  }
  const texts = readdirSync(folder)
    .filter((name) => /^(?:licen[cs]e|copying|notice)/i.test(name))
    .map((name) => readFileSync(join(folder, name), 'utf8').trim());
  const by = typeof author === 'string' ? author : author?.name;
  const about = [id, `Licence: ${license}`, by && `Author: ${by}`, homepage && `Homepage: ${homepage}`];
  return `${about.filter(Boolean).join('\n')}\n\n${texts.length > 0 ? `${texts.join('\n\n')}\n` : ''}`;
}
