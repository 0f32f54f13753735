import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type FileReader,
  formatSpec,
  parseLock,
  parseSpec,
  readEnvironment,
  SpackEnvError,
  upgradeManifest,
} from './index.js';

/** `STACKWRIGHT_TEST_FUZZ=100000` runs the whole of it; the usual run takes a sample. */
const numRuns = Number(process.env['STACKWRIGHT_TEST_FUZZ'] ?? 1_000);
const timeout = 60_000 + numRuns * 60;

const noFiles: FileReader = {
  kind: async () => undefined,
  read: async () => '',
};
const host = { platform: 'linux', os: 'debian12', target: 'zen2' };
const options = {
  host,
  hostname: 'here',
  env: { HOME: '/root' },
  home: '/root',
  user: 'me',
  tempdir: '/tmp',
  files: noFiles,
};

const specPiece = fc.constantFrom(
  ...[
    'zlib',
    'foo.bar',
    '@1.2',
    '@=1',
    '@:',
    '@1:2,3',
    '@git.main',
    '@git.a=1',
    ',',
    ':',
    '=',
    '==',
    ':=',
    '^',
    '%',
    '%%',
    '[',
    ']',
  ],
  ...[
    '+',
    '~',
    '-',
    '++',
    'a',
    'c,cxx=gcc',
    'when=',
    "'+x'",
    '"a b"',
    'deptypes=build',
    'virtuals=c',
    '*',
    '/',
    '/abc',
    '\\',
    '\n',
    '\t',
  ],
  ...[
    'arch=',
    'linux-debian12-zen2',
    'target=x86_64:',
    'os=fe',
    'cflags=',
    '-O2',
    'namespace=x',
    'é',
    '\u0000',
    '\ud800',
    "'",
    '"',
    ' ',
  ],
);
const specText = fc.oneof(
  fc.array(specPiece, { maxLength: 14 }).map((pieces) => pieces.join('')),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

const manifest = `# a comment
spack:
  include:
  - configs
  - path: more.yaml
    when: platform == "linux" and env.get("HOME") is not None or not re.match("x+", os)
    optional: true
  definitions:
  - compilers: ['%gcc@12', '%clang']
  - packages: [zlib, hdf5@1.12:+mpi]
    when: target in ("zen2", 'zen3')
  specs:
  - $packages
  - matrix: [[$packages], [$compilers], ['^zlib@1.2:']]
    exclude: ['hdf5 %clang']
  - {group: extra, specs: [tcl, &a tk], needs: [default]}
  - *a
  packages::
    all: {variants: +shared, require: ['%gcc', {one_of: [a, b]}]}
  mirrors: {m: {fetch: {url: s3://x, access_pair: {id_variable: I, secret_variable: S}}, push: /tmp/x, signed: true}}
  gitlab-ci:
    mappings:
    - match: [zlib]
      runner-attributes: {tags: [x], script: [y]}
    final-stage-rebuild-index: {tags: [z]}
  cdash: {build-group: g, url: https://x}
  view: {default: {root: view, link: run}}
  config: {install_tree: /opt, build_stage+: [a]}
  toolchains: {t: [{spec: '%c=gcc', when: '%c'}]}
  develop: {zlib: {spec: zlib@1, path: ../z}}
  concretization: together
`;

/** Small harm done to a text: pieces cut out, doubled, replaced by what means something in YAML. */
const harmed = (text: string) =>
  fc
    .array(
      fc.tuple(
        fc.nat(text.length),
        fc.nat(12),
        fc.constantFrom(
          '',
          ' ',
          '\n',
          ':',
          '- ',
          '  ',
          '{',
          '}',
          '[',
          ']',
          ',',
          '&a ',
          '*a',
          '!!',
          '"',
          "'",
          '\t',
          '#',
          '|',
          '>',
          '?',
          '<<: ',
          '@',
          '$',
          '~',
          'null',
          '1',
          '\u0000',
          '\ud83d',
          '(',
          ')',
        ),
      ),
      { minLength: 1, maxLength: 6 },
    )
    .map((cuts) =>
      cuts.reduce(
        (current, [at, length, insert]) => current.slice(0, at) + insert + current.slice(at + length),
        text,
      ),
    );

/** Whatever comes in, only the package's own error goes out. */
async function harmless(step: () => unknown): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof SpackEnvError)) throw error;
    expect(error.findings.length).toBeGreaterThan(0);
  }
}

describe(`fuzz, ${numRuns} cases each`, () => {
  it(
    'any text as a spec',
    async () => {
      await fc.assert(
        fc.asyncProperty(specText, (text) => harmless(() => formatSpec(parseSpec(text, { host })))),
        { numRuns },
      );
    },
    timeout,
  );

  it(
    'any text as a manifest',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            { weight: 9, arbitrary: harmed(manifest) },
            { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
          ),
          async (text) => {
            await harmless(() => readEnvironment(text, '/stack/spack.yaml', options));
            await harmless(() => upgradeManifest(text));
          },
        ),
        { numRuns },
      );
    },
    timeout,
  );

  it(
    'any text and any JSON as a lock',
    async () => {
      const lock = fc
        .record(
          {
            _meta: fc.constant({ 'file-type': 'spack-lockfile', 'lockfile-version': 6 }),
            roots: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant([{ hash: 'a', spec: 'x' }])),
            concrete_specs: fc.oneof(
              fc.jsonValue({ maxDepth: 3 }),
              fc.record({
                a: fc.record(
                  {
                    name: fc.constantFrom('x', 1),
                    version: fc.constantFrom('1', 1, null),
                    dependencies: fc.jsonValue({ maxDepth: 3 }),
                    parameters: fc.jsonValue(),
                    external: fc.jsonValue(),
                    arch: fc.jsonValue(),
                  },
                  { requiredKeys: [] },
                ),
              }),
            ),
            include_concrete: fc.jsonValue(),
          },
          { requiredKeys: ['_meta'] },
        )
        .map((value) => JSON.stringify(value));
      await fc.assert(
        fc.asyncProperty(fc.oneof(lock, fc.json(), fc.string()), (text) => harmless(() => parseLock(text))),
        { numRuns },
      );
    },
    timeout,
  );
});
