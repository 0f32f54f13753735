/**
 * Writes plain data as YAML that YAML 1.1 and 1.2 read alike, with anchors for what is there twice. A general YAML
 * library took ten times as long for a pipeline of a thousand jobs, and would not let anchors be shared by content.
 */
export function toYaml(value: unknown, options: { readonly anchors?: boolean } = {}): string {
  const text = new Text(value, options.anchors ?? true);
  return text.write(value);
}

/** Words that YAML 1.1 (which GitLab reads) or 1.2 take for something else than text. */
const reserved = /^(?:y|n|yes|no|on|off|true|false|null|none|~|<<|=|[-+]?\.(?:inf|nan))$/i;
const plain = /^(?:[A-Za-z_/$]|\.\/)[\w./@%+=$^~()<>?*;,!&|{}[\]"'`\\ -]*$/;
/** What may not be inside of a plain word: a comment, a mapping, or (in a flow) a separator. */
const special = / #|: |:$|\s$|^[-?] /;

type Container = readonly unknown[] | Readonly<Record<string, unknown>>;

class Text {
  readonly #ids = new Map<object, number>();
  readonly #byContent = new Map<string, number>();
  readonly #counts: number[] = [];
  readonly #names = new Map<number, string>();

  constructor(top: unknown, anchors: boolean) {
    if (!anchors) return;
    // Neither the document nor what stands right in it (a pipeline's jobs) is ever an alias: no two jobs are alike.
    for (const part of children(top)) for (const child of children(part)) this.#count(child);
  }

  write(top: unknown): string {
    if (!isContainer(top)) return `${scalar(top)}\n`;
    return isEmpty(top) ? `${empty(top)}\n` : this.#block(top, '');
  }

  /** Gives equal containers one number and counts where they stand. */
  #count(value: unknown): void {
    if (!isContainer(value)) return;
    let id = this.#ids.get(value);
    if (id === undefined) {
      const content = JSON.stringify(value);
      id = this.#byContent.get(content);
      if (id === undefined) {
        id = this.#counts.push(0) - 1;
        this.#byContent.set(content, id);
        // Only once: a second one will be an alias, and what is inside of it is not written again.
        for (const child of children(value)) this.#count(child);
      }
      this.#ids.set(value, id);
    }
    this.#counts[id]!++;
  }

  #block(value: Container, indent: string): string {
    let text = '';
    if (Array.isArray(value)) {
      // A mapping's first key stands on the line of the dash.
      const first = `\n${indent}  `;
      for (const item of value) {
        const below = this.#item(item, `${indent}  `);
        text += `${indent}-${below.startsWith(first) ? ` ${below.slice(first.length)}` : below}`;
      }
    } else {
      for (const [key, item] of Object.entries(value)) {
        if (item !== undefined) text += `${indent}${scalar(key)}:${this.#item(item, `${indent}  `)}`;
      }
    }
    return text;
  }

  /** What stands after a dash or a colon, with the line's end. */
  #item(value: unknown, indent: string): string {
    if (typeof value === 'string' && value.includes('\n') && isBlock(value)) {
      return ` |-\n${value.replace(/^(?=.)/gm, indent)}\n`;
    }
    if (!isContainer(value)) return ` ${scalar(value)}\n`;
    if (isEmpty(value)) return ` ${empty(value)}\n`;
    const id = this.#ids.get(value) ?? -1;
    const name = this.#names.get(id);
    if (name) return ` *${name}\n`;
    let anchor = '';
    if ((this.#counts[id] ?? 0) > 1) {
      const fresh = `a${this.#names.size + 1}`;
      this.#names.set(id, fresh);
      anchor = ` &${fresh}`;
    }
    if (Array.isArray(value) && value.every((item) => typeof item === 'string' && item.length < 24)) {
      const line = value.map((item) => flowScalar(item as string)).join(', ');
      if (line.length < 90) return `${anchor} [${line}]\n`;
    }
    return `${anchor}\n${this.#block(value, indent)}`;
  }
}

/** Text of several lines that can be written as it is. */
function isBlock(text: string): boolean {
  return /^[^\s][^\r]*\n[^\r]*\S$/.test(text) && !/[^\n\t\x20-\x7e\u00a0-\u2027\u202a-\ud7ff]/.test(text);
}

/** Written forms of short texts: most keys and many values of a pipeline stand in it a thousand times. */
const written = new Map<string, string>();

function scalar(value: unknown): string {
  if (typeof value !== 'string') return value === null || value === undefined ? 'null' : String(value);
  if (value.length > 48) return quoted(value);
  let text = written.get(value);
  if (text === undefined) {
    if (written.size > 4096) written.clear();
    written.set(value, (text = quoted(value)));
  }
  return text;
}

function quoted(value: string): string {
  if (plain.test(value) && !special.test(value) && !reserved.test(value)) return value;
  return JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, escapeUnit);
}

function flowScalar(value: string): string {
  return /[,[\]{}]/.test(value) ? JSON.stringify(value) : scalar(value);
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

function isEmpty(value: Container): boolean {
  return Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0;
}

function empty(value: Container): string {
  return Array.isArray(value) ? '[]' : '{}';
}

function children(value: unknown): readonly unknown[] {
  return isContainer(value) ? Object.values(value) : [];
}
