import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { HttpError } from './error.js';
import { failureOf } from './failure.js';
import type { Hop } from './redirect.js';
import { maskUrl } from './text.js';

/** How long a request may take. All but `slowest` are milliseconds. */
export interface HttpLimits {
  /** For a connection: name, TCP, proxy and TLS. */
  readonly connect: number;
  /** From the request's last byte to the head of its answer. */
  readonly answer: number;
  /** The longest pause of an upload, and the period over which the speed of an answer is measured. */
  readonly idle: number;
  /** Bytes a second that an answer has to bring on average, while somebody reads it. */
  readonly slowest: number;
  /** From the request's last byte to the last byte of an answer that is read into memory, redirects included. */
  readonly total: number;
}

export const defaultLimits: HttpLimits = {
  connect: 10_000,
  answer: 60_000,
  idle: 60_000,
  slowest: 1024,
  total: 120_000,
};

/** Larger bodies in memory are written piece by piece, so that an upload that moves is told from one that does not. */
const pieceSize = 64 * 1024;

type Phase = 'connect' | 'upload' | 'answer' | 'body';

/** One request and its answer under time limits. Ends with an `HttpError` of code `timeout` once one passes. */
export class Exchange {
  /** Whether any of the request may have left this machine. */
  #sent = false;
  /** What the body to be sent failed with by itself. */
  #contentError: unknown;
  readonly #abort = new AbortController();
  #phase: Phase = 'connect';
  #timer: NodeJS.Timeout | undefined;
  #whole: NodeJS.Timeout | undefined;
  #received = 0;
  #paused = false;
  #controller: Dispatcher.DispatchController | undefined;
  #ended = false;
  readonly #onAbort = () => this.#abort.abort(this.caller?.reason);

  constructor(
    private readonly hop: Hop,
    private readonly limits: HttpLimits,
    private readonly deadline: Deadline,
    private readonly caller: AbortSignal | undefined,
    /** Whether a server that cannot be reached is worth a few attempts only. */
    private readonly costly: boolean,
  ) {}

