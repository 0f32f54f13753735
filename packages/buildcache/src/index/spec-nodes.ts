import { isAscii } from 'node:buffer';
import { type ConcreteNode, readNode } from '@stackwright/spack-env';
import { checkDagHash, type NodeReach, reachOf } from '../identity.js';
import { isHash, isName } from '../package-ref.js';
import { isSpecfileVersion, parseSpecDocument } from '../spec-document.js';
import { countedEdges } from './database.js';

/** A node of a spec as the index takes it over. */
export interface SpecNode extends NodeReach {
  /** What it depends on, as databases count it. */
  readonly edges: readonly string[];
  /** Its JSON. */
  readonly text: string;
}

/** Characters of JSON that are remembered. */
const memory = 8 * 1024 * 1024;
const head = /^\{"spec":\{"_meta":\{"version":(\d+)\},"nodes":\[(?=\{)/;
const tail = /\]\},"buildcache_layout_version":\d+\}$/;
/** Between two nodes, as Spack writes them: a node ends with its hash, an edge does not. */
const between = Buffer.from('"},{"name":"');

/**
 * Reads the nodes of many specs. Most nodes stand in many specs: what was parsed once is known again by its text and
 * not parsed anew. Nodes that are written in another way than Spack's are read all the same, slower.
 */
export class SpecNodes {
  /** By the version of the spec file, then by text. */
  readonly #known = new Map<number, Map<string, SpecNode>>();
  #length = 0;

  /**
   * A spec's nodes, the root first.
   * @throws BuildcacheError `spec`, `dag-hash` when a node's hash does not follow from its content
   */
  read(bytes: Buffer, where: string): SpecNode[] {
    return this.#cut(bytes, where) ?? parseWhole(bytes, where);
  }

  /** Undefined for what is not written as Spack writes it, or is broken. */
  #cut(bytes: Buffer, where: string): SpecNode[] | undefined {
    if (!isAscii(bytes)) return undefined;
    const start = head.exec(bytes.toString('latin1', 0, 64));
    const end = tail.exec(bytes.toString('latin1', Math.max(0, bytes.length - 64)))?.[0].length;
    const version = Number(start?.[1]);
    if (!start || !end || !isSpecfileVersion(version)) return undefined;
    const nodes: SpecNode[] = [];
    const hashes = new Set<string>();
    for (let at = start[0].length, next = 0; next >= 0; at = next + 3) {
      next = bytes.indexOf(between, at);
      const text = bytes.toString('latin1', at, next < 0 ? bytes.length - end : next + 2);
      // Each part being JSON by itself, the whole is.
      const node = this.#known.get(version)?.get(text) ?? this.#parse(text, version, where);
      if (!node || hashes.has(node.hash)) return undefined;
      hashes.add(node.hash);
      nodes.push(node);
    }
    return nodes;
  }

  #parse(text: string, version: number, where: string): SpecNode | undefined {
    let node: ConcreteNode;
    // Whoever reads the spec as a whole says what is wrong with it.
    try {
      const raw = JSON.parse(text) as Record<string, unknown>;
      node = readNode(String(raw['hash']), raw);
      checkDagHash(node, version, where);
    } catch {
      return undefined;
    }
    if (!isHash(node.hash) || !isName(node.name)) return undefined;
    const known = specNode(node, text);
    this.#remember(known, version);
    return known;
  }

  #remember(node: SpecNode, version: number): void {
    this.#length += node.text.length;
    if (this.#length > memory) {
      this.#known.clear();
      this.#length = node.text.length;
    }
    const known = this.#known.get(version) ?? new Map<string, SpecNode>();
    this.#known.set(version, known.set(node.text, node));
  }
}

function specNode(node: ConcreteNode, text: string): SpecNode {
  return { ...reachOf(node), edges: countedEdges(node), text };
}

function parseWhole(bytes: Buffer, where: string): SpecNode[] {
  const { nodes, version } = parseSpecDocument(bytes.toString('utf8'), where);
  for (const node of nodes.values()) checkDagHash(node, version, where);
  return [...nodes.values()].map((node) => specNode(node, JSON.stringify(node.raw)));
}
