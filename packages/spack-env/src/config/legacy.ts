import type { Document, Node, Pair, Scalar, YAMLMap } from 'yaml';
import { isMap, isScalar, isSeq } from 'yaml';
import type { Finding } from '../error.js';
import type { ConfigSource } from './node.js';

/** Job attributes that stood beside `mappings` and held for every build job. */
const jobKeys = ['image', 'tags', 'variables', 'before_script', 'script', 'after_script'];

/** Keys of `gitlab-ci:` that nothing reads any more. */
const dropped: Readonly<Record<string, string>> = {
  bootstrap: 'compilers are ordinary dependencies now',
  'enable-artifacts-buildcache': 'artifacts hold no binaries any more',
  'enable-debug-messages': 'debug output is asked for on the command line',
  'temporary-storage-url-prefix': 'pull requests use their own mirror',
};

/**
 * Changes a manifest of an older Spack to the current form, in the document itself: comments and the order of
 * everything else stay.
 * @returns a note for each change; none when the manifest is current
 */
export function upgradeDocument(source: ConfigSource): Finding[] {
  const notes: Finding[] = [];
  const { document, place, file } = source;
  const upgrade = new Upgrade(document, (message, at) => {
    const position = at?.range ? place(at.range[0]) : { file, line: 1, column: 1 };
    notes.push({ severity: 'note', code: 'legacy', message, position });
  });
  upgrade.run();
  return notes;
}

const keyOf = (pair: Pair): string => (isScalar(pair.key) ? String(pair.key.value) : String(pair.key));

const pairOf = (map: YAMLMap, key: string): Pair | undefined => map.items.find((pair) => keyOf(pair) === key);

const keyNode = (pair: Pair | undefined): Node | undefined => pair?.key as Node | undefined;

class Upgrade {
  constructor(
    private readonly document: Document,
    private readonly note: (message: string, at: Node | undefined) => void,
  ) {}

  run(): void {
    const root = this.document.contents;
    if (!isMap(root)) return;
    const env = pairOf(root, 'env');
    if (env && !pairOf(root, 'spack')) {
      (env.key as Scalar).value = 'spack';
      this.note('The top-level key "env" is now "spack".', keyNode(env));
    }
    const spack = pairOf(root, 'spack')?.value;
    if (!isMap(spack)) return;
    this.concretization(spack);
    this.config(spack);
    this.modules(spack);
    this.ci(spack);
    this.cdash(spack);
  }

  private set(map: YAMLMap, key: string, value: unknown): void {
    map.set(this.document.createNode(key), this.document.createNode(value));
  }

  /** `concretization: separately|together` is `concretizer: {unify: …}` since Spack 0.18. */
  private concretization(spack: YAMLMap): void {
    const pair = pairOf(spack, 'concretization');
    if (!pair) return;
    const word = isScalar(pair.value) ? String(pair.value.value) : '';
    const unify = word === 'together' ? true : word === 'together where possible' ? 'when_possible' : false;
    const concretizer = pairOf(spack, 'concretizer')?.value;
    if (isMap(concretizer)) {
      if (!pairOf(concretizer, 'unify')) this.set(concretizer, 'unify', unify);
      spack.delete('concretization');
    } else {
      (pair.key as Scalar).value = 'concretizer';
      pair.value = this.document.createNode({ unify });
    }
    this.note(`"concretization: ${word}" is now "concretizer: unify: ${unify}".`, keyNode(pair));
  }

  private config(spack: YAMLMap): void {
    const config = pairOf(spack, 'config')?.value;
    if (!isMap(config)) return;
    const tree = pairOf(config, 'install_tree');
    if (isScalar(tree?.value)) {
      tree.value = this.document.createNode({ root: tree.value.value });
      this.note('"install_tree" with a path is now "install_tree: root:".', keyNode(tree));
    }
    const scheme = pairOf(config, 'install_path_scheme');
    if (scheme) {
      const projection = isScalar(scheme.value) ? String(scheme.value.value) : '';
      config.delete('install_path_scheme');
      const tree = pairOf(config, 'install_tree')?.value;
      const projections = { projections: { all: projection } };
      if (isMap(tree)) this.set(tree, 'projections', projections.projections);
      else this.set(config, 'install_tree', projections);
      this.note('"install_path_scheme" is now "install_tree: projections: all:".', keyNode(scheme));
    }
    for (const gone of ['concretizer', 'install_missing_compilers', 'module_roots']) {
      const pair = pairOf(config, gone);
      if (!pair) continue;
      config.delete(gone);
      this.note(`"config: ${gone}" means nothing any more and was taken out.`, keyNode(pair));
    }
  }

  /** Module sets have names since Spack 0.18: what stood at the top is the set `default`. */
  private modules(spack: YAMLMap): void {
    const modules = pairOf(spack, 'modules')?.value;
    if (!isMap(modules)) return;
    const old = modules.items.filter((pair) =>
      ['enable', 'tcl', 'lmod', 'dotkit', 'use_view', 'arch_folder', 'roots'].includes(keyOf(pair)),
    );
    if (old.length === 0) return;
    const set = this.document.createNode({}) as YAMLMap;
    for (const pair of old) {
      modules.delete(keyOf(pair));
      set.items.push(pair as YAMLMap['items'][number]);
    }
    modules.set(this.document.createNode('default'), set);
    this.note(`"modules: ${old.map(keyOf).join(', ')}" is now in the module set "default".`, keyNode(old[0]));
  }

