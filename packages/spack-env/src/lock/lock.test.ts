import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ConcreteNode,
  concreteSpec,
  format,
  formatSpec,
  parseLock,
  reachable,
  SpackEnvError,
  satisfies,
  topological,
} from '../index.js';

const lock = (nodes: object, roots: object[] = [], version = 6, more: object = {}) =>
  JSON.stringify({
    _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': version, 'specfile-version': 5 },
    roots,
    concrete_specs: nodes,
    ...more,
  });
const node = (name: string, ...dependencies: string[]) => ({
  name,
  version: '1',
  arch: { platform: 'linux', platform_os: 'debian12', target: 'x86_64' },
  dependencies: dependencies.map((hash) => ({
    name: hash,
    hash,
    parameters: { deptypes: ['link'], virtuals: [] },
  })),
});
const names = (nodes: Iterable<ConcreteNode>) => [...nodes].map(({ name }) => name);

describe('parseLock', () => {
  it('reads nodes, edges and roots of current locks', () => {
    const { nodes, roots } = parseLock(
      lock(
        {
          g: {
            ...node('gcc'),
            external: { path: '/usr', module: null, extra_attributes: { compilers: { c: '/usr/bin/gcc' } } },
          },
          z: {
            name: 'zlib',
            version: '1.3',
            hash: 'z',
            namespace: 'builtin',
            package_hash: 'p',
            parameters: { shared: true, cflags: [], patches: ['abc'] },
            arch: { platform: 'linux', platform_os: 'rhel9', target: { name: 'zen2', vendor: 'x' } },
            dependencies: [
              { name: 'gcc', hash: 'g', parameters: { deptypes: ['build'], virtuals: ['c'], direct: true } },
            ],
            build_spec: { name: 'gcc', hash: 'g' },
          },
        },
        [{ hash: 'z', spec: 'zlib %gcc', group: 'libs' }],
      ),
    );
    expect(roots).toEqual([{ hash: 'z', spec: 'zlib %gcc', group: 'libs' }]);
    expect(nodes.get('z')).toMatchObject({
      arch: { platform: 'linux', os: 'rhel9', target: 'zen2' },
      packageHash: 'p',
      patches: ['abc'],
      buildSpec: 'g',
      dependencies: [{ name: 'gcc', hash: 'g', types: ['build'], virtuals: ['c'], direct: true }],
    });
    expect(nodes.get('g')!.external).toEqual({
      path: '/usr',
      modules: [],
      attributes: { compilers: { c: '/usr/bin/gcc' } },
    });
  });

  it('reads nodes below their names, as versions 1 and 2 have them', () => {
    const old = (name: string, hash: string | undefined, ...dependencies: string[]) => ({
      [name]: {
        version: '1',
        compiler: { name: 'clang', version: '13' },
        ...(hash && { hash }),
        dependencies: Object.fromEntries(
          dependencies.map((key) => [`to-${key}`, { hash: key, type: ['link'] }]),
        ),
      },
    });
    const first = parseLock(
      lock({ a: old('x', undefined, 'b'), b: old('y', undefined) }, [{ hash: 'a', spec: 'x' }], 1),
    );
    expect(first.nodes.get('a')).toMatchObject({ name: 'x', compiler: { name: 'clang', version: '13' } });
    const second = parseLock(
      lock(
        { a: old('x', 'A', 'b'), a2: old('x', 'A'), b: old('y', 'B') },
        [
          { hash: 'a', spec: 'x' },
          { hash: 'a2', spec: 'x' },
        ],
        2,
      ),
    );
    expect([...second.nodes.keys()]).toEqual(['A', 'B']);
    expect(second.roots.map(({ hash }) => hash)).toEqual(['A', 'A']);
    expect(second.nodes.get('A')!.dependencies[0]).toMatchObject({ hash: 'B', types: ['link'] });
  });

  it('reads environments that were included, and what they include', () => {
    const more = {
      include_concrete: {
        '/one': {
          roots: [{ hash: 'b', spec: 'y' }],
          concrete_specs: { b: node('y') },
          include_concrete: {
            '/two': { roots: [{ hash: 'c', spec: 'z' }], concrete_specs: { c: node('z') } },
          },
        },
      },
    };
    const { included, nodes } = parseLock(lock({ a: node('x', 'b') }, [{ hash: 'a', spec: 'x' }], 6, more));
    expect(included.map(({ path, roots }) => [path, roots[0]!.spec])).toEqual([
      ['/one', 'y'],
      ['/two', 'z'],
    ]);
    expect(names(nodes.values())).toEqual(['x', 'y', 'z']);
  });

  it.each([
    ['broken JSON', '{\n"a": }', 'broken-json'],
    ['another file', '{"_meta":{"file-type":"x"}}', 'not-a-lock'],
    ['a list', '[]', 'not-a-lock'],
    ['a newer version', lock({}, [], 9), 'unknown-lock-version'],
    ['an edge to nowhere', lock({ a: node('a', 'b') }), 'missing-node'],
    ['a root to nowhere', lock({}, [{ hash: 'x', spec: 'x' }]), 'missing-node'],
    ['a cycle', lock({ a: node('a', 'b'), b: node('b', 'a') }), 'cyclic-lock'],
    ['a node without a name', lock({ a: { version: '1' } }), 'bad-node'],
    ['a node that is a text', lock({ a: 'x' }), 'bad-node'],
    ['a dependency without a hash', lock({ a: { ...node('a'), dependencies: [{ name: 'b' }] } }), 'bad-node'],
    ['roots that are no list', lock({}, {} as never), 'bad-lock'],
  ])('refuses %s', (_name, text, code) => {
    expect(() => parseLock(text)).toThrowError(SpackEnvError);
    try {
      parseLock(text);
    } catch (error) {
      expect((error as SpackEnvError).findings[0]!.code).toBe(code);
    }
  });

  const escaped = '\u001b]0;title\u0007';
  const hostile: [string, object][] = [
    ['a name with a line end', { name: 'a\nJOBS\ntouch x' }],
    ['a name that leads up', { name: '../../etc' }],
    ['a name that is a command', { name: 'a$(touch x)' }],
    ['a name with an escape sequence', { name: escaped }],
    ["a name that is an expression of GitHub's", { name: `$${'{{ secrets.KEY }}'}` }],
    ['a version with a line end', { version: '1\n2' }],
    ['a version that leads up', { version: '../../x' }],
    ['a version that leads up from a branch', { version: 'git.a/../../b=1' }],
    ['a version that is a command', { version: '1;reboot' }],
    ['a hash that leads up', { hash: '../x' }],
    ['a namespace that is a command', { namespace: 'a`b`' }],
    ['a target with a line end', { arch: { platform: 'linux', platform_os: 'debian12', target: 'zen2\nx' } }],
    ['a platform that is no text', { arch: { platform: 7 } }],
    ['a compiler that is a command', { compiler: { name: 'gcc;x', version: '1' } }],
    ['a variant with a line end in its name', { parameters: { 'a\nb': true } }],
    ['a variant with an escape sequence', { parameters: { a: [escaped] } }],
    ['a path with a line end', { external: { path: '/usr\n/x' } }],
    ['a module with an escape sequence', { external: { path: '/usr', module: [escaped] } }],
    ['a build spec that leads up', { build_spec: { name: 'a', hash: '../x' } }],
    ['a patch with a line end', { patches: ['a\nb'] }],
    ['a provided virtual that is a command', { provided_virtuals: ['c;x'] }],
    [
      'a virtual with a line end',
      { dependencies: [{ name: 'b', hash: 'b', parameters: { deptypes: [], virtuals: ['c\n'] } }] },
    ],
    ['a dependency that leads up', { dependencies: [{ name: '../b', hash: 'b', parameters: {} }] }],
    [
      'a dependency type that is none',
      { dependencies: [{ name: 'b', hash: 'b', parameters: { deptypes: ['link\n'] } }] },
    ],
  ];

  it.each(hostile)('refuses %s, and prints nothing that steers a terminal', (_name, more) => {
    try {
      parseLock(lock({ a: { ...node('a'), ...more }, b: node('b') }));
    } catch (error) {
      expect((error as SpackEnvError).code).toBe('bad-node');
      expect((error as SpackEnvError).message).toMatch(/^The node \/[^\u0000-\u001f\u007f-\u009f]*$/);
      return;
    }
    expect.fail('it was accepted');
  });

  it.each<[string, object[], object]>([
    ['a root with a line end', [{ hash: 'a', spec: 'a\nb' }], {}],
    ['a group with an escape sequence', [{ hash: 'a', spec: 'a', group: escaped }], {}],
    ['a Spack with a line end', [], { spack: { version: '1\nx', type: 'git' } }],
  ])('refuses %s', (_name, roots, more) => {
    expect(() => parseLock(lock({ a: node('a') }, roots, 7, more))).toThrowError(
      /^spack\.lock:1:\d+: [ -~]*$/,
    );
  });

  it('takes versions of git, with a branch of several parts', () => {
    const text = lock({ a: { ...node('a'), version: 'git.feature/x-1=1.2' } });
    expect(parseLock(text).nodes.get('a')!.version).toBe('git.feature/x-1=1.2');
  });

  it('says where broken JSON breaks', () => {
    expect(() => parseLock('{\n"a": }')).toThrowError(/^spack\.lock:2:6: /);
  });
});

