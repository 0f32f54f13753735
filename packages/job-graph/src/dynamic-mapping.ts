import type { HttpClient } from '@stackwright/http';
import pLimit from 'p-limit';
import { type Attributes, toAttributes } from './ci/attributes.js';
import type { CiSection, DynamicMapping } from './ci/ci-section.js';
import type { Job } from './graph/graph.js';
import { architectureOf, compilerOf, variantsOf } from './graph/node-text.js';
import type { Pruned } from './prune/prune.js';

export interface DynamicMappingOptions {
  /** Where proxies and certificate authorities come from. */
  readonly env: NodeJS.ProcessEnv;
  /**
   * The value of a variable that a header holds, for this endpoint alone; undefined where it is not set. What it throws
   * ends the work.
   */
  readonly variable: (
    name: string,
    endpoint: { readonly url: URL; readonly verified: boolean },
  ) => string | undefined;
  /** Names of mappings that match are not asked. */
  readonly skip?: RegExp;
  readonly signal?: AbortSignal;
  /** What did not work; a pipeline goes on without it. */
  readonly onWarning: (text: string) => void;
}

/** Bytes of an answer. Attributes of a job have some hundred. */
const answerLimit = 256 * 1024;
/** After this many failures in a row, and no answer at all, an endpoint is not asked any more. */
const patience = 5;

/**
 * Asks the endpoints of all dynamic mappings for attributes of each job, many jobs at a time.
 * @returns by the section's place in `ci.sections`, then by the job's hash
 */
export async function askDynamicMappings(
  pruned: Pruned,
  ci: CiSection,
  options: DynamicMappingOptions,
): Promise<Map<number, Map<string, Attributes>>> {
  const answers = new Map<number, Map<string, Attributes>>();
  for (const [place, section] of ci.sections.entries()) {
    if (section.type !== 'dynamic') continue;
    const { name } = section.mapping;
    if (name && options.skip?.test(name)) continue;
    answers.set(place, await ask(pruned, section.mapping, options));
  }
  return answers;
}

async function ask(
  pruned: Pruned,
  mapping: DynamicMapping,
  options: DynamicMappingOptions,
): Promise<Map<string, Attributes>> {
  if (!URL.canParse(mapping.endpoint)) {
    options.onWarning(`${mapping.endpoint} is no valid address; it is not asked.`);
    return new Map();
  }
  const client = await open(mapping, options);
  try {
    return await askForAll(client, pruned, mapping, options);
  } finally {
    await client.close();
  }
}

async function askForAll(
  client: HttpClient,
  { graph, full }: Pruned,
  mapping: DynamicMapping,
  { signal, onWarning }: DynamicMappingOptions,
): Promise<Map<string, Attributes>> {
  const answers = new Map<string, Attributes>();
  let failures = 0;
  let answered = false;
  const limit = pLimit(16);
  const one = async (job: Job) => {
    if (failures >= patience && !answered) return;
    const query = queryOf(job, (hash) => full.jobs.get(hash)?.node);
    try {
      const config = await request(client, mapping, query, signal);
      answered = true;
      const clean = filtered(config, mapping);
      const lacking = mapping.require.filter((key) => !(key in clean));
      if (lacking.length > 0) {
        onWarning(`${mapping.endpoint} answered for ${job.node.name} without ${lacking.join(', ')}.`);
      }
      if (Object.keys(clean).length > 0) answers.set(job.hash, toAttributes(clean));
    } catch (error) {
      signal?.throwIfAborted();
      failures++;
      if (failures > patience) return;
      onWarning(`${mapping.endpoint} gave no attributes for ${job.node.name}: ${reason(error)}.`);
      if (failures === patience && !answered) onWarning(`${mapping.endpoint} is not asked any more.`);
    }
  };
  await Promise.all([...graph.jobs.values()].map((job) => limit(() => one(job))));
  // In the graph's order, whichever answer came first.
  return new Map(
    [...graph.jobs.keys()].flatMap((hash) => {
      const answer = answers.get(hash);
      return answer ? [[hash, answer]] : [];
    }),
  );
}

async function open(mapping: DynamicMapping, { env, variable }: DynamicMappingOptions): Promise<HttpClient> {
  // Loaded only when asked: most stacks have no dynamic mapping.
  const { HttpClient } = await import('@stackwright/http');
  const milliseconds = mapping.timeout * 1000;
  const endpoint = { url: new URL(mapping.endpoint), verified: mapping.verifySsl };
  const headers = Object.entries(mapping.header).map(([key, value]) => [
    key,
    expand(value, (name) => variable(name, endpoint)),
  ]);
  return new HttpClient({
    env,
    limits: { answer: milliseconds, total: milliseconds },
    headers: { 'user-agent': 'stackwright', ...Object.fromEntries(headers) },
    verify: mapping.verifySsl,
  });
}

async function request(
  client: HttpClient,
  mapping: DynamicMapping,
  query: string,
  signal: AbortSignal | undefined,
): Promise<Record<string, unknown>> {
  const url = new URL(mapping.endpoint);
  url.search = query;
  // Asked once: a pipeline goes on without what an endpoint does not say.
  const answer = await client.request(url, { accept: [200], signal, limit: answerLimit, attempts: 1 });
  const json = answer.json();
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) {
    return json as Record<string, unknown>;
  }
  throw new Error('the answer is no JSON object');
}

/** The question as Spack asks it: the spec in a form that an endpoint can parse, percent-encoded. */
function queryOf({ node }: Job, find: (hash: string) => Job['node'] | undefined): string {
  const compiler = compilerOf(node, find);
  const text =
    `${node.name}@${node.version} ${variantsOf(node)} arch=${architectureOf(node)}` +
    `%${compiler?.name ?? 'none'}@${compiler?.version ?? 'none'}`;
  const encoded = encodeURIComponent(text)
    .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/');
  return `spec=${encoded}`;
}

function filtered(config: Record<string, unknown>, mapping: DynamicMapping): Record<string, unknown> {
  const allowed = [...mapping.allow, ...mapping.require];
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key]) => !mapping.ignore.includes(key) && (allowed.length === 0 || allowed.includes(key)),
    ),
  );
}

function expand(text: string, variable: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced, bare) => variable(braced ?? bare) ?? whole);
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { details } = error as { details?: { reason?: string } };
  return (details?.reason ?? error.message) || error.name;
}
