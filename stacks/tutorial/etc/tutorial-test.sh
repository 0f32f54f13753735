#!/bin/sh
# Installs what the tutorial installs, from the mirror in this image alone, and fails if anything would be built.
set -eu
spack buildcache keys --install --trust
for spec in zlib-ng zlib-ng@2.0.7 tcl gmp hdf5~mpi hdf5+mpi; do
    spack install --cache-only "$spec"
done
"$(spack location -i tcl)/bin/tclsh8.6" <<'TCL'
puts "tcl [info patchlevel] works"
TCL
