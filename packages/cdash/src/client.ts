import { createHash } from 'node:crypto';
import { cleanText, defaultRetry, type HttpAnswer, HttpClient, HttpError } from '@stackwright/http';
import { XMLParser } from 'fast-xml-parser';
import { type CdashFile, doneXml } from './document.js';
import { CdashError } from './error.js';
import type { BuildIdentity } from './report.js';
import { nameText } from './text.js';

export interface CdashOptions {
  /** CDash's address, `https://cdash.example.org`; a path and `submit.php?project=…` at its end are understood. */
  readonly url: string;
  /** Sent as a bearer token. */
  readonly token?: string;
  /** How often a request that fails on the way is made at most; 5 when left out. What times out is made 3 times at most. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; doubles with each. */
  readonly firstDelay?: number;
  /**
   * Milliseconds from the end of what is sent to the end of the answer, and a second more for each MB that is sent: CDash
   * may read a file before it answers. 10 seconds when left out.
   */
  readonly timeout?: number;
  /** Where proxies and certificate authorities come from; `process.env` when left out. */
  readonly env?: NodeJS.ProcessEnv;
}

/** What CDash made of a build. */
export interface Submitted {
  readonly buildId: number;
  /** The page of the build. */
  readonly link: string;
  /** What CDash had to say of files that it took all the same. */
  readonly warnings: readonly string[];
}

export interface SubmitOptions {
  /** An earlier attempt, by whomever, may have left a part of this build at CDash: it is replaced, and nothing counts twice. */
  readonly again?: boolean;
  readonly signal?: AbortSignal;
}

interface Reply {
  readonly buildId: number;
  readonly message: string;
}

/** Kinds that may be sent twice: the second replaces the first or is ignored. The others would count twice. */
const repeatable = new Set<CdashFile['kind']>(['Update', 'Configure', 'Done']);
/** Statuses of a proxy before CDash has seen the request. What CDash itself fails over, it will fail over again. */
const passing = [429, 502, 503];
/** Bytes of an answer. Real ones have some hundred, pages of errors some hundred thousand. */
const answerLimit = 1024 * 1024;
/** How often a whole build is sent. */
const rounds = 3;

/** A CDash server, as of its version 5.3: `submit.php` and the API of build groups. */
export class CdashClient {
  readonly base: string;
  readonly #client: HttpClient;
  readonly #timeout: number;

