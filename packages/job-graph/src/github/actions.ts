/** An action of GitHub's own, as a workflow names it. */
export interface PinnedAction {
  /** With the commit, as a tag could be moved to other code. */
  readonly pinned: string;
  /** The tag of that commit, for a reader. */
  readonly version: string;
}

/** The actions that workflows use, in the newest major versions. */
export const githubActions: Readonly<Record<'checkout' | 'upload' | 'download', PinnedAction>> = {
  checkout: { pinned: 'actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1', version: 'v7.0.1' },
  upload: { pinned: 'actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a', version: 'v7.0.1' },
  download: {
    pinned: 'actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c',
    version: 'v8.0.1',
  },
};
