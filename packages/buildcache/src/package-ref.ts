/** What names one package of a build cache. */
export interface PackageRef {
  readonly name: string;
  readonly version: string;
  /** The dag hash: 32 characters of base 32. */
  readonly hash: string;
}

const hashPattern = /^[a-z2-7]{32}$/;
/** Whether two references mean one package; one that was read from a key has a version without what a key cannot hold. */
export function isSamePackage(a: PackageRef, b: PackageRef): boolean {
  return a.name === b.name && fileNameOf(a) === fileNameOf(b);
}

/** `NAME-VERSION-HASH` with what a file name cannot hold replaced, as Spack's `format_path` does. */
export function fileNameOf(ref: PackageRef): string {
  return [ref.name, ref.version, ref.hash].map((part) => part.replace(/[/\\:*?"<>|\n\t\r]/g, '_')).join('-');
}

/** `NAME@VERSION/HASH7`, for people. */
export function describe(ref: PackageRef): string {
  return `${ref.name}@${ref.version}/${ref.hash.slice(0, 7)}`;
}

/** Whether a text is a dag hash. */
export function isHash(text: string): boolean {
  return hashPattern.test(text);
}

/** Whether a text can be a package's name: what stands in keys and paths. */
export function isName(text: string): boolean {
  return /^\w[\w.+-]*$/.test(text);
}