  /** @throws CdashError `invalid` for an address that is none */
  constructor({ url, token, env, attempts = 5, firstDelay = 500, timeout = 10_000 }: CdashOptions) {
    this.base = baseOf(url);
    this.#timeout = timeout;
    this.#client = new HttpClient({
      env,
      retry: { ...defaultRetry, attempts, first: firstDelay },
      headers: { authorization: token ? `Bearer ${token}` : undefined },
    });
  }

  /**
   * Sends all files of a build, then that it is complete. CDash adds files to a build that is not complete and replaces
   * one that is. So what an earlier attempt may have left is completed first, and a file whose fate is unknown, because
   * the connection broke after it was sent, makes the build be sent anew.
   * @throws CdashError that names the file; what was sent before stays on the server, until `again` replaces it
   */
  async submit(
    build: BuildIdentity,
    files: readonly CdashFile[],
    { again = false, signal }: SubmitOptions = {},
  ): Promise<Submitted> {
    const [first] = files;
    if (!first) throw new CdashError('invalid', 'There is no file to submit.');
    if (again) await this.#complete(build, first, signal);
    for (let round = 1; ; round++) {
      /** Ids in the order of the answers. That of the first may be of a build that was just replaced. */
      const ids: number[] = [];
      const warnings: string[] = [];
      try {
        for (const file of files) {
          const { buildId, message } = await this.#send(build, file, signal);
          if (message) warnings.push(`${file.kind}.xml: ${message}`);
          ids.push(buildId);
        }
        const buildId = ids.at(-1) as number;
        await this.#done(build, buildId, signal);
        return { buildId, link: `${this.base}/builds/${buildId}`, warnings };
      } catch (error) {
        const unknown = error instanceof CdashError && error.code === 'unknown-outcome';
        if (!unknown || round === rounds || ids.length === 0) throw error;
        const sure = ids[1];
        if (sure === undefined) await this.#complete(build, first, signal);
        else await this.#done(build, ids.at(-1) ?? sure, signal);
      }
    }
  }

  /**
   * Completes a build that may be there or not, complete or in part, so that the next file replaces it.
   * @param file one that may be sent twice
   */
  async #complete(build: BuildIdentity, file: CdashFile, signal?: AbortSignal): Promise<void> {
    // The answer to the first file after a complete build has the id of the one that it replaces.
    await this.#send(build, file, signal);
    const { buildId } = await this.#send(build, file, signal);
    await this.#done(build, buildId, signal);
  }

  /** Whether the server answers, and as a CDash. @throws CdashError `unavailable`, `invalid` */
  async ping(signal?: AbortSignal): Promise<void> {
    const response = await this.#request(`${this.base}/ping`, 'GET', undefined, 'a ping', true, signal);
    if (isOk(response) && response.text().trim() === 'OK') return;
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
    if (isOk(response)) return;
    const text = response.text();
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
    const text = response.text();
    const details = { status: response.status, file: `${file.kind}.xml` };
    if (response.status === 403 || response.status === 401) {
      throw new CdashError('denied', `CDash refuses the token for project "${build.project}".`, {
        ...details,
        hint: 'Set CDASH_AUTH_TOKEN (or SPACK_CDASH_AUTH_TOKEN) to a token that may submit to it.',
      });
    }
    if (response.status === 404) throw this.#noProject(build.project);
    const reply = readReply(text);
    if (!isOk(response) || reply?.status !== 'OK') {
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
    return { buildId: reply.buildId, message: reply.message };
  }

  /** A request, made again as long as that can do no harm. */
  async #request(
    url: string,
    method: string,
    body: string | Buffer | undefined,
    what: string,
    repeatable: boolean,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    const headers = { 'content-type': method === 'PUT' ? 'text/xml' : 'application/json' };
    const time = this.#timeout + Math.floor(Buffer.byteLength(body ?? '') / 1e6) * 1000;
    const limits = { answer: time, total: time };
    const how = { accept: 'any', passing, repeatable, limit: answerLimit, limits } as const;
    try {
      return await this.#client.request(url, { method, body, headers, signal, ...how });
    } catch (error) {
      throw error instanceof HttpError ? this.#told(error, what, repeatable) : error;
    }
  }

  #told(error: HttpError, what: string, repeatable: boolean): CdashError {
    const { status, reason, attempts, sent } = error.details;
    const tried = attempts === undefined ? '' : ` Tried ${attempts} times.`;
    const cause = { cause: error };
    if (error.code === 'too-large' || error.code === 'too-many-redirects') {
      const hint = 'Check the address (cdash:url).';
      return new CdashError(
        'invalid',
        `${this.base} does not answer as a CDash: ${reason}.`,
        { hint },
        cause,
      );
    }
    if (status !== undefined) {
      const message = `CDash does not take ${what}: ${reason}.${tried}`;
      return new CdashError('unavailable', message, { status }, cause);
    }
    if (sent && !repeatable) {
      const message = `${what} was sent to ${this.base}, but no answer came: ${reason}.`;
      const hint = 'Whether CDash has it is not known; sending the report again replaces the build.';
      return new CdashError('unknown-outcome', message, { hint }, cause);
    }
    const failed = sent ? `Could not send ${what} to ${this.base}` : `${this.base} can't be reached`;
    const message = `${failed}: ${reason}.${tried}`;
    return new CdashError('unavailable', message, { hint: error.hint }, cause);
  }

  #noProject(project: string): CdashError {
    return new CdashError('no-project', `${this.base} has no project "${project}".`, {
      status: 404,
      hint: 'Check cdash:project in spack.yaml; upper and lower case count.',
    });
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

function readReply(
  text: string,
): (Partial<Reply> & { readonly status: string; readonly message: string }) | undefined {
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
    told = cleanText(json.description ?? json.error ?? '');
  } catch {
    if (!told && !/<html/i.test(text)) told = cleanText(text.slice(0, 200));
  }
  return `HTTP ${status}${told ? `, ${told.replace(/\.$/, '')}` : ''}`;
}

function isOk({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300;
}
