import {
  defaultRetry,
  type HttpAnswer,
  HttpClient,
  HttpError,
  type HttpRequest,
  isTransient,
  retryAfterOf,
  retrying,
} from '@stackwright/http';
import type { Caller } from '../caller.js';
import { credential } from '../credentials.js';
import { StackError } from '../error.js';
import type { CommitTarget } from './forge.js';

/** Statuses after which GitHub says when to come back, in headers of a 403 or 429. */
const limited = [403, 429];

/** Seconds that a job waits for a limit of requests to end. */
const longestWait = 60;

/** Asks a forge's API for one commit. Requests are made again as the forge asks for, and no longer than that helps. */
export class ForgeClient {
  readonly #client: HttpClient;

  constructor(
    { env, signal }: Pick<Caller, 'env' | 'signal'>,
    readonly target: CommitTarget,
  ) {
    const token = credential(env, target.tokenVariable, {
      url: new URL(target.api),
      as: 'header',
      namedBy: 'user',
    });
    this.signal = signal;
    this.#client = new HttpClient({
      env,
      limits: { answer: 10_000, total: 20_000 },
      headers: {
        'user-agent': 'stackwright',
        authorization: target.forge === 'GitHub' ? `Bearer ${token}` : undefined,
        accept: target.forge === 'GitHub' ? 'application/vnd.github+json' : undefined,
        'private-token': target.forge === 'GitLab' ? token : undefined,
      },
    });
  }

  private readonly signal: AbortSignal;

  /**
   * Makes a request.
   * @param path below the repository's address
   * @param options.attempts 1 for what may not arrive twice: whoever asks looks whether it has, and asks `again`
   * @throws HttpError
   */
  async request(path: string, options: HttpRequest = {}): Promise<HttpAnswer> {
    const once = async () => {
      const answer = await this.#client.request(`${this.target.api}${path}`, {
        ...options,
        accept: [200, 201, 204, ...limited],
        signal: this.signal,
      });
      if (limited.includes(answer.status)) throw refusal(answer, options.method ?? 'GET');
      return answer;
    };
    return options.attempts === 1 ? once() : this.again(once);
  }

  /** Does something again that as a whole does no harm when it is done twice. */
  async again<T>(work: () => Promise<T>): Promise<T> {
    return retrying(defaultRetry, work, { signal: this.signal, gaveUp });
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

function gaveUp(error: Error, attempts: number): Error {
  if (!(error instanceof HttpError)) return error;
  const message = `${error.message} Tried ${attempts} times.`;
  return new HttpError(error.code, message, { ...error.details, attempts }, { cause: error });
}

/** A 403 is a limit of requests when the forge says so, and a missing right otherwise. */
function refusal(answer: HttpAnswer, method: string): HttpError {
  const { status, url } = answer;
  const asked = retryAfterOf(answer.header('retry-after'));
  const isLimit = status === 429 || asked !== undefined || answer.header('x-ratelimit-remaining') === '0';
  const reset = Number(answer.header('x-ratelimit-reset') ?? Number.NaN) - Date.now() / 1000;
  const retryAfter = asked ?? (reset >= 0 ? Math.ceil(reset) : undefined);
  const reason = isLimit ? `HTTP ${status}, too many requests` : `HTTP ${status}`;
  return new HttpError(isLimit ? 'status' : 'denied', `${method} ${url.pathname}: ${reason}.`, {
    status,
    reason,
    // A limit that lasts for longer than a job should wait is reported instead.
    transient: isLimit && (retryAfter ?? 0) <= longestWait,
    retryAfter,
  });
}

/** What a user is told of a forge that did not take something. */
export function notTaken(target: CommitTarget, what: string, error: unknown): StackError {
  if (!(error instanceof HttpError)) throw error;
  const { status } = error.details;
  const right = target.forge === 'GitHub' ? rights[what] : undefined;
  return new StackError(
    'status-refused',
    `${target.forge} does not take ${what} on ${target.commit.slice(0, 10)}: ${error.message}`,
    {
      hint:
        [401, 403, 404].includes(status ?? 0) && !isTransient(error)
          ? `Check that ${target.forge === 'GitHub' ? `GITHUB_TOKEN has "${right}: write"` : 'GITLAB_TOKEN has the scope "api"'}.`
          : undefined,
    },
    { cause: error },
  );
}

const rights: Readonly<Record<string, string>> = {
  'a status': 'statuses',
  'a check run': 'checks',
  'a comment': 'pull-requests',
};