describe('locks of newer Spacks', () => {
  const fixture = (name: string) =>
    parseLock(readFileSync(new URL(`../../fixtures/${name}/spack.lock`, import.meta.url), 'utf8'));

  it('have roots in groups since version 7 (Spack 1.2)', () => {
    const { version, roots, nodes } = fixture('lock-7');
    expect(version).toBe(7);
    expect(roots.map(({ spec, group }) => [spec, group])).toEqual([
      ['quickstart-suite', 'suite'],
      ['hello-static', 'tools'],
    ]);
    expect(nodes.size).toBe(12);
  });

  it('name the virtuals that a node provides since version 8 (Spack 1.3)', () => {
    const { version, specfileVersion, nodes, roots } = fixture('lock-8');
    expect([version, specfileVersion]).toEqual([8, 6]);
    const providers = [...nodes.values()].filter(({ providedVirtuals }) => providedVirtuals.length > 0);
    expect(providers.map(({ name, providedVirtuals }) => [name, providedVirtuals])).toEqual([
      ['gcc', ['c', 'cxx']],
      ['glibc', ['libc']],
    ]);
    expect(satisfies(nodes.get(roots[0]!.hash)!, 'quickstart-suite ^libgreet %gcc', nodes)).toBe(true);
  });

  it('have dag hashes that follow from their content', () => {
    for (const { hash, raw } of fixture('lock-8').nodes.values()) {
      const { hash: _, ...content } = raw;
      const digest = createHash('sha1').update(JSON.stringify(content)).digest('hex');
      const bits = [...digest]
        .map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0'))
        .join('');
      const letters = (bits.match(/.{5}/g) ?? []).map(
        (five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five, 2)],
      );
      expect(letters.join('')).toBe(hash);
    }
  });

  it('are named with the versions that are known, when they are newer still', () => {
    expect(() => parseLock(lock({}, [], 9))).toThrowError(
      /spack\.lock:1:\d+: .*lockfile-version 9; versions 1 to 8 are known/,
    );
  });

  it('put roots without a group into the default one', () => {
    const { roots } = parseLock(lock({ a: node('a') }, [{ hash: 'a', spec: 'a' }], 7));
    expect(roots[0]!.group).toBe('default');
  });
});

