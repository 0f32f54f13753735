import { createHash } from 'node:crypto';
import { XMLParser } from 'fast-xml-parser';
import pRetry from 'p-retry';
import { EnvHttpProxyAgent, fetch, type Response } from 'undici';
import { type CdashFile, doneXml } from './document.js';
import { CdashError } from './error.js';
import type { BuildIdentity } from './report.js';
import { nameText } from './text.js';

export interface CdashOptions {
  /** CDash's address, `https://cdash.example.org`; a path and `submit.php?project=…` at its end are understood. */
  readonly url: string;
  /** Sent as a bearer token. */
  readonly token?: string;
  /** How often a request that fails on the way is made at most; 5 when left out. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; doubles with each. */
  readonly firstDelay?: number;
  /** Milliseconds that an answer may take; 5 minutes when left out: some servers read the file before they answer. */
  readonly timeout?: number;
}

/** What CDash made of a build. */
export interface Submitted {
  readonly buildId: number;
  /** The page of the build. */
  readonly link: string;
  /** What CDash had to say of files that it took all the same. */
  readonly warnings: readonly string[];
}

interface Reply {
  readonly buildId: number | undefined;
  readonly message: string;
}

/** Kinds that may be sent twice: the second replaces the first or is ignored. The others would count twice. */
const repeatable = new Set<CdashFile['kind']>(['Update', 'Configure', 'Done']);
/** How often a whole build is sent. */
const rounds = 3;

/** A CDash server, as of its version 5.3: `submit.php` and the API of build groups. */
export class CdashClient {
  readonly base: string;
  readonly #proxy = new EnvHttpProxyAgent();

  /** @throws CdashError `invalid` for an address that is none */
  constructor(private readonly options: CdashOptions) {
    this.base = baseOf(options.url);
  }

  /**
   * Sends all files of a build, then that it is complete. A file whose fate is unknown, because the connection broke
   * after it was sent, makes the build be sent anew: CDash replaces a build that is complete.
   * @throws CdashError that names the file; what was sent before stays on the server
   */
  async submit(build: BuildIdentity, files: readonly CdashFile[], signal?: AbortSignal): Promise<Submitted> {
    for (let round = 1; ; round++) {
      let buildId: number | undefined;
      const warnings: string[] = [];
      try {
        for (const file of files) {
          const reply = await this.#send(build, file, signal);
          if (reply.message) warnings.push(`${file.kind}.xml: ${reply.message}`);
          buildId = reply.buildId ?? buildId;
        }
        if (buildId === undefined) throw new CdashError('invalid', 'There is no file to submit.');
        await this.#done(build, buildId, signal);
        return { buildId, link: `${this.base}/builds/${buildId}`, warnings };
      } catch (error) {
        const unknown = error instanceof CdashError && error.code === 'unknown-outcome';
        if (!unknown || round === rounds || buildId === undefined) throw error;
        await this.#done(build, buildId, signal);
      }
    }
  }

  /** Whether the server answers, and as a CDash. @throws CdashError `unavailable`, `invalid` */
  async ping(signal?: AbortSignal): Promise<void> {
    const response = await this.#request(`${this.base}/ping`, 'GET', undefined, 'a ping', true, signal);
    const text = await response.text();
    if (response.ok && text.trim() === 'OK') return;
    throw new CdashError(
      'invalid',
      `${this.base} does not answer as a CDash: ${summary(response.status, '')}.`,
      {
        status: response.status,
        hint: 'Check the address (cdash:url).',
      },
    );
  }

  /**
   * Makes sure that a project has a build group: builds of a group that it lacks go to Experimental without a word.
   * @throws CdashError `denied` unless the token has full access and is of an administrator of the project
   */
  async createGroup(project: string, group: string, signal?: AbortSignal): Promise<void> {
    const what = `the build group "${group}" of ${project}`;
    // CDash keeps these as HTML, and then never finds the group again.
    if (/[<>&"']/.test(group)) {
      throw new CdashError('invalid', `CDash cannot have ${what}: its name holds one of < > & " '.`);
    }
    const body = JSON.stringify({ project, newbuildgroup: group, type: 'Daily' });
    const response = await this.#request(
      `${this.base}/api/v1/buildgroup.php`,
      'POST',
      body,
      what,
      true,
      signal,
    );
    if (response.ok) return void (await response.body?.cancel());
    const text = await response.text();
    if (response.status === 401 || response.status === 403) {
      throw new CdashError('denied', `CDash does not let us create ${what} (HTTP ${response.status}).`, {
        status: response.status,
        hint: 'Only a token with full access, of an administrator of the project, can. Or create the group by hand.',
      });
    }
    if (response.status === 404) throw this.#noProject(project);
    throw new CdashError('refused', `CDash did not create ${what}: ${summary(response.status, text)}.`, {
      status: response.status,
    });
  }

