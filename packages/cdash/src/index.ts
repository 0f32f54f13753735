export { CdashClient, type CdashOptions, type SubmitOptions, type Submitted } from './client.js';
export { type CdashFile, cdashFiles, doneXml } from './document.js';
export { CdashError, type CdashErrorCode } from './error.js';
export type { Finding } from './finding.js';
export {
  type BuildLog,
  type LogOptions,
  type LogPhase,
  LogReader,
  logTexts,
  readBuildLog,
  readLogTexts,
} from './log.js';
export type { BuildIdentity, Host, PackageReport, PhaseTime, TestResult } from './report.js';
export { TestReader } from './tests.js';
export { legalText } from './text.js';
export { type XmlElement, xmlDocument } from './xml.js';