describe('walks', () => {
  const { nodes } = parseLock(
    lock({ a: node('a', 'b', 'c'), b: node('b', 'd'), c: node('c', 'd'), d: node('d'), e: node('e') }),
  );

  it('order dependencies before dependents', () => {
    expect(names(topological(nodes))).toEqual(['d', 'b', 'c', 'a', 'e']);
  });

  it('go down', () => {
    expect(names(reachable(nodes, ['b']).values())).toEqual(['b', 'd']);
  });

  it('follow only the types that are asked for', () => {
    expect(names(reachable(nodes, ['a'], ['build']).values())).toEqual(['a']);
    expect(names(reachable(nodes, ['a'], ['run', 'link']).values())).toEqual(['a', 'b', 'c', 'd']);
  });

  it('agree with each other on any graph without cycles', () => {
    const graph = fc
      .array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: 1, maxLength: 30 })
      .map((edges) =>
        Object.fromEntries(
          edges.map((to, i) => [
            `n${i}`,
            node(`n${i}`, ...new Set(i === 0 ? [] : to.map((j) => `n${j % i}`))),
          ]),
        ),
      );
    fc.assert(
      fc.property(graph, (raw) => {
        const { nodes } = parseLock(lock(raw));
        const place = new Map(topological(nodes).map(({ hash }, i) => [hash, i]));
        expect(place.size).toBe(nodes.size);
        for (const { hash, dependencies } of nodes.values()) {
          for (const edge of dependencies) {
            expect(place.get(edge.hash)!).toBeLessThan(place.get(hash)!);
            expect(reachable(nodes, [hash]).has(edge.hash)).toBe(true);
          }
        }
      }),
    );
  });

  it('do not mind a chain of many thousand nodes', () => {
    const chain = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`n${i}`, node(`n${i}`, ...(i === 0 ? [] : [`n${i - 1}`]))]),
    );
    expect(topological(parseLock(lock(chain)).nodes)[0]!.name).toBe('n0');
  });
});

