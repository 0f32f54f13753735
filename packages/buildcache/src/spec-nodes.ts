import { isAscii } from 'node:buffer';
import { readNode } from '@stackwright/spack-env';
import { countedEdges } from './database.js';
import { BuildcacheError } from './error.js';
import { isHash } from './layout.js';
import { parseSpecDocument } from './spec-document.js';

/** A node of a spec as the index takes it over. */
export interface SpecNode {
  readonly hash: string;
  readonly name: string;
  /** What it depends on, as databases count it. */
  readonly edges: readonly string[];
  /** Its JSON. */
  readonly text: string;
}

/** Characters of JSON that are remembered. */
const memory = 8 * 1024 * 1024;
const head = /^\{"spec":\{"_meta":\{"version":[2-5]\},"nodes":\[(?=\{)/;
const tail = /\]\},"buildcache_layout_version":\d+\}$/;
/** Between two nodes, as Spack writes them: a node ends with its hash, an edge does not. */
const between = Buffer.from('"},{"name":"');

/**
 * Reads the nodes of many specs. Most nodes stand in many specs: what was parsed once is known again by its text and
 * not parsed anew. Nodes that are written in another way than Spack's are read all the same, slower.
 */
export class SpecNodes {
  #known = new Map<string, SpecNode>();
  #length = 0;

  /** A spec's nodes, the root first. @throws BuildcacheError `spec` */
  read(bytes: Buffer, where: string): SpecNode[] {
    return this.#cut(bytes) ?? parseWhole(bytes, where);
  }

  /** Undefined for what is not written as Spack writes it, or is broken. */
  #cut(bytes: Buffer): SpecNode[] | undefined {
    if (!isAscii(bytes)) return undefined;
    const start = head.exec(bytes.toString('latin1', 0, 64))?.[0].length;
    const end = tail.exec(bytes.toString('latin1', Math.max(0, bytes.length - 64)))?.[0].length;
    if (!start || !end) return undefined;
    const nodes: SpecNode[] = [];
    for (let at = start, next = 0; next >= 0; at = next + 3) {
      next = bytes.indexOf(between, at);
      const text = bytes.toString('latin1', at, next < 0 ? bytes.length - end : next + 2);
      // Each part being JSON by itself, the whole is.
      const node = this.#known.get(text) ?? this.#parse(text);
      if (!node) return undefined;
      nodes.push(node);
    }
    return nodes;
  }

  #parse(text: string): SpecNode | undefined {
    let node: SpecNode;
    try {
      node = nodeOf(JSON.parse(text) as Record<string, unknown>, text);
    } catch {
      return undefined;
    }
    if (!isHash(node.hash)) return undefined;
    this.#length += text.length;
    if (this.#length > memory) {
      this.#known.clear();
      this.#length = text.length;
    }
    this.#known.set(text, node);
    return node;
  }
}

function nodeOf(raw: Record<string, unknown>, text: string): SpecNode {
  const node = readNode(String(raw['hash']), raw);
  return { hash: node.hash, name: node.name, edges: countedEdges(node), text };
}

function parseWhole(bytes: Buffer, where: string): SpecNode[] {
  const { nodes } = parseSpecDocument(bytes.toString('utf8'), where);
  for (const { name, hash } of nodes.values()) {
    if (isHash(hash)) continue;
    const why = `has the node ${name} with ${JSON.stringify(hash)}, which is no dag hash`;
    throw new BuildcacheError('input', 'spec', `${where}: the spec ${why}.`, { key: where });
  }
  return [...nodes.values()].map(({ raw }) => nodeOf(raw, JSON.stringify(raw)));
}
