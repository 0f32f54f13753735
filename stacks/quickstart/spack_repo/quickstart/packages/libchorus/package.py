import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class Libchorus(Package):
    """Greets loudly, on top of libgreet."""

    homepage = "https://example.invalid/libchorus"
    url = f"file://{SOURCES}/libchorus-0.3.1.tar.gz"

    version("0.3.1", sha256="c37e3722e9a34b0b2071750e0d76a4969fc10c1743a1c14193a4f6647f09fe3c")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("libgreet@1.2:")

    def install(self, spec, prefix):
        make(f"PREFIX={prefix}", f"GREET={spec['libgreet'].prefix}", "install", parallel=False)
