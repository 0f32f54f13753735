from spack_repo.builtin.build_systems.bundle import BundlePackage

from spack.package import *


class QuickstartSuite(BundlePackage):
    """Everything of the quickstart stack."""

    homepage = "https://example.invalid/quickstart-suite"

    version("2026.1")

    depends_on("hello", type="run")
    depends_on("chorus", type="run")
    depends_on("hello-static", type="run")
    depends_on("greet-scripts", type="run")
