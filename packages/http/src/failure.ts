import { HttpError, type HttpErrorCode } from './error.js';
import { codesOf, isTransientCause } from './retry.js';
import { cleanText, maskUrl } from './text.js';

/** What a connection failed with, as an error that names the request. */
export function failureOf(
  error: unknown,
  { method, url, sent, costly }: { method: string; url: URL; sent: boolean; costly: boolean },
): HttpError {
  if (error instanceof HttpError) return error;
  const code = codeOf(error, sent);
  const reason = reasonOf(error);
  const at = maskUrl(url);
  const message =
    code === 'unreachable' ? `${at} cannot be reached: ${reason}.` : `${method} ${at}: ${reason}.`;
  const details = {
    method,
    url: at,
    reason,
    sent,
    transient: isTransientCause(error),
    costly: costly && !sent,
    hint: hintOf(error, url),
  };
  return new HttpError(code, message, details, { cause: error });
}

/** Codes of undici's parser, of zlib and of its brotli. */
const malformed = /^(HPE_|UND_ERR_HEADERS_OVERFLOW|Z_|ERR__)/;

function codeOf(error: unknown, sent: boolean): HttpErrorCode {
  const codes = codesOf(error);
  if (codes.includes('UND_ERR_CONNECT_TIMEOUT')) return 'timeout';
  if (codes.includes('UND_ERR_INVALID_ARG')) return 'invalid';
  const parser = error instanceof Error && error.name === 'HTTPParserError';
  if (parser || codes.some((one) => malformed.test(one))) return 'bad-answer';
  return sent ? 'broken-off' : 'unreachable';
}

function reasonOf(error: unknown): string {
  if (isNoTls(error)) return 'it does not speak TLS';
  for (let at = error; at instanceof Error; at = at.cause) {
    // The name that several addresses stand for fails with one error for each.
    const [first] = at instanceof AggregateError ? at.errors : [];
    if (first instanceof Error && first.message) return trimmed(first.message);
    if (at.message && !(at.cause instanceof Error)) return trimmed(at.message);
  }
  return codesOf(error)[0] ?? 'unknown error';
}

function hintOf(error: unknown, url: URL): string | undefined {
  if (isNoTls(error)) return `If the server has no TLS, ask it by http://${url.host}.`;
  const authority = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;
  return codesOf(error).some((code) => authority.test(code))
    ? "Set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS to the file of the certificate authority's certificates."
    : undefined;
}

/** OpenSSL's words for an answer that is no TLS. */
function isNoTls(error: unknown): boolean {
  return error instanceof Error && (/wrong version number/.test(error.message) || isNoTls(error.cause));
}

function trimmed(message: string): string {
  return cleanText(message).replace(/\.$/, '');
}
