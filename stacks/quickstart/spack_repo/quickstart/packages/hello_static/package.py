import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class HelloStatic(Package):
    """A program that runs in an image without a C library."""

    homepage = "https://example.invalid/hello-static"
    url = f"file://{SOURCES}/hello-static-1.0.tar.gz"

    version("1.0", sha256="82e5f48ce2c3eef63c60c87a671ac51ce87da2a37ad9686d81da4753e86b6a85")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("libgreet")

    def install(self, spec, prefix):
        make(f"PREFIX={prefix}", f"GREET={spec['libgreet'].prefix}", "install", parallel=False)
