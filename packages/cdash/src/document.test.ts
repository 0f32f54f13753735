import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { XMLParser } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { type CdashFile, cdashFiles, doneXml, type PackageReport, readBuildLog } from './index.js';
import { log, report } from './testing.js';

const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@', parseTagValue: false });
// biome-ignore lint/suspicious/noExplicitAny: a parsed document has no type
const parse = (files: readonly CdashFile[], kind: string): any => {
  const file = files.find((one) => one.kind === kind);
  return file && parser.parse(file.text);
};
const everything = () =>
  report({
    tests: [
      { name: 'runs', status: 'passed', seconds: 1.5, output: '\u001b[31mred\u001b[0m' },
      { name: 'draws', status: 'failed', command: "sh -c 'a && b'", output: 'no' },
      { name: 'prints', status: 'skipped' },
    ],
    revision: 'f'.repeat(40),
    notes: [{ name: 'spack.yaml', text: 'spack: {specs: [a & b]}' }],
    attachments: [{ name: 'spack-build-out.txt', content: Buffer.from(log) }],
  });

describe('the files of a build', () => {
  it('come in the order that CDash wants, with what there is to tell', () => {
    expect(cdashFiles(everything()).map((file) => file.kind)).toEqual([
      'Update',
      'Configure',
      'Build',
      'Test',
      'Notes',
      'Upload',
    ]);
    const quiet = report({ log: readBuildLog("==> a: Executing phase: 'install'\n"), outcome: 'passed' });
    expect(cdashFiles(quiet).map((file) => file.kind)).toEqual(['Update', 'Build']);
  });

  it('call the build the same everywhere, without the quote that CDash would double', () => {
    const files = cdashFiles(everything());
    const name = 'zlib@1.3.1 %gcc hash=abcdef (its)';
    expect(parse(files, 'Update').Update.BuildName).toBe(name);
    for (const kind of ['Configure', 'Build', 'Test', 'Notes', 'Upload']) {
      expect(parse(files, kind).Site).toMatchObject({
        '@BuildName': name,
        '@BuildStamp': '20261123-2300-Nightly',
        '@Name': 'Big & small <site>',
        '@Generator': 'stackwright 0.1.0',
      });
    }
  });

  it('put into CDATA what CDash would cut at an entity', () => {
    const text = cdashFiles(everything()).map((file) => file.text);
    expect(text[0]).toContain('<Site><![CDATA[Big & small <site>]]></Site>');
    expect(text[2]).toContain('<Label><![CDATA[a & b]]></Label>');
    expect(text[2]).toContain("<BuildCommand><![CDATA[stackwright rebuild --hash abcdef && echo 'a' < b]]>");
  });

  it('divide the time, the log and the findings between configuring and building', () => {
    const files = cdashFiles(report({ times: [{ name: 'configure', seconds: 20 }] }));
    const { Configure } = parse(files, 'Configure').Site;
    expect(Configure).toMatchObject({ ConfigureStatus: '0', ElapsedMinutes: '0.333' });
    expect(Configure.Log).toContain('configure: WARNING: no zstd');
    expect(Configure.Log).not.toContain('make');
    const { Build } = parse(files, 'Build').Site;
    expect(Build).toMatchObject({
      ElapsedMinutes: '0.667',
      Warning: {
        Text: 'a.c:3:2: warning: x < y && "z" [-Wcompare]',
        SourceFile: 'a.c',
        SourceLineNumber: '3',
      },
    });
    expect(Build.Error.map((error: { BuildLogLine: string }) => error.BuildLogLine)).toEqual(['9', '10']);
    expect(Number(Build.StartBuildTime) - Number(Configure.StartConfigureTime)).toBe(20);
  });

  it('never let a failed build look green', () => {
    const silent = parse(
      cdashFiles(report({ log: readBuildLog('nothing to see\n'), failure: 'make ended with 2.' })),
      'Build',
    );
    expect(silent.Site.Build.Error).toMatchObject({
      Text: 'make ended with 2.',
      PreContext: 'nothing to see',
    });
    const empty = parse(cdashFiles(report({ log: readBuildLog('') })), 'Build');
    expect(empty.Site.Build.Error.Text).toBe('The build failed.');
    const configuring = cdashFiles(
      report({ log: readBuildLog(log.split("==> zlib: Executing phase: 'build'")[0]!) }),
    );
    expect(parse(configuring, 'Configure').Site.Configure.ConfigureStatus).toBe('1');
  });

  it('show no errors of a build that passed all the same', () => {
    const { Build } = parse(cdashFiles(report({ outcome: 'passed' })), 'Build').Site;
    expect(Build.Error).toBeUndefined();
    expect(Build.Warning).toBeDefined();
  });

  it('say how many findings they leave out', () => {
    const many = Array.from({ length: 250 }, (_, at) => `a.c:${at + 1}: error: no`).join('\n');
    const { Error: errors } = parse(cdashFiles(report({ log: readBuildLog(many) })), 'Build').Site.Build;
    expect(errors).toHaveLength(101);
    expect(errors[50].Text).toBe('150 more errors from line 51 on are left out here; the log has all.');
    expect(errors[100].BuildLogLine).toBe('250');
  });

  it('express a skipped test so that CDash takes it, and its output as a zlib stream', () => {
    const tests = parse(cdashFiles(everything()), 'Test').Site.Testing.Test;
    expect(tests.map((test: { '@Status': string }) => test['@Status'])).toEqual([
      'passed',
      'failed',
      'notrun',
    ]);
    const { '#text': value } = tests[0].Results.Measurement.Value;
    expect(inflateSync(Buffer.from(value, 'base64')).toString()).toBe('red');
  });

  it('refuse an attachment without an extension, over which CDash fails', () => {
    const attachments = [{ name: 'log', content: Buffer.from('x') }];
    expect(() => cdashFiles(report({ attachments }))).toThrow('with an extension');
  });

  it('cut a name of over 255 characters in the middle', () => {
    const long = (end: string) => report({ build: { ...report().build, name: `${'n'.repeat(400)} ${end}` } });
    const nameOf = (one: PackageReport) => parse(cdashFiles(one), 'Build').Site['@BuildName'] as string;
    expect(nameOf(long('a')).length).toBeLessThanOrEqual(255);
    expect(nameOf(long('a'))).not.toBe(nameOf(long('b')));
  });

  it('are well-formed whatever a log holds', () => {
    const strict = new XMLParser({ processEntities: true });
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 60 }),
        fc.string({ maxLength: 40 }),
        (line, name) => {
          const text = `a.c:1: error: ${line}\n${line}`;
          const notes = [{ name: `n${name}`, text: line }];
          for (const file of cdashFiles(report({ log: readBuildLog(text), notes, failure: line }))) {
            expect(file.text).not.toMatch(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/);
            expect(Buffer.from(file.text).toString()).toBe(file.text);
            strict.parse(file.text, true);
          }
        },
      ),
    );
  });
});

const shared = fileURLToPath(new URL('../../../../shared/data/cdash/schemas', import.meta.url));
const hasParts = existsSync(shared) && spawnSync('xmllint', ['--version']).status === 0;

describe.skipIf(!hasParts)(
  "CDash's schemas (need ../shared, and xmllint: apt-get install libxml2-utils)",
  () => {
    it.each([
      ['of a failure', everything()],
      ['of a success', report({ outcome: 'passed' })],
      ['without a log', report({ log: readBuildLog('') })],
      [
        'with 300 findings',
        report({ log: readBuildLog('x.c:1: warning: w\ny.c:2: error: e\n'.repeat(150)) }),
      ],
    ])('take the files %s', (_, one) => {
      const folder = mkdtempSync(join(tmpdir(), 'stackwright-cdash-'));
      try {
        const files = [...cdashFiles(one), { kind: 'Done', text: doneXml(4, new Date()) }];
        for (const { kind, text } of files) {
          writeFileSync(join(folder, `${kind}.xml`), text);
          const check = spawnSync(
            'xmllint',
            ['--noout', '--schema', join(shared, `${kind}.xsd`), join(folder, `${kind}.xml`)],
            { encoding: 'utf8' },
          );
          expect(check.stderr).toContain('validates');
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  },
);
