export { junitXml } from './junit.js';
export type { JobState, PageOptions, Section, State } from './page.js';
export { renderPage } from './page.js';
export type { Counts, JobFailure, JobRecord, RootFailure, RunRecord } from './record.js';
export { countsOf, rootFailures, titleOf } from './record.js';
export type { SummaryOptions } from './summary.js';
export { commentMark, commentMarkdown, excerptOf, summaryMarkdown, verdict } from './summary.js';
