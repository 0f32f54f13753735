export { isNotFound, isPreconditionFailed, StorageError, type StorageErrorCode } from './error.js';
export { FolderStore } from './folder.js';
export { type HttpOptions, HttpStore } from './http.js';
export type { LockHolder } from './lock.js';
export { holdLock, locked, lockHolder } from './lock.js';
export { type OpenOptions, openStore } from './open.js';
export type {
  Content,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  Precondition,
  PutOptions,
  StorageEvent,
  StoredObject,
  Wait,
} from './store.js';
export { checkKey, readObject, sizeOf } from './store.js';
