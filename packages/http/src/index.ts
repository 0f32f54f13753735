export type { HttpClientOptions, HttpRequest } from './client.js';
export { HttpClient } from './client.js';
export { isConfidential, isLoopback } from './confidential.js';
export type { HttpErrorCode, HttpErrorDetails } from './error.js';
export { HttpError } from './error.js';
export type { HttpLimits } from './exchange.js';
export { defaultLimits } from './exchange.js';
export type { HttpAnswer, HttpStream } from './response.js';
export type { ResumeOptions } from './resume.js';
export { EndedEarly, resumed } from './resume.js';
export type { RetryOptions, RetryPolicy } from './retry.js';
export {
  codesOf,
  defaultRetry,
  isTransient,
  isTransientCause,
  isTransientStatus,
  retryAfterOf,
  retrying,
} from './retry.js';
export { cleanText, maskUrl } from './text.js';
