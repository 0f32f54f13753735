import { deflateSync } from 'node:zlib';
import { CdashError } from './error.js';
import type { Finding } from './finding.js';
import type { LogPhase } from './log.js';
import type { BuildIdentity, Host, PackageReport, TestResult } from './report.js';
import { legalText, nameText } from './text.js';
import { cdata, type XmlElement, xmlDocument } from './xml.js';

/** One file of a submission. */
export interface CdashFile {
  readonly kind: 'Update' | 'Configure' | 'Build' | 'Test' | 'Notes' | 'Upload' | 'Done';
  readonly text: string;
}

/** Phases that prepare a build, as Spack's build systems name them; the others build. */
const configurePhases = new Set([
  'autoreconf',
  'bootstrap',
  'cmake',
  'configure',
  'edit',
  'hostconfig',
  'initconfig',
  'meson',
  'qmake',
  'setup',
  'unpack',
]);
/** Errors and warnings of each kind that are sent; how many more there are is said. */
const findingLimit = 100;

/**
 * Everything that CDash is to know of a package's build, in the order in which it has to come, but for `doneXml`.
 * The files are valid by CDash 5.3's schemas, and hold what its parsers read.
 */
export function cdashFiles(report: PackageReport): CdashFile[] {
  const { tests = [], notes = [], attachments = [], outcome } = report;
  const update = { kind: 'Update', text: updateXml(report) } as const;
  if (outcome === 'blocked' || outcome === 'skipped') {
    return [update, { kind: 'Configure', text: notBuiltXml(report) }];
  }
  const sections = split(report);
  return [
    update,
    ...(sections.configure
      ? [{ kind: 'Configure' as const, text: configureXml(report, sections.configure) }]
      : []),
    { kind: 'Build', text: buildXml(report, sections) },
    ...(tests.length > 0 ? [{ kind: 'Test' as const, text: testXml(report, tests) }] : []),
    ...(notes.length > 0 ? [{ kind: 'Notes' as const, text: notesXml(report, notes) }] : []),
    ...(attachments.length > 0 ? [{ kind: 'Upload' as const, text: uploadXml(report, attachments) }] : []),
  ];
}

/** Says that a build is complete. Sent again after it, files replace the build instead of adding to it. */
export function doneXml(buildId: number, time: Date): string {
  return xmlDocument({ Done: { buildId, time: epoch(time) } });
}

interface Section {
  readonly start: number;
  readonly seconds: number;
  readonly phases: readonly LogPhase[];
}
interface Sections {
  readonly configure?: Section & { readonly failed: boolean };
  readonly build: Section;
}

/** What of a build was configuring, what building. Phases whose time is not known share what is left evenly. */
function split({ log, times = [], seconds, started, outcome }: PackageReport): Sections {
  const begin = started.getTime() / 1000;
  const { phases } = log;
  const last = phases.findLastIndex((phase) => configurePhases.has(phase.name));
  if (last < 0) return { build: { start: begin, seconds, phases } };
  const known = new Map(times.map((time) => [time.name, time.seconds]));
  const named = phases.filter(({ name }) => name !== '');
  const unknown = named.filter((phase) => !known.has(phase.name)).length;
  const rest = Math.max(0, seconds - [...known.values()].reduce((sum, one) => sum + one, 0));
  const secondsOf = ({ name }: LogPhase) => (name === '' ? 0 : (known.get(name) ?? rest / unknown));
  const before = phases.slice(0, last + 1);
  const taken = Math.min(
    seconds,
    before.reduce((sum, phase) => sum + secondsOf(phase), 0),
  );
  return {
    configure: {
      start: begin,
      seconds: taken,
      phases: before,
      // Nothing came after it: that is where the build stopped.
      failed: outcome === 'failed' && last === phases.length - 1,
    },
    build: { start: begin + taken, seconds: seconds - taken, phases: phases.slice(last + 1) },
  };
}

