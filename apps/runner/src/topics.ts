/** A concept that `stackwright help TOPIC` explains. */
export interface Topic {
  readonly name: string;
  /** One line for the list of topics. */
  readonly summary: string;
  readonly text: string;
}

/** In the order in which a new user meets them. */
export const topics: readonly Topic[] = [
  {
    name: 'stacks',
    summary: 'what a stack is, and which files it consists of',
    text: `A stack is a folder with a Spack environment:

  spack.yaml         what is to be built, with which settings
  spack.lock         the concrete specs, written by Spack
  stackwright.yaml   what Spack does not know: trusted keys, the image
  stackwright.lock   what concretize saw, to tell when spack.lock is stale

Commands take the folder as their first argument:

  stackwright check STACK        list errors and warnings
  stackwright concretize STACK   have Spack write spack.lock
  stackwright graph STACK        show what has to be built, and why
  stackwright run STACK          build it on this machine`,
  },
  {
    name: 'mirrors',
    summary: 'where binaries are read from and written to',
    text: `A mirror (build cache) holds binaries. Spack and Stackwright read the same
mirrors. An address is one of:

  /path or file:///path     a folder
  s3://BUCKET/PREFIX        S3, also of other vendors (--endpoint)
  https://HOST/PATH         a web server; read only
  oci://HOST/REPOSITORY     a container registry

A stack names its mirrors in spack.yaml. All of them are read. Only the mirror
"buildcache-destination" is written to, or the one that --mirror names.

  stackwright mirror list URL     what is in a mirror
  stackwright mirror verify URL   check signatures, checksums, dependencies
  stackwright mirror index URL    bring the index up to date`,
  },
  {
    name: 'trust',
    summary: 'whose signatures count, and how to sign',
    text: `Each package in a mirror has a signed manifest with the checksums of its
files. A signature counts if it was made by a key that you named:

  trust: [keys/ci.pub]            in stackwright.yaml
  --trust FILE                    on the command line

A package whose signature does not count is built again, and images refuse it.
--unsigned turns the check off; checksums are always checked.

  stackwright key create CI -o ci.key --public keys/ci.pub

makes a key. SPACK_SIGNING_KEY holds it in CI, as a protected, masked variable.
Jobs of pull requests get no key.`,
  },
  {
    name: 'ci',
    summary: 'how a stack is built in GitLab, GitHub and Slurm',
    text: `A pipeline has one job for each package that the mirrors lack.

  stackwright generate STACK --engine gitlab|github|slurm

writes it. generate takes the flags of "spack ci generate" and reads the same
"ci:" section and variables. Each job runs

  stackwright rebuild

which builds one package, signs it, pushes it and reports it. "stackwright init"
writes a repository in which all of this is set up.`,
  },
  {
    name: 'images',
    summary: 'how a container image is made of a stack',
    text: `An image consists of a base and the packages of a stack. The blobs of the
mirror are the layers of the image, so nothing is compressed again.

  stackwright image build STACK --base debian:12 -o oci:image
  stackwright image push STACK REGISTRY/REPOSITORY:TAG
  stackwright image test REFERENCE

An image whose programs could not start is refused. The "image:" section of
stackwright.yaml sets base, command, user, files and environment.`,
  },
  {
    name: 'variables',
    summary: 'the environment variables that matter most',
    text: `  SPACK_SIGNING_KEY               secret key, in base64
  SPACK_SIGNING_KEY_PASSPHRASE    its passphrase
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, S3_ENDPOINT_URL
                                  credentials and server of S3
  CDASH_AUTH_TOKEN                token for CDash
  GITHUB_TOKEN, GITLAB_TOKEN      token for the status of a commit
  REMOTE_BUILDCACHE_URL           mirror that an image is made from
  SPACK_ROOT, SPACK_REPO, SPACK_REF
                                  which Spack is used
  STACKWRIGHT_ALLOW               NAME=HOST,… : where variables may be sent
  NO_COLOR                        no colour

docs/variables.md lists all of them.`,
  },
  {
    name: 'exit-codes',
    summary: 'what the exit code of a command says',
    text: `  0    done
  1    the work failed
  2    wrong usage, or bad input
  3    something is missing: Spack, a key, a credential, a server
  130  interrupted

Results are on stdout, everything else is on stderr. --json prints one JSON
document. --debug prints a stack trace with an error.`,
  },
];
