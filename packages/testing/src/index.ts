export { fillSourceMirror } from './debian-sources.js';
export type { RegistryServer } from './docker-registry.js';
export { has, htpasswd, startRegistry } from './docker-registry.js';
export { madeHash, madePackage } from './made-package.js';
export { nginxMissing, startNginx } from './nginx.js';
export type { S3Server } from './s3.js';
export { cephMissing, freePort, inParallel, startFaultyProxy, startS3, until } from './s3.js';
export { startVersitygw } from './versitygw.js';