  async #done(build: BuildIdentity, buildId: number, signal?: AbortSignal): Promise<void> {
    await this.#send(build, { kind: 'Done', text: doneXml(buildId, new Date()) }, signal);
  }

  async #send(build: BuildIdentity, file: CdashFile, signal?: AbortSignal): Promise<Reply> {
    const body = Buffer.from(file.text);
    const query = new URLSearchParams({
      project: build.project,
      build: nameText(build.name, 'build name'),
      site: nameText(build.site, 'site'),
      stamp: nameText(build.stamp, 'build stamp'),
      MD5: createHash('md5').update(body).digest('hex'),
    });
    const what = `${file.kind}.xml of ${build.name}`;
    const url = `${this.base}/submit.php?${query}`;
    const response = await this.#request(url, 'PUT', body, what, repeatable.has(file.kind), signal);
    const text = await response.text().catch((error: unknown) => {
      signal?.throwIfAborted();
      throw this.#unknown(what, error);
    });
    const details = { status: response.status, file: `${file.kind}.xml` };
    if (response.status === 403 || response.status === 401) {
      throw new CdashError('denied', `CDash refuses the token for project "${build.project}".`, {
        ...details,
        hint: 'Set CDASH_AUTH_TOKEN (or SPACK_CDASH_AUTH_TOKEN) to a token that may submit to it.',
      });
    }
    if (response.status === 404) throw this.#noProject(build.project);
    const reply = readReply(text);
    if (!response.ok || reply?.status !== 'OK') {
      throw new CdashError(
        'refused',
        `CDash does not take ${what}: ${summary(response.status, text)}.`,
        details,
      );
    }
    if (reply.buildId === undefined) {
      throw new CdashError('refused', `CDash stored nothing of ${what}. ${reply.message}`.trim(), {
        ...details,
        hint: 'Its database may be away, or a name too long. Try again later.',
      });
    }
    return reply;
  }

  /** A request, made again as long as that can do no harm. */
  async #request(
    url: string,
    method: string,
    body: string | Buffer | undefined,
    what: string,
    repeatable: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { attempts = 5, firstDelay = 500, timeout = 300_000, token } = this.options;
    return pRetry(
      async () => {
        const limit = AbortSignal.timeout(timeout);
        let response: Response;
        try {
          response = await fetch(url, {
            method,
            ...(body === undefined ? {} : { body }),
            headers: {
              'content-type': method === 'PUT' ? 'text/xml' : 'application/json',
              ...(token ? { authorization: `Bearer ${token}` } : {}),
            },
            dispatcher: this.#proxy,
            signal: signal ? AbortSignal.any([signal, limit]) : limit,
          });
        } catch (error) {
          signal?.throwIfAborted();
          throw neverSent(error) || repeatable ? this.#unreachable(error) : this.#unknown(what, error);
        }
        // A proxy says so before CDash has seen the request. What CDash itself fails over, it will fail over again.
        if (![429, 502, 503].includes(response.status)) return response;
        throw new CdashError(
          'unavailable',
          `CDash does not take ${what}: ${summary(response.status, await response.text())}.`,
          { status: response.status },
        );
      },
      {
        retries: attempts - 1,
        minTimeout: firstDelay,
        randomize: true,
        // A name that nobody knows will not be known in a second.
        shouldRetry: ({ error }) =>
          error instanceof CdashError && error.code === 'unavailable' && !codes(error).includes('ENOTFOUND'),
        ...(signal ? { signal } : {}),
      },
    );
  }

  #noProject(project: string): CdashError {
    return new CdashError('no-project', `${this.base} has no project "${project}".`, {
      status: 404,
      hint: 'Check cdash:project in spack.yaml; upper and lower case count.',
    });
  }

  #unreachable(error: unknown): CdashError {
    return new CdashError(
      'unavailable',
      `${this.base} can't be reached: ${causeOf(error)}.`,
      {},
      { cause: error },
    );
  }

  #unknown(what: string, error: unknown): CdashError {
    return new CdashError(
      'unknown-outcome',
      `The connection to ${this.base} broke after ${what} was sent: ${causeOf(error)}.`,
      { hint: 'Whether CDash has it is not known; sending the report again replaces the build.' },
      { cause: error },
    );
  }
}

/** @throws CdashError `invalid` */
function baseOf(text: string): string {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(full) || !/^https?:$/.test(new URL(full).protocol)) {
    throw new CdashError('invalid', `"${text}" is no address of a CDash.`, {
      hint: 'Write it as https://cdash.example.org.',
    });
  }
  const { origin, pathname } = new URL(full);
  return `${origin}${pathname.replace(/\/+(?:submit\.php|index\.php)?$/, '')}`.replace(/\/+$/, '');
}

function readReply(text: string): (Reply & { readonly status: string }) | undefined {
  try {
    const { cdash } = new XMLParser({ parseTagValue: false }).parse(text) as {
      cdash?: { status?: string; message?: string; buildId?: string };
    };
    if (!cdash) return undefined;
    const buildId = /^\d+$/.test(cdash.buildId ?? '') ? Number(cdash.buildId) : undefined;
    return { status: cdash.status ?? '', message: (cdash.message ?? '').trim(), buildId };
  } catch {
    return undefined;
  }
}

/** CDash's errors are JSON, or XML, or a page. */
function summary(status: number, text: string): string {
  let told = readReply(text)?.message ?? '';
  try {
    const json = JSON.parse(text) as { description?: string; error?: string };
    told = json.description ?? json.error ?? '';
  } catch {
    if (!told && !/<html/i.test(text)) told = text.slice(0, 200).trim();
  }
  return `HTTP ${status}${told ? `, ${told.replace(/\.$/, '')}` : ''}`;
}

const beforeSending = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT', 'EHOSTUNREACH'];

/** Whether a request failed before any of it was sent. */
function neverSent(error: unknown): boolean {
  return codes(error).some((code) => beforeSending.includes(code));
}

/** The system's codes of an error and its causes. */
function codes(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { code } = error as { code?: string };
  const below = error instanceof AggregateError ? error.errors.flatMap(codes) : codes(error.cause);
  return code ? [code, ...below] : below;
}

function causeOf(error: unknown): string {
  const { cause, message } = error as { cause?: { message?: string; code?: string }; message: string };
  return cause?.message || cause?.code || message;
}
