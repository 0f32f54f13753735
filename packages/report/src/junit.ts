import { legalText, xmlDocument } from '@stackwright/cdash';
import { type JobRecord, type RunRecord, titleOf } from './record.js';
import { excerptOf } from './summary.js';

/** A run as JUnit's XML, which GitLab and most CI systems show: each package is a test. */
export function junitXml({ stack, started, jobs }: RunRecord): string {
  const told = jobs.filter(({ state }) => state !== 'skip');
  const seconds = told.reduce((sum, job) => sum + (job.seconds ?? 0), 0);
  const counts = {
    '@tests': String(told.length),
    '@failures': String(told.filter(({ state }) => state === 'failed').length),
    '@errors': '0',
    '@skipped': String(told.filter(isSkipped).length),
    '@time': seconds.toFixed(3),
  };
  const name = legalText(stack);
  return xmlDocument({
    testsuites: {
      '@name': name,
      ...counts,
      testsuite: {
        '@name': name,
        ...counts,
        '@timestamp': started?.slice(0, 19),
        testcase: told.map((job) => testcase(name, job)),
      },
    },
  });
}

function testcase(stack: string, job: JobRecord) {
  const { failure, reason = '' } = job;
  return {
    '@classname': stack,
    '@name': legalText(titleOf(job)),
    '@time': (job.seconds ?? 0).toFixed(3),
    failure:
      job.state === 'failed'
        ? {
            '@message': legalText(failure?.text ?? reason),
            '@type': failure?.phase ?? 'build',
            '#text': legalText(failure ? excerptOf(failure) : reason),
          }
        : undefined,
    skipped: isSkipped(job) ? { '@message': legalText(reason || job.state) } : undefined,
  };
}

/** Neither built nor failed. */
function isSkipped({ state }: JobRecord): boolean {
  return state !== 'failed' && state !== 'done';
}
