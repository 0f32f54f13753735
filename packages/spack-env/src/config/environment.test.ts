import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareLock,
  editManifest,
  type FileReader,
  formatFinding,
  type LoadOptions,
  loadEnvironment,
  parseLock,
  readEnvironment,
  SpackEnvError,
} from '../index.js';

const host = { platform: 'linux', os: 'debian12', target: 'zen2' };

/** Files by path; folders are where paths lead through. */
const filesOf = (files: Record<string, string>): FileReader => ({
  kind: async (path) => {
    if (files[path] !== undefined) return 'file';
    return Object.keys(files).some((file) => file.startsWith(`${path}/`)) ? 'folder' : undefined;
  },
  read: async (path) => files[path]!,
});

const read = (text: string, files: Record<string, string> = {}, options: LoadOptions = {}) =>
  readEnvironment(text, '/stack/spack.yaml', {
    host,
    env: { HOME: '/home/me', WHERE: 'elsewhere' },
    home: '/home/me',
    user: 'me',
    tempdir: '/tmp',
    files: filesOf(files),
    ...options,
  });

const specsOf = async (text: string, options: LoadOptions = {}) => {
  const environment = await read(text, {}, options);
  expect(environment.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  return environment.specs.map((spec) => spec.text);
};

const codesOf = async (text: string, files: Record<string, string> = {}, options: LoadOptions = {}) =>
  (await read(text, files, options)).findings.map(
    ({ code, position }) => `${code} ${position?.line}:${position?.column}`,
  );

const stacks = fileURLToPath(new URL('../../../../../shared/data/stacks', import.meta.url));
const expected = existsSync(stacks)
  ? readdirSync(stacks, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('expected-specs.json'))
      .sort()
  : [];

describe.skipIf(expected.length === 0)('real stacks (needs ../shared/data)', () => {
  it.each(expected.map((path) => [path.replace(/\/[^/]*$/, '')]))(
    '%s gives the specs that Spack lists',
    async (stack) => {
      const folder = join(stacks, stack);
      const environment = await loadEnvironment(folder, { host });
      expect(environment.findings.filter(({ severity }) => severity === 'error').map(formatFinding)).toEqual(
        [],
      );
      const wanted = JSON.parse(readFileSync(join(folder, 'expected-specs.json'), 'utf8'));
      expect(environment.specs.map(({ text }) => text)).toEqual(wanted);
    },
  );
});

describe('specs', () => {
  it('keep order and repetitions, and nothing asks for anything', async () => {
    expect(await specsOf('spack: {specs: [zlib, null, " zlib ", zlib@1.2:]}')).toEqual([
      'zlib',
      '',
      'zlib',
      'zlib@1.2:',
    ]);
  });

  it('add up definitions of one name whose conditions hold, in the place of the first', async () => {
    const text = `spack:
  definitions:
  - a: [x]
  - b: [$a]
  - a: [y]
    when: platform == "linux"
  - a: [z]
    when: platform == "darwin"
  specs: [$b, $a]`;
    expect(await specsOf(text)).toEqual(['x', 'y', 'x', 'y']);
  });

  it('multiply matrices out, the last row fastest, and leave out what is excluded', async () => {
    const text = `spack:
  specs:
  - matrix: [[hdf5, zlib@1.2:], [+a, ~a], ['%gcc', '%clang']]
    exclude: ['hdf5+a', '~a %clang']`;
    expect(await specsOf(text)).toEqual([
      'hdf5~a %gcc',
      'zlib@1.2:+a %gcc',
      'zlib@1.2:+a %clang',
      'zlib@1.2:~a %gcc',
    ]);
  });

  it('put a sigil in front of each element of a reference', async () => {
    const text = `spack:
  definitions: [{libs: [zlib, hdf5@1.12]}, {compilers: [gcc, clang]}]
  specs:
  - matrix: [[x], [$^libs], [$%compilers]]`;
    expect(await specsOf(text)).toEqual([
      'x %gcc ^zlib',
      'x %clang ^zlib',
      'x %gcc ^hdf5@1.12',
      'x %clang ^hdf5@1.12',
    ]);
  });

  it('share one matrix among all references to it, sigil included, as Spack does', async () => {
    const text = `spack:
  definitions: [{a: [{matrix: [[zlib, bar], ['@1', '@2']]}]}]
  specs:
  - matrix: [[x], [$^a]]
  - $a`;
    expect(await specsOf(text)).toEqual([
      ...['x ^zlib@1', 'x ^zlib@2', 'x ^bar@1', 'x ^bar@2'],
      ...['@1 ^zlib', '@2 ^zlib', '@1 ^bar', '@2 ^bar'],
    ]);
  });

  it('may stand in groups', async () => {
    const { specs, groups } = await read(`spack:
  specs:
  - zlib
  - group: compilers
    specs: [gcc@14, llvm]
  - group: apps
    needs: [compilers]
    matrix: [[hdf5], ['%gcc@14']]
    override: {packages: {all: {require: '%gcc@14'}}}`);
    expect(specs.map(({ text, group }) => `${group}: ${text}`)).toEqual([
      'default: zlib',
      'compilers: gcc@14',
      'compilers: llvm',
      'apps: hdf5 %gcc@14',
    ]);
    expect(groups[2]).toEqual({
      name: 'apps',
      needs: ['compilers'],
      explicit: true,
      override: { packages: { all: { require: '%gcc@14' } } },
      at: expect.objectContaining({ line: 6, column: 5 }),
    });
  });

  it('are read as Spack 0.23 did when asked to', async () => {
    const text = "spack: {specs: ['zlib %gcc@7 target=x86_64_v3 ~shared ^bar%clang']}";
    expect(await specsOf(text, { dialect: '0.x' })).toEqual([
      'zlib%gcc@7~shared arch=None-None-x86_64_v3 ^bar%clang',
    ]);
    expect(await specsOf(text)).toEqual(['zlib %gcc@7~shared target=x86_64_v3 ^bar %clang']);
  });

  it('number the product of the rows', async () => {
    const row = fc.integer({ min: 0, max: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 4 }), async (sizes) => {
        const rows = sizes.map((size, i) =>
          Array.from({ length: size }, (_, j) => (i === 0 ? `p${j}` : `v${i}=${j}`)),
        );
        const { specs } = await read(`spack: {specs: [{matrix: ${JSON.stringify(rows)}}]}`);
        expect(specs.length).toBe(sizes.reduce((product, size) => product * size, 1));
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['an unknown reference', 'spack: {specs: [$nope]}', 'unknown-definition 1:17'],
    ['a cycle', 'spack: {definitions: [{a: [$b]}, {b: [$a]}], specs: []}', 'unknown-definition 1:28'],
    ['a matrix without rows', 'spack: {specs: [{matrix: []}]}', 'bad-matrix 1:26'],
    ['a broken spec', 'spack: {specs: ["zlib @"]}', 'bad-spec 1:23'],
    ['rows that exclude each other', 'spack: {specs: [{matrix: [[x@1], ["@2"]]}]}', 'unsatisfiable 1:17'],
    ['a definition of two names', 'spack: {definitions: [{a: [], b: []}], specs: []}', 'bad-definition 1:23'],
    [
      'a condition out of bounds',
      'spack: {definitions: [{a: [x], when: import os}], specs: []}',
      'bad-condition 1:38',
    ],
    [
      'a group that is not there',
      'spack: {specs: [{group: a, needs: [b], specs: []}]}',
      'unknown-group 1:36',
    ],
    ['a group that needs itself', 'spack: {specs: [{group: a, needs: [a], specs: []}]}', 'cyclic-group 1:36'],
    [
      'groups that need each other',
      'spack: {specs: [{group: a, needs: [b], specs: []}, {group: b, needs: [c], specs: []}, {group: c, needs: [x, a], specs: []}, {group: x, specs: []}]}',
      'cyclic-group 1:109',
    ],
  ])('find %s', async (_name, text, code) => {
    expect(await codesOf(text)).toEqual([code]);
  });
});

describe('includes', () => {
  it('come below what includes them, the first highest', async () => {
    const { config, scopes, findings } = await read(
      `spack:
  include:
  - one.yaml
  - folder
  - {path: absent.yaml, optional: true}
  - {path: other.yaml, when: platform == "darwin"}
  packages: {all: {variants: +own}}
  specs: []`,
      {
        '/stack/one.yaml': 'packages: {all: {variants: +one, target: [x]}, zlib: {buildable: false}}',
        '/stack/folder/packages.yaml': 'packages: {all: {target: [y, x]}, "zlib:": {version: [1]}}',
        '/stack/folder/include.yaml': 'include: [../deep.yaml]',
        '/stack/deep.yaml': 'config: {build_jobs: 4}',
      },
    );
    expect(findings).toEqual([]);
    expect(config).toEqual({
      packages: {
        all: { variants: '+own', target: ['x', 'y'] },
        zlib: { buildable: false, version: [1] },
      },
      config: { build_jobs: 4 },
    });
    expect(scopes.map(({ path }) => path)).toEqual([
      '/stack/deep.yaml',
      '/stack/folder',
      '/stack/one.yaml',
      '/stack/spack.yaml',
    ]);
  });

  it('fill variables in', async () => {
    const { findings } = await read(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the manifest
      'spack: {include: ["$env/a.yaml", "~/b.yaml", "${WHERE}/$platform-$target_family.yaml", "$tempdir/$user.yaml"], specs: []}',
      {
        '/stack/a.yaml': '',
        '/home/me/b.yaml': '',
        '/stack/elsewhere/linux-x86_64.yaml': '',
        '/tmp/me.yaml': '',
      },
    );
    expect(findings).toEqual([]);
  });

  it('may replace all that is below the environment', async () => {
    const lower = { lower: ['/site'] };
    const files = { '/site/config.yaml': 'config: {build_jobs: 2}' };
    expect((await read('spack: {specs: []}', files, lower)).config).toEqual({ config: { build_jobs: 2 } });
    expect((await read('spack: {"include:": [], specs: []}', files, lower)).config).toEqual({});
  });

  it('are fetched by who loads, and checked', async () => {
    const text = 'config: {build_jobs: 3}';
    const sha256 = createHash('sha256').update(text).digest('hex');
    const fetched: string[] = [];
    const fetch = {
      url: async ({ url }: { url: string }) => {
        fetched.push(url);
        return new TextEncoder().encode(text);
      },
      git: async () => '/cache/repo',
    };
    const files = { '/cache/repo/ci/ci.yaml': 'ci: {target: gitlab}' };
    const manifest = `spack:
  include:
  - {path: 'https://github.com/o/r/blob/main/config.yaml', sha256: ${sha256}}
  - {git: 'https://git.example/r.git', commit: ${'c'.repeat(40)}, paths: [ci]}
  specs: []`;
    const { config, findings } = await read(manifest, files, { fetch });
    expect(findings).toEqual([]);
    expect(config).toEqual({ config: { build_jobs: 3 }, ci: { target: 'gitlab' } });
    expect(fetched).toEqual(['https://github.com/o/r/raw/main/config.yaml']);
    expect(await codesOf(manifest.replace(sha256, 'f'.repeat(64)), files, { fetch })).toEqual([
      'wrong-checksum 3:12',
    ]);
    expect(await codesOf(manifest)).toEqual(['remote-include 3:12', 'remote-include 4:11']);
    const nothing = { url: async () => undefined, git: async () => undefined };
    expect(await codesOf(manifest, files, { fetch: nothing })).toEqual([
      'remote-include 3:12',
      'remote-include 4:11',
    ]);
  });

  it('may be missing where they are optional', async () => {
    const git = async () => {
      throw new Error('no network.');
    };
    const manifest = (more: string) =>
      `spack: {include: [{git: 'https://git.example/r.git', branch: main, paths: [ci]${more}}], specs: []}`;
    const { findings } = await read(manifest(', optional: true'), {}, { fetch: { git } });
    expect(findings.map(({ code, message }) => [code, message])).toEqual([
      [
        'remote-include',
        'The included repository https://git.example/r.git was not fetched; it is left out: no network.',
      ],
    ]);
    await expect(read(manifest(''), {}, { fetch: { git } })).rejects.toThrow('no network.');
  });

  it.each([
    ['what is not there', 'spack: {include: [nope.yaml], specs: []}', 'missing-include 1:19'],
    ['itself', 'spack: {include: [loop.yaml], specs: []}', 'cyclic-include 1:11'],
    [
      'a URL without a checksum',
      'spack: {include: [{path: "https://x/y.yaml"}], specs: []}',
      'missing-checksum 1:26',
    ],
    [
      'a repository at no commit',
      'spack: {include: [{git: "https://x", paths: [a]}], specs: []}',
      'bad-include 1:25',
    ],
    [
      'a URL whose checksum is none',
      'spack: {include: [{path: "https://x/y.yaml", sha256: ../../x}], specs: []}',
      'bad-checksum 1:26',
    ],
    [
      'a part of a commit',
      'spack: {include: [{git: "https://x", commit: abc1234, paths: [a]}], specs: []}',
      'bad-include 1:46',
    ],
    ['a file with an unknown section', 'spack: {include: [bad.yaml], specs: []}', 'unknown-key 1:1'],
    [
      'an environment that is not there',
      'spack: {include_concrete: [/nope], specs: []}',
      'missing-include 1:28',
    ],
  ])('find %s', async (_name, text, code) => {
    const files = { '/stack/loop.yaml': 'include: [loop.yaml]', '/stack/bad.yaml': 'pakages: {}' };
    expect(await codesOf(text, files)).toEqual([code]);
  });
});

describe('the schema', () => {
  it.each([
    ['spack: {spec: []}', '1:9: Unknown key "spec" in "spack". Did you mean "specs"?'],
    [
      'spack: {config: {build_jobs: many}, specs: []}',
      '"spack.config.build_jobs" must be a whole number, not a text ("many").',
    ],
    ['spack: {packages: {zlib: {buildabel: false}}, specs: []}', 'Did you mean "buildable"?'],
    ['spack: {concretizer: {unify: sometimes}, specs: []}', 'must be one of when_possible'],
    ['spack: {mirrors: {m: {url: x, singed: true}}, specs: []}', 'Did you mean "signed"?'],
    ['spack: {view: {default: {link: all}}, specs: []}', 'lacks the key "root"'],
    ['spack: {specs: [[a]]}', 'must be a text or nothing or a mapping of keys, not a list'],
    ['spack: {specs: [1.2]}', 'Put it in quotes.'],
  ])('%s', async (text, message) => {
    const { findings } = await read(text);
    expect(findings.map(formatFinding).join('\n')).toContain(message);
  });

  it('reports everything at once, each with its place', async () => {
    const text =
      'spack:\n  sepcs: []\n  config:\n    build_jbos: 1\n    debug: maybe\n  ci:\n    pipeline-gen:\n    - biuld-job: {}\n';
    expect(await codesOf(text)).toEqual([
      'unknown-key 2:3',
      'unknown-key 4:5',
      'wrong-type 5:12',
      'unknown-key 8:7',
    ]);
  });

  it('only warns of unknown keys where the manifest is for an older Spack', async () => {
    const { findings } = await read(
      'spack: {specs: [], concretization: together, cdash: {build-group: a, url: b, tocken: c}}',
    );
    expect(findings.map(({ severity, code }) => [severity, code])).toEqual([
      ['note', 'legacy'],
      ['warning', 'unknown-key'],
    ]);
  });

  it('carries what is wrong and what was meant', async () => {
    const { findings } = await read('spack: {packages: {zlib: {require: "@1.2 +"}}, veiw: false, specs: []}');
    expect(
      findings.map(({ code, text, nearest, position }) => [code, text, nearest, position?.column]),
    ).toEqual([
      ['bad-spec', '+', undefined, 42],
      ['unknown-key', 'veiw', 'view', 48],
    ]);
  });

  it('refuses a file that is no environment', async () => {
    await expect(read('packages: {}')).rejects.toThrowError(/no key "spack"/);
    await expect(read('spack:')).rejects.toThrowError(SpackEnvError);
    await expect(loadEnvironment('/no/such/folder')).rejects.toThrowError(/does not exist/);
  });
});

describe('typed sections', () => {
  it('read mirrors in all their forms', async () => {
    const { mirrors } = await read(`spack:
  mirrors:
    plain: s3://bucket/path
    local: ./mirror
    full:
      fetch: https://x/y
      push:
        url: s3://bucket
        endpoint_url: https://minio
        access_pair: {id_variable: KEY, secret_variable: SECRET}
      signed: false
      source: false
      autopush: true
    old: {url: oci://registry/name, access_pair: [user, password]}
  specs: []`);
    const connection = {
      id: undefined,
      idVariable: undefined,
      secretVariable: undefined,
      tokenVariable: undefined,
      profile: undefined,
      endpointUrl: undefined,
      view: undefined,
    };
    expect(mirrors.map(({ name, fetch, push }) => [name, fetch, push])).toEqual([
      ['plain', { ...connection, url: 's3://bucket/path' }, { ...connection, url: 's3://bucket/path' }],
      [
        'local',
        { ...connection, url: 'file:///stack/mirror' },
        { ...connection, url: 'file:///stack/mirror' },
      ],
      [
        'full',
        { ...connection, url: 'https://x/y' },
        {
          ...connection,
          url: 's3://bucket',
          endpointUrl: 'https://minio',
          idVariable: 'KEY',
          secretVariable: 'SECRET',
        },
      ],
      [
        'old',
        { ...connection, url: 'oci://registry/name', id: 'user' },
        { ...connection, url: 'oci://registry/name', id: 'user' },
      ],
    ]);
    expect(mirrors[2]).toMatchObject({ signed: false, source: false, binary: true, autopush: true });
    expect(JSON.stringify(mirrors)).not.toContain('password');
  });

  it('read the index view of a mirror', async () => {
    const { mirrors, findings } = await read(`spack:
  mirrors:
    both: {url: https://x/y, view: tools}
    one: {fetch: {url: https://x/y, view: tools}, push: https://x/y}
  specs: []`);
    expect(findings).toEqual([]);
    expect(mirrors.map(({ fetch, push }) => [fetch.view, push.view])).toEqual([
      ['tools', 'tools'],
      ['tools', undefined],
    ]);
  });

  it('accept the sandbox of Spack 1.2', async () => {
    const text = 'spack: {config: {sandbox: {enable: ENABLE, allow_read: [/opt]}}, specs: []}';
    expect(await codesOf(text.replace('ENABLE', 'true'))).toEqual([]);
    expect(await codesOf(text.replace('ENABLE', 'often'))).toEqual(['wrong-type 1:36']);
  });

  it('take the lock of another environment from include, as Spack 1.2 does', async () => {
    const files = { '/a/spack.lock': '{}', '/a/spack.yaml': 'spack: {specs: []}', '/b/spack.lock': '{}' };
    const { includeConcrete, findings } = await read(
      'spack: {include: [../a/spack.lock, {path: /b/spack.lock}, {path: /c/spack.lock, optional: true}], specs: []}',
      files,
    );
    expect([includeConcrete, findings]).toEqual([['/a', '/b'], []]);
    expect(await codesOf('spack: {include: [../c/spack.lock], specs: []}')).toEqual(['missing-include 1:19']);
  });

  it('read groups: what they need, override and whether they are explicit', async () => {
    const { groups, specs } = await read(`spack:
  specs:
  - zlib
  - group: tools
    explicit: false
    specs: [cmake]
  - group: apps
    needs: [tools]
    override: {packages: {all: {require: ['%gcc']}}}
    specs: [hdf5]`);
    expect(specs.map(({ text, group }) => [text, group])).toEqual([
      ['zlib', 'default'],
      ['cmake', 'tools'],
      ['hdf5', 'apps'],
    ]);
    expect(groups).toEqual([
      { name: 'default', needs: [], override: {}, explicit: true, at: expect.objectContaining({ line: 3 }) },
      { name: 'tools', needs: [], override: {}, explicit: false, at: expect.objectContaining({ line: 4 }) },
      {
        name: 'apps',
        needs: ['tools'],
        override: { packages: { all: { require: ['%gcc'] } } },
        explicit: true,
        at: expect.objectContaining({ line: 7 }),
      },
    ]);
  });

  it('read views, develop and toolchains', async () => {
    const { views, develop, toolchains } = await read(`spack:
  view: {default: {root: view, link: run, exclude: ['%gcc']}, other: /x}
  develop: {zlib: {spec: zlib@1.3, path: ../src}, tcl: {spec: tcl}}
  toolchains: {t: '%c=gcc', u: [{spec: '%cxx=clang', when: '%cxx'}]}
  specs: []`);
    expect(views.map(({ name, root, link, exclude }) => [name, root, link, exclude])).toEqual([
      ['default', '/stack/view', 'run', ['%gcc']],
      ['other', '/x', 'all', []],
    ]);
    expect(develop).toEqual([
      { name: 'zlib', spec: 'zlib@1.3', path: '/src' },
      { name: 'tcl', spec: 'tcl', path: '/stack/tcl' },
    ]);
    expect(toolchains).toEqual({ t: '%c=gcc', u: [{ spec: '%cxx=clang', when: '%cxx' }] });
    expect((await read('spack: {view: false, specs: []}')).views).toEqual([]);
    expect((await read('spack: {specs: []}')).views[0]!.root).toBe('/stack/.spack-env/view');
  });

  it('keep the suffixes of keys inside lists, where nothing was merged', async () => {
    const { config } = await read(
      'spack:\n  ci:\n    pipeline-gen:\n    - build-job:\n        script::\n        - a\n        before_script-: [b]\n  specs: []',
    );
    expect(config['ci']).toEqual({
      'pipeline-gen': [{ 'build-job': { 'script:': ['a'], 'before_script-': ['b'] } }],
    });
  });
});

describe('compareLock', () => {
  const lock = (...roots: string[]) =>
    parseLock(
      JSON.stringify({
        _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6 },
        roots: roots.map((spec) => ({ hash: 'a', spec })),
        concrete_specs: { a: { name: 'zlib', version: '1' } },
      }),
    );

  it('finds what was added and what went', async () => {
    const environment = await read('spack: {specs: [zlib, "hdf5 +mpi", "x %t"], toolchains: {t: "%c=gcc"}}');
    const same = compareLock(environment, lock('hdf5+mpi', 'zlib', 'x %c=gcc'));
    expect(same).toEqual({ missing: [], extra: [], included: [] });
    const { missing, extra } = compareLock(environment, lock('zlib', 'tcl'));
    expect(missing.map(({ text }) => text)).toEqual(['hdf5+mpi', 'x %t']);
    expect(extra.map(({ spec }) => spec)).toEqual(['tcl']);
  });

  it('compares the concrete specs that are taken over from other environments', async () => {
    const including = (included: Record<string, string>) =>
      parseLock(
        JSON.stringify({
          _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6 },
          roots: [],
          concrete_specs: {},
          include_concrete: Object.fromEntries(
            Object.entries(included).map(([path, hash]) => [
              path,
              { roots: [{ hash, spec: 'x' }], concrete_specs: { [hash]: { name: 'x', version: '1' } } },
            ]),
          ),
        }),
      );
    const own = (hash: string) =>
      parseLock(
        JSON.stringify({
          _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': 6 },
          roots: [{ hash, spec: 'x' }],
          concrete_specs: { [hash]: { name: 'x', version: '1' } },
        }),
      );
    const environment = await read('spack: {include_concrete: [/a, ../b, /c], specs: []}');
    const { included } = compareLock(
      environment,
      including({ '/a': 'aaa', '/elsewhere/b': 'bbb', '/d': 'ddd' }),
      new Map([
        ['/a', own('new')],
        ['/b', own('bbb')],
      ]),
    );
    expect(included).toEqual([
      { path: '/a', change: 'changed' },
      { path: '/c', change: 'missing' },
      { path: '/d', change: 'extra' },
    ]);
    expect(compareLock(environment, including({ '/a': 'aaa', '/b': 'bbb', '/c': 'ccc' })).included).toEqual(
      [],
    );
  });

  describe('with groups', () => {
    const inGroups = (version: number, ...roots: { spec: string; group?: string }[]) =>
      parseLock(
        JSON.stringify({
          _meta: { 'file-type': 'spack-lockfile', 'lockfile-version': version },
          roots: roots.map((root) => ({ hash: 'a', ...root })),
          concrete_specs: { a: { name: 'zlib', version: '1' } },
        }),
      );
    const text = 'spack: {specs: [zlib, {group: g, specs: [zlib, tcl]}]}';

    it('tells a root of one group from the same root of another', async () => {
      const environment = await read(text);
      const all = [{ spec: 'zlib' }, { spec: 'zlib', group: 'g' }, { spec: 'tcl', group: 'g' }];
      expect(compareLock(environment, inGroups(7, ...all))).toEqual({ missing: [], extra: [], included: [] });
      const { missing, extra } = compareLock(
        environment,
        inGroups(7, { spec: 'zlib', group: 'g' }, { spec: 'tcl' }),
      );
      expect(missing.map(({ text, group }) => [text, group])).toEqual([
        ['zlib', 'default'],
        ['tcl', 'g'],
      ]);
      expect(extra.map(({ spec, group }) => [spec, group])).toEqual([['tcl', 'default']]);
    });

    it('compares only specs with a lock from before groups', async () => {
      const environment = await read(text);
      expect(compareLock(environment, inGroups(6, { spec: 'tcl' }, { spec: 'zlib' }))).toEqual({
        missing: [],
        extra: [],
        included: [],
      });
    });

    it('agrees with the manifests beside the newer locks', async () => {
      for (const name of ['lock-7', 'lock-8']) {
        const folder = new URL(`../../fixtures/${name}/`, import.meta.url);
        const environment = await loadEnvironment(fileURLToPath(folder));
        const difference = compareLock(
          environment,
          parseLock(readFileSync(new URL('spack.lock', folder), 'utf8')),
        );
        expect([environment.findings, difference]).toEqual([[], { missing: [], extra: [], included: [] }]);
      }
    });
  });
});

describe('editManifest', () => {
  it('keeps comments and order', () => {
    const text = '# top\nspack:\n  specs:\n  - zlib # keep\n  # why\n  - hdf5\n  view: true\n';
    const edited = editManifest(text, (document) => {
      document.addIn(['spack', 'specs'], 'tcl');
      document.setIn(['spack', 'view'], false);
    });
    expect(edited).toBe(
      '# top\nspack:\n  specs:\n  - zlib # keep\n  # why\n  - hdf5\n  - tcl\n  view: false\n',
    );
  });
});