function updateXml({ build, generator, started, revision }: PackageReport): string {
  return xmlDocument({
    Update: {
      '@mode': 'Client',
      '@Generator': legalText(generator),
      Site: cdata(nameText(build.site, 'site')),
      BuildName: cdata(nameText(build.name, 'build name')),
      BuildStamp: cdata(nameText(build.stamp, 'build stamp')),
      StartTime: epoch(started),
      UpdateCommand: '',
      UpdateType: 'GIT',
      // CDash keeps 60 characters and fails over more.
      ...(revision ? { Revision: cdata(legalText(revision).slice(0, 60)) } : {}),
      EndTime: epoch(started),
      ElapsedMinutes: 0,
      UpdateReturnStatus: '',
    },
  });
}

function configureXml(report: PackageReport, section: Section & { readonly failed: boolean }): string {
  return siteDocument(report, {
    ...labelsOf(report),
    Configure: {
      StartConfigureTime: Math.floor(section.start),
      ConfigureCommand: legalText(report.command),
      Log: section.phases.map(({ text }) => text).join('\n'),
      // CDash takes this for the number of errors.
      ConfigureStatus: section.failed ? 1 : 0,
      EndConfigureTime: Math.floor(section.start + section.seconds),
      ElapsedMinutes: minutes(section.seconds),
    },
  });
}

/**
 * What was not built was not configured: so it is told from what was built and failed. A blocked package counts as one
 * error of configuring, one that was only skipped as none.
 */
function notBuiltXml(report: PackageReport): string {
  const { outcome, failure = 'Not built.', started, command } = report;
  const at = epoch(started);
  return siteDocument(report, {
    ...labelsOf(report),
    Configure: {
      StartConfigureTime: at,
      ConfigureCommand: legalText(command),
      Log: legalText(failure),
      ConfigureStatus: outcome === 'blocked' ? 1 : 0,
      EndConfigureTime: at,
      ElapsedMinutes: minutes(0),
    },
  });
}

function buildXml(report: PackageReport, { build, configure }: Sections): string {
  const { log, outcome } = report;
  const inBuild = log.findings.filter(({ line }) =>
    build.phases.some(({ from, to }) => line >= from && line <= to),
  );
  // The first is the one that people read: what only says that something failed comes after what did.
  const errors = inBuild
    .filter(({ kind }) => kind === 'error')
    .sort((a, b) => Number(a.follows ?? false) - Number(b.follows ?? false));
  // What a package got over is no error of it: CDash would show a build as broken whose binaries are in use.
  const shown = outcome === 'failed' ? errors : [];
  const warnings = inBuild.filter(({ kind }) => kind === 'warning');
  const count = (of: 'errors' | 'warnings') => build.phases.reduce((sum, phase) => sum + phase[of], 0);
  const unexplained = outcome === 'failed' && shown.length === 0 && !configure?.failed;
  return siteDocument(report, {
    Build: {
      ...labelsOf(report),
      StartBuildTime: Math.floor(build.start),
      BuildCommand: cdata(legalText(report.command)),
      Error: [...limited(shown, count('errors'), 'errors'), ...(unexplained ? [failureOf(report)] : [])],
      Warning: limited(warnings, count('warnings'), 'warnings'),
      EndBuildTime: Math.floor(build.start + build.seconds),
      ElapsedMinutes: minutes(build.seconds),
    },
  });
}

/** The first and the last findings; an error's cause stands at the start, what it came to at the end. */
function limited(findings: readonly Finding[], count: number, what: string): XmlElement[] {
  if (count <= findingLimit && findings.length <= findingLimit) return findings.map(findingXml);
  const half = findingLimit / 2;
  const left = Math.max(count, findings.length) - findingLimit;
  const gap = findings[half]!;
  return [
    ...findings.slice(0, half).map(findingXml),
    findingXml({
      ...gap,
      text: `${left} more ${what} from line ${gap.line} on are left out here; the log has all.`,
    }),
    ...findings.slice(-half).map(findingXml),
  ];
}

function findingXml({ line, text, file, fileLine, before, after }: Finding): XmlElement {
  return {
    BuildLogLine: line,
    Text: text,
    // CDash fails over a longer one.
    ...(file !== undefined && file.length <= 512 ? { SourceFile: file, SourceLineNumber: fileLine } : {}),
    // CDash puts them around the text as they are, with a line end after the text alone.
    PreContext: ended(before),
    PostContext: ended(after),
    RepeatCount: 0,
  };
}

