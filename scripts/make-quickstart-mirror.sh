#!/usr/bin/env bash
# Builds the quickstart stack with Spack and makes its signed mirror anew, with a new key that is thrown away.
# Needs `spack` 1.x and gpg on PATH, and write access to the stack's install root (/opt/quickstart).
set -euo pipefail
cd "$(dirname "$0")/../stacks/quickstart"

export SPACK_DISABLE_LOCAL_CONFIG=1
SPACK_GNUPGHOME=$(mktemp -d)
export SPACK_GNUPGHOME
trap 'rm -rf "$SPACK_GNUPGHOME"' EXIT

spack -e . install
rm -rf mirror
gpg --homedir "$SPACK_GNUPGHOME" --batch --passphrase '' --quick-generate-key \
  'Stackwright quickstart (example key) <quickstart@example.invalid>' ed25519 sign never
gpg --homedir "$SPACK_GNUPGHOME" --armor --export > keys/quickstart.pub
# bootstrap:enable is what lets Spack look at the gpg on PATH at all.
spack -c bootstrap:enable:true -e . buildcache push buildcache-destination
spack -c bootstrap:enable:true -e . buildcache update-index --keys buildcache-destination
