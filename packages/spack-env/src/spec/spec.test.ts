import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  constrain,
  format,
  formatSpec,
  intersects,
  parseSpec,
  parseSpecs,
  SpackEnvError,
  satisfies,
} from '../index.js';

const truth = new URL('../../../../../shared/data/spec-strings.json', import.meta.url);
const host = { platform: 'linux', os: 'debian12', target: 'zen2' };
const canonical = (text: string) => formatSpec(parseSpec(text, { host }));

describe('parseSpec and formatSpec', () => {
  it.each([
    ['foo.bar.zlib@1.2', 'zlib@1.2'],
    ['zlib @ 1.2:1.4', 'zlib@1.2:1.4'],
    ['x ~b+a  -c', 'x+a~b~c'],
    ['x --shared ++static', 'x~~shared++static'],
    ['x v=b,a w:=1,2', 'x v=a,b w:=1,2'],
    ['x v=TRUE w=false', 'x+v~w'],
    ['x v=*', "x v='*'"],
    ['x v="it\'s"', 'x v="it\'s"'],
    ['x cflags="-O2 -g" ldflags==-lm', "x cflags='-O2 -g' ldflags==-lm"],
    ['x arch=linux-rhel9-zen2', 'x platform=linux os=rhel9 target=zen2'],
    ['x arch=zen2:', 'x target=zen2:'],
    ['x os=default_os', 'x platform=linux os=debian12'],
    ['x/abc123', 'x/abc123'],
    ['x ^b ^a %gcc@12', 'x ^a %gcc@12 ^b'],
    ['x %clang', 'x %clang'],
    ['x %%gcc', 'x %%gcc'],
    ['x %[virtuals=cxx,c] gcc', 'x %c,cxx=gcc'],
    ['x %c=gcc %cxx=gcc@12', 'x %c,cxx=gcc@12'],
    ['x ^[deptypes=link,build when=+a] y', "x ^[when='+a' deptypes=build,link] y"],
    ['x ^', 'x ^*'],
    ['x ^*@1.2', 'x ^@1.2'],
    ['* +a', '+a'],
    ['', ''],
  ])('reads %j as %j', (text, expected) => {
    expect(canonical(text)).toBe(expected);
  });

  it.each([
    ['x @', 3],
    ['foo bar', 5],
    ['x +a ~a', 6],
    ['x @1.2 @1.3', 8],
    ['x ^[deptypes=often] y', 5],
    ['x ^[color=red] y', 5],
    ['x ^y=z,w', 7],
    ['x%', 3],
    ['x@3:1', 2],
    ['x platform=linux platform=darwin', 18],
    ['x +arch', 3],
    ['x v=a,*', 3],
    ['x ./spec.json', 3],
    ['x]', 2],
  ])('refuses %j at column %i', (text, column) => {
    try {
      parseSpec(text);
    } catch (error) {
      expect(error).toBeInstanceOf(SpackEnvError);
      expect((error as SpackEnvError).findings[0]!.position).toMatchObject({ line: 1, column });
      return;
    }
    expect.fail('it was accepted');
  });

  it('reads several specs from one text', () => {
    expect(parseSpecs('zlib hdf5+mpi ^mpich %gcc cmake').map(formatSpec)).toEqual([
      'zlib',
      'hdf5+mpi ^mpich %gcc',
      'cmake',
    ]);
  });

  it('puts a toolchain in the place of its name', () => {
    const toolchains = {
      llvm_gfortran: [
        { spec: '%c=clang', when: '%c' },
        { spec: '%fortran=gcc@13', when: '%fortran' },
      ],
      all: '%c,cxx=gcc@14',
    };
    expect(formatSpec(parseSpec('x %llvm_gfortran ^y %all', { toolchains }))).toBe(
      "x %[when='%fortran'] fortran=gcc@13 %[when='%c'] c=clang ^y %c,cxx=gcc@14",
    );
  });

  it('parses what it prints to the same', () => {
    const name = fc.constantFrom('zlib', 'py-numpy', 'a1', '');
    const version = fc.constantFrom('', '@1.2', '@=1.2', '@1.2:', '@:1.4,1.6', '@develop', '@git.main=1.2');
    const variant = fc.constantFrom('', '+a', '~~b', ' v=x,y', ' w:=1', ' q="a b"', " e=''", ' cflags==-O2');
    const arch = fc.constantFrom('', ' target=zen2:', ' os=rhel9', ' arch=linux-None-zen3');
    const hash = fc.constantFrom('', '/abc');
    const node = fc.tuple(name, version, variant, arch, hash).map((parts) => parts.join(''));
    const edge = fc
      .tuple(
        fc.constantFrom(' ^', ' %', ' %%', ' ^[when=+a] ', ' %[virtuals=c] ', ' ^[deptypes=build] mpi='),
        name,
        version,
        hash,
      )
      .map(([sigil, child, ...rest]) => sigil + (child || 'gcc') + rest.join(''));
    fc.assert(
      fc.property(node, fc.array(edge, { maxLength: 4 }), (root, edges) => {
        let once: string;
        try {
          once = canonical(root + edges.join(''));
        } catch (error) {
          // Two edges to one package may exclude each other.
          expect(error).toBeInstanceOf(SpackEnvError);
          return;
        }
        // Spack prints a variant that may be anything as v='*', which it does not read again.
        expect(canonical(once)).toBe(once);
      }),
    );
  });

  it.skipIf(!existsSync(truth))('agrees with Spack on 6,060 spec strings (needs ../shared/data)', () => {
    const expected = JSON.parse(readFileSync(truth, 'utf8')) as Record<string, string | null>;
    const wrong = Object.entries(expected).filter(([text, want]) => {
      let got: string | null = null;
      try {
        got = canonical(text);
      } catch (error) {
        expect(error).toBeInstanceOf(SpackEnvError);
      }
      return got !== want;
    });
    expect(wrong).toEqual([]);
  });
});

