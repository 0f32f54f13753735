import type { Pruned } from '../prune/prune.js';
import { byName, type Job } from './graph.js';
import { specText } from './node-text.js';
import { levelsAmong } from './order.js';
import { transitiveReduction } from './reduction.js';

/** One node as `stackwright graph --json` prints it. */
export interface ListedNode {
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  /** Spack's text of this node, without its dependencies. */
  readonly spec: string;
  readonly root: boolean;
  readonly external: boolean;
  /** Direct dependencies of the full graph. */
  readonly dependencies: readonly string[];
  readonly action: 'build' | 'skip';
  readonly reason: string;
  /** How many jobs lie below it on the longest path: the pipeline's stage of a job that is built. */
  readonly level: number;
}

export interface Listing {
  /** In an order in which they could be built. */
  readonly nodes: readonly ListedNode[];
}

/** Every node of the full graph with what was decided about it. */
export function listingOf({ full, graph, decisions }: Pruned): Listing {
  const level = levelsAmong(full, graph.jobs);
  const node = (job: Job): ListedNode => ({
    hash: job.hash,
    name: job.node.name,
    version: job.node.version,
    spec: specText(job.node),
    root: job.root,
    external: job.node.external !== undefined,
    dependencies: job.dependencies,
    ...decisions.get(job.hash)!,
    level: level.get(job.hash)!,
  });
  return { nodes: [...full.jobs.values()].map(node) };
}

/**
 * A tree for each root, `[x]` for what is built and ` - ` for what is left out, with the reason.
 * What a node needs is printed where it stands first; a dependency that a deeper node shows is left out.
 */
export function toText(pruned: Pruned): string {
  const { nodes } = listingOf(pruned);
  const byHash = new Map(nodes.map((node) => [node.hash, node]));
  const reduced = transitiveReduction(pruned.full);
  const lines: { readonly mark: string; readonly text: string; readonly reason: string }[] = [];
  const shown = new Set<string>();
  const pending = [...reduced.jobs.values()]
    .filter((job) => job.dependents.length === 0)
    .sort((a, b) => byName(a.node, b.node))
    .map((job) => ({ job, before: '', below: '' }))
    .reverse();
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { job, before, below } = next;
    const node = byHash.get(job.hash)!;
    const again = shown.has(job.hash) && job.dependencies.length > 0;
    const mark = node.action === 'build' ? '[x]' : ' - ';
    lines.push({ mark, text: before + label(node), reason: again ? '(above)' : node.reason });
    if (again) continue;
    shown.add(job.hash);
    for (const [at, hash] of [...job.dependencies].reverse().entries()) {
      const branch = at === 0 ? ['└─ ', '   '] : ['├─ ', '│  '];
      pending.push({ job: reduced.jobs.get(hash)!, before: below + branch[0], below: below + branch[1] });
    }
  }
  const width = lines.reduce((most, line) => Math.max(most, line.text.length), 0);
  const text = lines.map((line) => `${line.mark} ${line.text.padEnd(width)}  ${line.reason}\n`).join('');
  const build = nodes.filter((node) => node.action === 'build');
  const stages = new Set(build.map((node) => node.level)).size;
  return `${text}\n${build.length} to build in ${stages} ${stages === 1 ? 'stage' : 'stages'}, ${nodes.length - build.length} left out.\n`;
}

/** Graphviz. Left-out nodes are dashed. */
export function toDot({ nodes }: Listing): string {
  const lines = ['digraph jobs {', '  rankdir=LR;', '  node [shape=box, style=rounded];'];
  for (const node of nodes) {
    const text = JSON.stringify(`${label(node)}\n${node.reason}`);
    const style = node.action === 'skip' ? ', style="rounded,dashed", fontcolor=gray40' : '';
    const bold = node.root ? ', penwidth=2' : '';
    lines.push(`  "${node.hash}" [label=${text}${style}${bold}];`);
  }
  for (const node of nodes)
    for (const hash of node.dependencies) lines.push(`  "${node.hash}" -> "${hash}";`);
  return `${[...lines, '}'].join('\n')}\n`;
}

/** A Mermaid flowchart, for Markdown pages. Left-out nodes are dashed. */
export function toMermaid({ nodes }: Listing): string {
  const lines = ['flowchart LR'];
  const text = (node: ListedNode) => label(node).replace(/"/g, '#quot;');
  for (const node of nodes) {
    // A letter in front: a hash that is `end` or starts with a digit could not be an identifier.
    lines.push(`  n${node.hash}["${text(node)}"]${node.action === 'skip' ? ':::skip' : ''}`);
  }
  for (const node of nodes) for (const hash of node.dependencies) lines.push(`  n${node.hash} --> n${hash}`);
  lines.push('  classDef skip stroke-dasharray:4 3,color:#777');
  return `${lines.join('\n')}\n`;
}

function label(node: ListedNode): string {
  return `${node.name}@${node.version}/${node.hash.slice(0, 7)}`;
}
