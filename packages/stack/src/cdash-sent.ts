import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CdashClient,
  cdashFiles,
  type PackageReport,
  type SubmitOptions,
  type Submitted,
} from '@stackwright/cdash';
import type { WorkFolder } from './work.js';

/** What a work folder knows of a build that was sent, as `cdash/HASH.json`. */
interface Sent {
  /** Where and as what. */
  readonly to: string;
  /** When the build started. */
  readonly started: string;
  /** Absent while it is sent, and after sending broke. */
  readonly submitted?: Submitted;
}

export interface SubmitOnceOptions extends SubmitOptions {
  /** Do not send what was sent in full. */
  readonly resend?: boolean;
}

/** Sends a build and remembers that, so that sending it again replaces what CDash has of it and nothing counts twice. */
export async function submitOnce(
  work: WorkFolder,
  client: CdashClient,
  report: PackageReport,
  { resend, again, signal }: SubmitOnceOptions,
): Promise<Submitted> {
  const { project, site, name, stamp } = report.build;
  const to = [client.base, project, site, name, stamp].join('\n');
  const started = report.started.toISOString();
  const folder = join(work.root, 'cdash');
  const file = join(folder, `${/hash=(\w+)/.exec(name)?.[1] ?? encodeURIComponent(name).slice(0, 200)}.json`);
  const before = await readSent(file, to);
  const known = before?.to === to ? before : undefined;
  if (resend && known?.submitted && known.started === started) return known.submitted;
  await mkdir(folder, { recursive: true });
  const note = (sent: Sent) => writeFile(file, `${JSON.stringify(sent)}\n`);
  // First, so that a program that ends in the middle leaves word of it.
  await note({ to, started });
  const submitted = await client.submit(report.build, cdashFiles(report), {
    again: again || known !== undefined,
    signal,
  });
  await note({ to, started, submitted });
  return submitted;
}

/** Undefined where nothing was sent. A file that is torn says that sending broke. */
async function readSent(file: string, to: string): Promise<Sent | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Sent;
  } catch {
    return { to, started: '' };
  }
}