const locks = fileURLToPath(new URL('../../../../../shared/data/locks', import.meta.url));

describe.skipIf(!existsSync(locks))('real locks (needs ../shared/data)', () => {
  it.each(existsSync(locks) ? readdirSync(locks).map((name) => [name]) : [])(
    '%s reads, and each root satisfies itself',
    (name) => {
      const { nodes, roots, spack } = parseLock(readFileSync(`${locks}/${name}/spack.lock`, 'utf8'));
      expect(spack!.version).toMatch(/^\d/);
      for (const root of roots) {
        expect(satisfies(nodes.get(root.hash)!, root.spec, nodes)).toBe(true);
      }
    },
  );
});

describe('a node of a lock', () => {
  const { nodes } = parseLock(
    lock({
      abcdef: {
        ...node('hdf5', 'mpich'),
        version: '1.14',
        parameters: { mpi: true, api: 'v18', patches: ['59207b1234'], cflags: ['-O2'] },
        dependencies: [
          { name: 'openmpi', hash: 'm', parameters: { deptypes: ['build', 'link'], virtuals: ['mpi'] } },
          { name: 'gcc', hash: 'g', parameters: { deptypes: ['build'], virtuals: ['c', 'cxx'] } },
        ],
      },
      m: node('openmpi', 'h'),
      h: node('hwloc'),
      g: { ...node('gcc'), version: '12.2.0' },
      old: { ...node('tcl'), compiler: { name: 'clang', version: '15.0' } },
    }),
  );
  const hdf5 = nodes.get('abcdef')!;

  it.each([
    ['hdf5@1.14+mpi api=v18', true],
    ['^mpi', true],
    ['^mpi=openmpi ^hwloc', true],
    ['%hwloc', false],
    ['%gcc@12', true],
    ['%c,cxx=gcc', true],
    ['%fortran=gcc', false],
    ['^[deptypes=link] gcc', true],
    ['%[deptypes=link] gcc', false],
    ['/abc', true],
    ['target=x86_64:', true],
    ['cflags=-O2', true],
    ['patches=59207b1', true],
    ['~mpi', false],
  ])('satisfies %s: %s', (spec, expected) => {
    expect(satisfies(hdf5, spec, nodes)).toBe(expected);
  });

  it('has a compiler attribute in locks of Spack 0.x', () => {
    const old = nodes.get('old')!;
    expect(satisfies(old, 'tcl %clang@15', nodes)).toBe(true);
    expect(satisfies(old, '%gcc', nodes)).toBe(false);
    expect(format(old, '{compiler.name}-{compiler.version}{%compiler}')).toBe('clang-15.0%clang@=15.0');
  });

  it.each([
    ['{name}{@version}{/hash:3}', 'hdf5@1.14/abc'],
    ['{variants}', '+mpi api=v18 patches:=59207b1'],
    ['{%compiler.name}{@compiler.version}', '%gcc@12.2.0'],
    ['{^mpi.name}', 'openmpi'],
    [
      '{short_spec}',
      'hdf5@1.14+mpi api=v18 patches:=59207b1 platform=linux os=debian12 target=x86_64/abcdef',
    ],
    ['{compilers}', '%c,cxx=gcc@12.2.0'],
  ])('fills %s with %s', (text, expected) => {
    expect(format(hdf5, text, {}, nodes)).toBe(expected);
  });

  it('prints as its name, version and hash', () => {
    expect(formatSpec(concreteSpec(hdf5, nodes))).toBe('hdf5@1.14/abcdef');
  });
});