function ended(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

function failureOf({ log, failure }: PackageReport): XmlElement {
  return findingXml({
    kind: 'error',
    line: log.lines,
    text: legalText(failure ?? 'The build failed.'),
    before: log.end,
    after: [],
  });
}

function testXml(report: PackageReport, tests: readonly TestResult[]): string {
  const end = report.started.getTime() / 1000 + report.seconds;
  const took = tests.reduce((sum, test) => sum + (test.seconds ?? 0), 0);
  return siteDocument(report, {
    Testing: {
      StartTestTime: Math.floor(end - took),
      TestList: { Test: tests.map((test) => `./${testName(test)}`) },
      Test: tests.map((test) => ({
        // A skipped one would make CDash refuse all of them.
        '@Status': test.status === 'skipped' ? 'notrun' : test.status,
        Name: testName(test),
        Path: '.',
        FullName: `./${testName(test)}`,
        FullCommandLine: legalText(test.command ?? ''),
        Results: {
          NamedMeasurement: [
            measurement('numeric/double', 'Execution Time', (test.seconds ?? 0).toFixed(2)),
            measurement(
              'text/string',
              'Completion Status',
              test.status === 'skipped' ? 'Skipped' : 'Completed',
            ),
          ],
          Measurement: {
            Value: {
              '@encoding': 'base64',
              // What CDash calls so is a zlib stream, and it fails over a gzip one.
              '@compression': 'gzip',
              '#text': deflateSync(legalText(test.output ?? '')).toString('base64'),
            },
          },
        },
        ...labelsOf(report),
      })),
      EndTestTime: Math.floor(end),
      ElapsedMinutes: minutes(took),
    },
  });
}

function measurement(type: string, name: string, value: string): XmlElement {
  return { '@type': type, '@name': name, Value: value };
}

function testName({ name }: TestResult): string {
  return nameText(name, 'name of a test');
}

function notesXml(report: PackageReport, notes: readonly { name: string; text: string }[]): string {
  const end = report.started.getTime() / 1000 + report.seconds;
  return siteDocument(report, {
    Notes: {
      Note: notes.map(({ name, text }) => ({
        '@Name': nameText(name, 'name of a note'),
        // Without a time CDash drops the note and says nothing.
        Time: Math.floor(end),
        Text: legalText(text),
      })),
    },
  });
}

function uploadXml(
  report: PackageReport,
  attachments: readonly { name: string; content: Uint8Array }[],
): string {
  return siteDocument(report, {
    Upload: {
      Time: Math.floor(report.started.getTime() / 1000 + report.seconds),
      File: attachments.map(({ name, content }) => {
        if (!/^[^/]+\.[^./]+$/.test(name)) {
          throw new CdashError(
            'invalid',
            `"${name}" can't be attached: CDash wants a file name with an extension.`,
          );
        }
        return {
          '@filename': nameText(name, 'name of a file'),
          Content: { '@encoding': 'base64', '#text': Buffer.from(content).toString('base64') },
        };
      }),
    },
  });
}

function siteDocument({ build, generator, host }: PackageReport, content: XmlElement): string {
  return xmlDocument({ Site: { ...siteAttributes(build, generator, host), ...content } });
}

function siteAttributes(build: BuildIdentity, generator: string, host: Host): XmlElement {
  const attribute = (name: string, value: string | undefined): XmlElement =>
    value === undefined ? {} : { [`@${name}`]: legalText(value) };
  return {
    '@BuildName': nameText(build.name, 'build name'),
    '@BuildStamp': nameText(build.stamp, 'build stamp'),
    '@Name': nameText(build.site, 'site'),
    ...attribute('Generator', generator),
    ...attribute('CompilerName', host.compiler?.name),
    ...attribute('CompilerVersion', host.compiler?.version),
    ...attribute('OSName', host.system),
    ...attribute('Hostname', host.name),
    ...attribute('OSRelease', host.release),
    ...attribute('OSPlatform', host.platform),
    ...attribute('VendorString', host.target),
  };
}

function labelsOf({ labels = [] }: PackageReport): XmlElement {
  return labels.length === 0
    ? {}
    : { Labels: { Label: labels.map((label) => cdata(nameText(label, 'label'))) } };
}

/** Seconds since 1970, whole: CDash's schemas take no others. */
function epoch(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}

function minutes(seconds: number): string {
  return (Math.max(0, seconds) / 60).toFixed(3);
}