  /** `gitlab-ci:` with mappings is `ci:` with `pipeline-gen` since Spack 0.20. */
  private ci(spack: YAMLMap): void {
    const pair = pairOf(spack, 'gitlab-ci');
    if (pair) {
      if (pairOf(spack, 'ci')) {
        spack.delete('gitlab-ci');
        this.note('"gitlab-ci" stood beside "ci", which counts; it was taken out.', keyNode(pair));
      } else {
        (pair.key as Scalar).value = 'ci';
        this.note('"gitlab-ci" is now "ci".', keyNode(pair));
      }
    }
    const ci = pairOf(spack, 'ci')?.value;
    if (isMap(ci)) this.pipeline(ci);
  }

  private pipeline(ci: YAMLMap): void {
    const old = [
      'mappings',
      'match_behavior',
      'runner-attributes',
      'signing-job-attributes',
      'service-job-attributes',
      'final-stage-rebuild-index',
      ...jobKeys,
      ...Object.keys(dropped),
    ].filter((key) => pairOf(ci, key));
    if (old.length === 0) return;
    const take = (key: string): Node | undefined => {
      const pair = pairOf(ci, key);
      if (!pair) return undefined;
      ci.delete(key);
      return pair.value as Node;
    };
    for (const [key, reason] of Object.entries(dropped)) {
      const pair = pairOf(ci, key);
      if (!pair) continue;
      ci.delete(key);
      this.note(`"ci: ${key}" means nothing any more and was taken out: ${reason}.`, keyNode(pair));
    }
    const steps: Node[] = [];
    const step = (key: string, value: unknown) => {
      const map = this.document.createNode({}) as YAMLMap;
      map.set(this.document.createNode(key), value);
      steps.push(map);
      return map;
    };
    const behavior = take('match_behavior');
    const match = isScalar(behavior) ? String(behavior.value) : 'first';
    const mappings = pairOf(ci, 'mappings');
    if (mappings) {
      take('mappings');
      const map = this.document.createNode({ match_behavior: match }) as YAMLMap;
      map.set(this.document.createNode('submapping'), this.submapping(mappings.value as Node, match));
      steps.push(map);
      this.note('"mappings" is now a "submapping" of "pipeline-gen".', keyNode(mappings));
    }
    const job = this.document.createNode({}) as YAMLMap;
    const runner = take('runner-attributes');
    if (isMap(runner)) job.items.push(...runner.items);
    const [firstKey] = jobKeys.flatMap((key) => keyNode(pairOf(ci, key)) ?? []);
    for (const key of jobKeys) {
      const value = take(key);
      if (value !== undefined) job.set(this.document.createNode(key), value);
    }
    if (job.items.length > 0) {
      step('build-job', job);
      this.note(
        `The attributes of all jobs (${job.items.map(keyOf).join(', ')}) are now those of "build-job".`,
        firstKey ?? keyNode(job.items[0]),
      );
    }
    const signing = pairOf(ci, 'signing-job-attributes');
    if (signing) {
      step('signing-job', take('signing-job-attributes'));
      this.note('"signing-job-attributes" is now "signing-job".', keyNode(signing));
    }
    const service = pairOf(ci, 'service-job-attributes');
    if (service) {
      const value = take('service-job-attributes')!;
      for (const kind of ['reindex-job', 'noop-job', 'cleanup-job']) step(kind, value.clone() as Node);
      this.note(
        '"service-job-attributes" is now "reindex-job", "noop-job" and "cleanup-job".',
        keyNode(service),
      );
    }
    const index = pairOf(ci, 'final-stage-rebuild-index');
    if (index) {
      const value = take('final-stage-rebuild-index');
      step('reindex-job', value);
      if (!pairOf(ci, 'rebuild-index')) this.set(ci, 'rebuild-index', true);
      this.note(
        '"final-stage-rebuild-index" is now "reindex-job" with "rebuild-index: true".',
        keyNode(index),
      );
    }
    const pipeline = pairOf(ci, 'pipeline-gen')?.value;
    if (isSeq(pipeline)) {
      // What is there already counts more: it comes first.
      pipeline.items.push(...steps);
    } else if (steps.length > 0) {
      this.set(ci, 'pipeline-gen', steps);
      if (!pairOf(ci, 'target')) this.set(ci, 'target', 'gitlab');
    }
  }

  private submapping(mappings: Node, behavior: string): Node {
    const submapping = this.document.createNode([]) as unknown as { items: unknown[] } & Node;
    for (const mapping of isSeq(mappings) ? mappings.items : []) {
      if (!isMap(mapping)) continue;
      const entry = this.document.createNode({}) as YAMLMap;
      entry.commentBefore = mapping.commentBefore;
      for (const pair of mapping.items as Pair[]) {
        const key = keyOf(pair);
        if (key === 'runner-attributes') {
          (pair.key as Scalar).value = 'build-job';
          if (behavior === 'first' && isMap(pair.value)) {
            // A mapping's script stood instead of the general one.
            const script = pairOf(pair.value, 'script');
            if (script) (script.key as Scalar).value = 'script:';
          }
        }
        if (key === 'remove-attributes') (pair.key as Scalar).value = 'build-job-remove';
        entry.items.push(pair as YAMLMap['items'][number]);
      }
      submapping.items.push(entry);
    }
    return submapping;
  }

  /** A build group was a list once. */
  private cdash(spack: YAMLMap): void {
    const cdash = pairOf(spack, 'cdash')?.value;
    if (!isMap(cdash)) return;
    const group = pairOf(cdash, 'build-group');
    if (isSeq(group?.value)) {
      const [first] = group.value.items;
      if (isScalar(first)) {
        group.value = first;
        this.note('"cdash: build-group" is now one name.', keyNode(group));
      }
    }
  }
}
