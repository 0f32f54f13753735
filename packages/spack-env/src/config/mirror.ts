import type { Position } from '../error.js';
import type { ConfigNode } from './node.js';
import { nodeAt, textOf } from './node.js';
import type { VariableFacts } from './variables.js';
import { resolvePath } from './variables.js';

/** How one direction of a mirror is reached. Secrets are never in here: only the names of their variables. */
export interface MirrorConnection {
  /** `file://…`, `s3://…`, `https://…`, `oci://…`; a path in the file is made absolute. */
  readonly url: string;
  /** User name or access key, where the file has it. */
  readonly id: string | undefined;
  readonly idVariable: string | undefined;
  readonly secretVariable: string | undefined;
  readonly tokenVariable: string | undefined;
  /** A profile of the AWS configuration. */
  readonly profile: string | undefined;
  /** Where an S3 other than Amazon's is. */
  readonly endpointUrl: string | undefined;
  /** The index view to read instead of the whole index (Spack 1.2). */
  readonly view: string | undefined;
}

/** An entry of `mirrors:`, all its forms read into one. */
export interface Mirror {
  readonly name: string;
  readonly fetch: MirrorConnection;
  readonly push: MirrorConnection;
  /** Whether binaries must be signed; `undefined` leaves it to Spack's default, which is yes. */
  readonly signed: boolean | undefined;
  readonly binary: boolean;
  readonly source: boolean;
  /** Whether what is built is pushed right after. */
  readonly autopush: boolean;
  readonly at: Position;
}

/** Reads the merged `mirrors:` section, in order of precedence. */
export function readMirrors(section: ConfigNode | undefined, facts: VariableFacts): Mirror[] {
  if (section?.kind !== 'map') return [];
  return [...section.entries].flatMap(([name, entry]) => {
    const fetch = connection(entry.node, 'fetch', facts);
    const push = connection(entry.node, 'push', facts);
    const either = fetch ?? push;
    if (!either) return [];
    const flag = (key: string) => {
      const node = nodeAt(entry.node, key);
      return node?.kind === 'scalar' && typeof node.value === 'boolean' ? node.value : undefined;
    };
    return [
      {
        name,
        fetch: fetch ?? either,
        push: push ?? either,
        signed: flag('signed'),
        binary: flag('binary') ?? true,
        source: flag('source') ?? true,
        autopush: flag('autopush') ?? false,
        at: entry.at,
      },
    ];
  });
}

function connection(
  mirror: ConfigNode,
  direction: 'fetch' | 'push',
  facts: VariableFacts,
): MirrorConnection | undefined {
  const own = nodeAt(mirror, direction);
  const at = (...path: string[]) => textOf(nodeAt(own, ...path)) ?? textOf(nodeAt(mirror, ...path));
  const urlNode =
    mirror.kind === 'scalar'
      ? mirror
      : own?.kind === 'scalar'
        ? own
        : (nodeAt(own, 'url') ?? nodeAt(mirror, 'url'));
  const url = textOf(urlNode);
  if (url === undefined) return undefined;
  const pair = nodeAt(own, 'access_pair') ?? nodeAt(mirror, 'access_pair');
  return {
    url: mirrorUrl(url, urlNode!.at, facts),
    // The old form is [id, secret]: the secret is not taken over.
    id: pair?.kind === 'list' ? textOf(pair.items[0]) : textOf(nodeAt(pair, 'id')),
    idVariable: textOf(nodeAt(pair, 'id_variable')),
    secretVariable: textOf(nodeAt(pair, 'secret_variable')),
    tokenVariable: at('access_token_variable'),
    profile: at('profile'),
    endpointUrl: at('endpoint_url'),
    view: at('view'),
  };
}

/** Whether an address is that of a build cache in a registry: `oci://…`, or `oci+http://…` without TLS. */
export function isRegistryUrl(url: string): boolean {
  return /^oci(\+http)?:\/\//.test(url);
}

function mirrorUrl(text: string, at: Position, facts: VariableFacts): string {
  const folder = at.file ? at.file.replace(/[^/\\]*$/, '') || '.' : '.';
  const path = resolvePath(text, folder, facts);
  return path.startsWith('/') ? `file://${path}` : path;
}
