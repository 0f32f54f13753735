// Writes fixtures/lock-7 and fixtures/lock-8: the quickstart's lock as Spack 1.2 and 1.3 would write it, with its two
// roots in groups. The rules are those of lockfile.rst and specfile.rst in Spack's documentation of November 2026.
//   node packages/spack-env/scripts/newer-locks.mjs
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const quickstart = new URL('../../../stacks/quickstart/spack.lock', import.meta.url);
const fixtures = new URL('../fixtures/', import.meta.url);

const manifest = `spack:
  specs:
  - group: tools
    explicit: false
    specs: [hello-static]
  - group: suite
    needs: [tools]
    override:
      packages:
        all:
          require: ['%c=gcc@12']
    specs: [quickstart-suite]
  view: false
`;
const groups = { 'hello-static': 'tools', 'quickstart-suite': 'suite' };
/** What the recipes of these packages provide; Spack writes the virtuals of a node in this order. */
const provided = { gcc: ['c', 'cxx'], glibc: ['libc'] };

/** SHA-1 of the node's JSON without white space and without `hash`, in lower-case base 32. */
function dagHash({ hash: _, ...node }) {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  const digest = createHash('sha1').update(JSON.stringify(node)).digest();
  const bits = [...digest].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits.replace(/.{5}/g, (five) => alphabet[Number.parseInt(five, 2)]);
}

function lock7(lock) {
  return {
    _meta: { ...lock._meta, 'lockfile-version': 7 },
    spack: { version: '1.2.2', type: 'release' },
    roots: lock.roots.map((root) => ({ ...root, group: groups[root.spec] })),
    concrete_specs: lock.concrete_specs,
  };
}

/** In a spec file of version 6 a node names the virtuals that it provides, so the hashes of all that need it change. */
function lock8(lock) {
  const hashes = new Map();
  const concrete = {};
  const convert = (old) => {
    if (hashes.has(old)) return hashes.get(old);
    const { name, version, arch, namespace, parameters, external, package_hash, dependencies } =
      lock.concrete_specs[old];
    const node = {
      name,
      version,
      arch,
      namespace,
      parameters,
      external,
      package_hash,
      provided_virtuals: provided[name],
      dependencies: dependencies?.map((edge) => ({ ...edge, hash: convert(edge.hash) })),
      annotations: { original_specfile_version: 6 },
    };
    const hash = dagHash(node);
    hashes.set(old, hash);
    concrete[hash] = { ...node, hash };
    return hash;
  };
  const roots = lock7(lock).roots.map((root) => ({ ...root, hash: convert(root.hash) }));
  return {
    _meta: { ...lock._meta, 'lockfile-version': 8, 'specfile-version': 6 },
    spack: { version: '1.3.0.dev0', type: 'git', commit: '0000000000000000000000000000000000000000' },
    roots,
    concrete_specs: concrete,
  };
}

const lock = JSON.parse(readFileSync(quickstart, 'utf8'));
for (const [name, content] of Object.entries({ 'lock-7': lock7(lock), 'lock-8': lock8(lock) })) {
  const folder = new URL(`${name}/`, fixtures);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL('spack.yaml', folder), manifest);
  writeFileSync(new URL('spack.lock', folder), JSON.stringify(content));
}
