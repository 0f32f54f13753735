import type { Define } from '../command.js';
import { define as copy } from './mirror/copy.js';
import { define as index } from './mirror/index.js';
import { define as list } from './mirror/list.js';
import { define as migrate } from './mirror/migrate.js';
import { define as prune } from './mirror/prune.js';
import { define as publish } from './mirror/publish.js';
import { define as pull } from './mirror/pull.js';
import { define as push } from './mirror/push.js';
import { define as sign } from './mirror/sign.js';
import { define as sync } from './mirror/sync.js';
import { define as verify } from './mirror/verify.js';

const subcommands = [
  ['list', 'list the packages of a mirror', list],
  ['verify', 'check every signature, checksum and dependency of a mirror', verify],
  ['push', 'pack installed packages, sign them and push them to a mirror', push],
  ['pull', 'unpack packages of a mirror into a folder and relocate them', pull],
  ['index', 'update the index of a mirror', index],
  ['copy', 'copy packages from one mirror to another', copy],
  ['sync', 'make one mirror hold exactly the packages of another', sync],
  ['publish', 'copy the packages that a given key has signed to another mirror', publish],
  ['sign', 'verify packages with one key and sign them with another', sign],
  ['prune', 'delete packages that nothing needs, and orphaned blobs', prune],
  ['migrate', 'convert a mirror of the old layout v2 to v3', migrate],
] as const;

export const define: Define = (command, context) => {
  for (const [name, summary, subcommand] of subcommands) {
    const made = command
      .command(name)
      .summary(summary)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
      .option('--debug', 'print a stack trace with an error');
    subcommand(made, context);
  }
  command.addHelpText(
    'after',
    `
A mirror is a path, or a URL: file:///PATH, s3://BUCKET/PREFIX, or
http(s)://HOST/PATH (to read only), oci://REGISTRY/REPOSITORY (oci+http://
without TLS). For S3 servers other than Amazon's set S3_ENDPOINT_URL. A registry
has no place for public keys, so name those to trust with --trust; all commands
but migrate take one.`,
  );
};
