export { CdashClient, type CdashOptions, type Submitted } from './client.js';
export { type CdashFile, cdashFiles, doneXml } from './document.js';
export { CdashError, type CdashErrorCode } from './error.js';
export { type BuildLog, type Finding, type LogPhase, readBuildLog } from './log.js';
export type { BuildIdentity, Host, PackageReport, PhaseTime, TestResult } from './report.js';
