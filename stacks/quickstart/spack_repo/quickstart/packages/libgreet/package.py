import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class Libgreet(Package):
    """A library that greets, shared and static."""

    homepage = "https://example.invalid/libgreet"
    url = f"file://{SOURCES}/libgreet-1.2.0.tar.gz"

    version("1.2.0", sha256="a4bb3e201becc07b4fd9729097c3d5ccbb6c76e3102d66d8f69c6a020d0b96e7")

    depends_on("c", type="build")
    depends_on("gmake", type="build")

    def install(self, spec, prefix):
        make(f"PREFIX={prefix}", "install", parallel=False)
