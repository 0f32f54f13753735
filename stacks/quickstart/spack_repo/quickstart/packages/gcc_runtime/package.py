from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class GccRuntime(Package):
    """Stands in front of Spack's recipe of the same name, which copies 10 MB of GCC's runtime libraries.

    Spack adds this package to all that GCC compiles. The programs of this stack are plain C and use none
    of those libraries, so this recipe installs a note that says so. A stack with C++ or Fortran in it
    must not do this.
    """

    homepage = "https://example.invalid/gcc-runtime"
    has_code = False

    # The version must be the compiler's.
    version("12.2.0")

    provides("fortran-rt", "libgfortran")

    def install(self, spec, prefix):
        mkdirp(prefix.share)
        with open(join_path(prefix.share, "README"), "w") as file:
            file.write("Nothing of GCC's runtime is needed by the plain C programs of this stack.\n")
