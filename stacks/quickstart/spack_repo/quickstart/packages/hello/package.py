import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class Hello(Package):
    """A program that links libgreet with an rpath."""

    homepage = "https://example.invalid/hello"
    url = f"file://{SOURCES}/hello-2.0.tar.gz"

    version("2.0", sha256="447c7b13e0a77bb0d3c15d7f85eeff8b7a33bf15ca06bdba5aa0a123f76a7780")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("libgreet")

    def install(self, spec, prefix):
        make(f"PREFIX={prefix}", f"GREET={spec['libgreet'].prefix}", "install", parallel=False)
