import type { Readable } from 'node:stream';

/** One request on its way, before or after redirects. */
export interface Hop {
  readonly url: URL;
  readonly method: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | Readable | undefined;
}

const redirects = new Set([301, 302, 303, 307, 308]);

const harmless = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-length',
  'content-type',
  'range',
  'user-agent',
]);

/** Whether a header never holds a credential: these alone are sent to another server. */
export function isHarmless(name: string): boolean {
  return harmless.has(name);
}

/**
 * The request that a redirect asks for, by the rules of the Fetch standard (4.4, HTTP-redirect fetch).
 * @returns undefined where there is no redirect that can be followed: the body is a stream, or the target is not HTTP
 */
export function redirected(hop: Hop, status: number, location: string | undefined): Hop | undefined {
  if (!redirects.has(status) || !location || !URL.canParse(location, hop.url.href)) return undefined;
  const url = new URL(location, hop.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
  url.username = '';
  url.password = '';
  const headers = url.origin === hop.url.origin ? hop.headers : only(hop.headers, isHarmless);
  if (becomesGet(hop.method, status)) {
    const rest = only(headers, (name) => !name.startsWith('content-'));
    return { url, method: 'GET', headers: rest, body: undefined };
  }
  if (hop.body && !(hop.body instanceof Uint8Array)) return undefined;
  return { url, method: hop.method, headers, body: hop.body };
}

function becomesGet(method: string, status: number): boolean {
  if (status === 303) return method !== 'GET' && method !== 'HEAD';
  return (status === 301 || status === 302) && method === 'POST';
}

function only(
  headers: Readonly<Record<string, string>>,
  keep: (name: string) => boolean,
): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => keep(name)));
}
