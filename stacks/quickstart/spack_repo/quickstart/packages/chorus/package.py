import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class Chorus(Package):
    """A program that links both libraries with an rpath."""

    homepage = "https://example.invalid/chorus"
    url = f"file://{SOURCES}/chorus-1.1.tar.gz"

    version("1.1", sha256="29cc803cff00b35bb8db5d28beb61b4d49dc05cd6edbca474ab04945adcdcfff")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("libchorus")
    depends_on("libgreet")

    def install(self, spec, prefix):
        make(
            f"PREFIX={prefix}",
            f"GREET={spec['libgreet'].prefix}",
            f"CHORUS={spec['libchorus'].prefix}",
            "install",
            parallel=False,
        )