  /** @throws HttpError, the reason of the caller's signal, or what the body to be sent failed with */
  async start(agent: Dispatcher): Promise<Dispatcher.ResponseData> {
    const { url, method, headers, body } = this.hop;
    this.caller?.addEventListener('abort', this.#onAbort, { once: true });
    this.#limit('connect', this.limits.connect);
    const answered = agent
      .compose((dispatch) => (options, handler) => dispatch(options, this.#watching(handler)))
      .request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers,
        body: this.#uploading(body),
        signal: this.#abort.signal,
      });
    try {
      const response = await Promise.race([answered, this.#aborted()]);
      // It can break off before anybody reads; whoever reads then is told.
      response.body.on('error', () => {});
      return response;
    } catch (error) {
      answered.catch(() => {});
      this.#end();
      throw this.told(error);
    }
  }

  /** No limit on the whole answer any more: it is streamed. */
  streams(): void {
    clearTimeout(this.#whole);
    this.#whole = undefined;
  }

  /** undici heeds a signal only once it is connected. */
  #aborted(): Promise<never> {
    const { signal } = this.#abort;
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#whole);
    this.caller?.removeEventListener('abort', this.#onAbort);
    if (this.hop.body instanceof Readable) this.hop.body.destroy();
  }

  /** What the caller is told of a failure. */
  told(error: unknown): unknown {
    if (this.caller?.aborted) return this.caller.reason;
    if (this.#contentError !== undefined) return this.#contentError;
    const { method, url } = this.hop;
    return failureOf(error, { method, url, sent: this.#sent, costly: this.costly });
  }

  #watching(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
    return {
      onRequestStart: (controller, context) => {
        this.#sent = true;
        if (!this.hop.body || isSmall(this.hop.body)) this.#awaitAnswer();
        else this.#limit('upload', this.limits.idle);
        handler.onRequestStart?.(controller, context);
      },
      onRequestUpgrade: (controller, status, headers, socket) =>
        handler.onRequestUpgrade?.(controller, status, headers, socket),
      onResponseStart: (controller, status, headers, message) => {
        this.#controller = controller;
        if (status >= 200) this.#limit('body', this.limits.idle);
        handler.onResponseStart?.(controller, status, headers, message);
      },
      onResponseData: (controller, chunk) => {
        this.#received += chunk.length;
        handler.onResponseData?.(controller, chunk);
        this.#paused ||= controller.paused;
      },
      onResponseEnd: (controller, trailers) => {
        this.#end();
        handler.onResponseEnd?.(controller, trailers);
      },
      onResponseError: (controller, error) => {
        this.#end();
        handler.onResponseError?.(controller, this.told(error) as Error);
      },
    };
  }

  #uploading(body: Hop['body']): Readable | Uint8Array | undefined {
    if (!body || isSmall(body)) return body as Uint8Array | undefined;
    const pieces = this.#watchedPieces(body instanceof Readable ? body : slices(body));
    // undici takes any iterable and asks for the next piece once the socket has room; its types lack that.
    return pieces as unknown as Readable;
  }

  async *#watchedPieces(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of body) {
        // Only the network is timed, not the source of the bytes.
        this.#limit('upload', this.limits.idle);
        yield piece;
        clearTimeout(this.#timer);
      }
    } catch (error) {
      this.#contentError = error;
      throw error;
    }
    // An early answer has started the time for its body already.
    if (this.#phase === 'upload') this.#awaitAnswer();
  }

  #awaitAnswer(): void {
    this.#limit('answer', this.limits.answer);
    if (this.#ended) return;
    const { total } = this.limits;
    // What arrived while the process was busy comes first: it may be the end.
    const end = () => setImmediate(() => this.#whole && this.#timeOut(total));
    this.#whole = setTimeout(end, this.deadline.remaining(total));
  }

  #limit(phase: Phase, milliseconds: number): void {
    if (this.#ended || this.#phase === 'body') return;
    clearTimeout(this.#timer);
    this.#phase = phase;
    this.#timer =
      phase === 'body'
        ? setInterval(() => this.#settle(() => this.#measure()), milliseconds).unref()
        : setTimeout(() => this.#settle(() => this.#timeOut(milliseconds)), milliseconds);
  }

  /** When the process was busy, the timer comes before what has arrived meanwhile: that is taken in first. */
  #settle(then: () => void): void {
    const [phase, timer, received] = [this.#phase, this.#timer, this.#received];
    setImmediate(() => {
      const same = phase === this.#phase && timer === this.#timer;
      if (same && (phase === 'body' || received === this.#received)) then();
    });
  }

  /** A reader that takes its time is not the server's fault. */
  #measure(): void {
    const { idle, slowest } = this.limits;
    const slow = this.#received < (slowest * idle) / 1000;
    const paused = this.#controller?.paused ?? false;
    if (slow && !paused && !this.#paused) this.#timeOut(idle);
    this.#received = 0;
    this.#paused = paused;
  }

  #timeOut(milliseconds: number): void {
    if (this.#ended) return;
    const { method, url } = this.hop;
    const reason = `${this.#what()} within ${milliseconds / 1000} s`;
    this.#abort.abort(
      new HttpError('timeout', `${method} ${maskUrl(url)}: ${reason}.`, {
        method,
        url: maskUrl(url),
        reason,
        sent: this.#sent,
        transient: true,
        costly: true,
      }),
    );
  }

  #what(): string {
    switch (this.#phase) {
      case 'connect':
        return 'no connection';
      case 'upload':
        return 'the server took nothing of the upload';
      case 'answer':
        return this.hop.body ? 'no answer after all was sent' : 'no answer';
      case 'body':
        return 'the answer did not come';
    }
  }
}

/** The end of the time that a request and its redirects have together. */
export class Deadline {
  #at: number | undefined;

  /** Milliseconds that are left of `total`, which starts with the first call. */
  remaining(total: number): number {
    this.#at ??= Date.now() + total;
    return Math.max(0, this.#at - Date.now());
  }
}

function isSmall(body: Uint8Array | Readable): body is Uint8Array {
  return body instanceof Uint8Array && body.byteLength <= pieceSize;
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceSize) yield bytes.subarray(at, at + pieceSize);
}