describe('satisfies', () => {
  it.each([
    ['zlib@=1.2.3', 'zlib@1.2', true],
    ['zlib@1.2:', 'zlib@:1.4', false],
    ['zlib+shared', '+shared', true],
    ['zlib', '+shared', false],
    ['zlib', 'hdf5', false],
    ['x v=a,b', 'x v=a', true],
    ['x v=a', 'x v:=a', false],
    ['x v:=a', 'x v:=a', true],
    ['x target=zen3', 'x target=zen2:', true],
    ['x target=zen2', 'x target=zen3:', false],
    ['x target=haswell', 'x target=x86_64_v2:broadwell', true],
    ['x cflags="-O2 -g"', 'x cflags=-g', true],
    ['x/abcdef', '/abc', true],
    ['x %gcc@12', '%gcc', true],
    ['x ^y %gcc', '%gcc', false],
    ['x ^y+a', '^y', true],
    ['x %c,cxx=gcc', '%c=gcc', true],
    ['x %c=gcc', '%cxx=gcc', false],
    ['x ^mpi=openmpi', '^mpi', true],
    ['x ^[when=+a] y', '^y', false],
    ['x ++a', '+a', false],
  ])('%s satisfies %s: %s', (left, right, expected) => {
    expect(satisfies(left, right)).toBe(expected);
  });
});

describe('intersects', () => {
  it.each([
    ['zlib@1.2:', '@:1.4', true],
    ['zlib@:1.2', '@1.4:', false],
    ['x v=a', 'x v=b', true],
    ['x v:=a', 'x v=b', false],
    ['x target=:haswell', 'target=x86_64_v3:', true],
    ['x target=neoverse_v1:', 'target=zen2', false],
    ['x ^y@1', 'x ^y@2', false],
    ['x ^y@1', 'x ^z@2', true],
    ['gcc@14 %[deptypes=link] gcc@12', 'gcc@14 %[deptypes=link] gcc@12', true],
  ])('%s and %s: %s', (left, right, expected) => {
    expect(intersects(left, right)).toBe(expected);
    expect(intersects(right, left)).toBe(expected);
  });
});

describe('constrain', () => {
  it.each([
    ['zlib@1.2:', '@:1.4+shared', 'zlib@1.2:1.4+shared'],
    ['x v=a', 'v=b', 'x v=a,b'],
    ['x ++a', '+a', 'x+a'],
    ['x target=x86_64:', 'target=:zen2', 'x target=x86_64:zen2'],
    ['x cflags=-O2', 'cflags="-g -O2"', "x cflags='-O2 -g'"],
    ['x ^y@1:', '^y@:2 ^z', 'x ^y@1:2 ^z'],
    ['x ^mpi=mpich', '%mpich@3', 'x %mpi=mpich@3'],
    ['', 'builtin.x/abc', 'x/abc'],
  ])('%s with %s is %s', (left, right, expected) => {
    expect(formatSpec(constrain(parseSpec(left), parseSpec(right)))).toBe(expected);
  });

  it.each([
    ['zlib', 'hdf5'],
    ['a.zlib', 'b.zlib'],
    ['zlib@1', 'zlib@2'],
    ['x+a', 'x~a'],
    ['x os=rhel9', 'x os=rhel8'],
    ['x/abc', 'x/def'],
    ['x ^y+a', 'x ^y~a'],
    ['x', '^/abc'],
  ])('refuses %s with %s', (left, right) => {
    expect(() => constrain(parseSpec(left), parseSpec(right))).toThrowError(SpackEnvError);
  });
});

describe('format', () => {
  const spec = parseSpec(
    'builtin.hdf5@=1.14.3 +mpi api=v18 cflags=-O2 platform=linux os=rhel9 target=zen2 ^mpi=openmpi@5 %c=gcc@12',
  );
  it.each([
    ['{name}-{version}', 'hdf5-1.14.3'],
    ['{name}{@version}{variants}', 'hdf5@1.14.3+mpi api=v18'],
    ['{namespace}.{name}', 'builtin.hdf5'],
    ['{arch}', 'linux-rhel9-zen2'],
    ['{ platform=architecture.platform}', 'platform=linux'],
    ['{architecture.target.family}', 'x86_64'],
    ['{variants.mpi}{variants.api}', '+mpiapi=v18'],
    ['{variants.api.name}', 'api'],
    ['{version.up_to_2}{version.dashed}', '1.141-14-3'],
    ['{version.isdevelop}', 'False'],
    ['{^mpi.name}{@^mpi.version}', 'openmpi@5'],
    ['{^openmpi.compiler.name}', 'gcc'],
    ['{compiler}', 'none'],
    ['\\{{name}\\}', '{hdf5}'],
    ['{prefix}', '/opt/hdf5'],
  ])('fills %s with %s', (text, expected) => {
    expect(format(spec, text, { prefix: '/opt/hdf5' })).toBe(expected);
  });

  it('tells versions of moving branches from releases', () => {
    for (const version of ['develop', '1.main']) {
      expect(format(parseSpec(`x@=${version}`), '{version.isdevelop}')).toBe('True');
    }
  });

  it.each([
    '{name',
    'name}',
    '{}',
    '{name.}',
    '{_hidden}',
    '{@name}',
    '{%name}',
    '{/name}',
    '{nothing}',
    '{variants.nothing}',
    '{^nothing.name}',
    '{hash}',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Spack's old form
    '${PACKAGE}',
  ])('refuses %s', (text) => {
    expect(() => format(spec, text)).toThrowError(SpackEnvError);
  });
});
