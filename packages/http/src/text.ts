const longest = 300;

/** Text of a server on one line, at most 300 characters long, without characters that control a terminal. */
export function cleanText(text: string): string {
  const line = text
    .replace(/\s+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')
    .trim();
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`;
}

/** A URL for messages: without user, password and fragment, and with the query's values left out. */
export function maskUrl(url: URL): string {
  const path = url.pathname === '/' && !url.search ? '' : url.pathname;
  return cleanText(`${url.protocol}//${url.host}${path}${url.search ? '?…' : ''}`);
}

/**
 * What the body of an error says: `errors[].code` and `message` of the OCI distribution specification, `message` of
 * GitHub and GitLab, `error` and `error_description` of OAuth 2.0, `description` of CDash, `<Message>` of S3, or the
 * first line of a plain text. Empty for an HTML page and for JSON of another form.
 */
export function serverText(body: string): string {
  const text = body.trim();
  if (/^[[{]/.test(text)) return cleanText(fromJson(text));
  const element = /<message>([^<]*)<\/message>/i.exec(text)?.[1];
  if (element !== undefined) return cleanText(element);
  if (/^<(!doctype|html|\?xml)/i.test(text)) return '';
  return cleanText(/^.*$/m.exec(text)?.[0] ?? '');
}

function fromJson(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Cut off at the limit for error bodies, or no JSON at all.
    return text;
  }
  if (!isObject(value)) return '';
  if (Array.isArray(value.errors) && value.errors.length > 0) return value.errors.map(entry).join('; ');
  return first(value.message, value.error_description, value.description, value.error);
}

function entry(value: unknown): string {
  if (!isObject(value)) return typeof value === 'string' ? value : '';
  return [value.code, value.message].filter((part) => typeof part === 'string').join(' ');
}

/** The first of the values that says something. GitLab's `message` can be an object of lists. */
function first(...values: unknown[]): string {
  for (const value of values) {
    if (typeof value === 'string' && value) return value;
    if (isObject(value)) return typeof value.message === 'string' ? value.message : JSON.stringify(value);
  }
  return '';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
