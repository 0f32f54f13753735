import os

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *

SOURCES = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4, "sources"))


class GreetScripts(Package):
    """Shell scripts that run hello."""

    homepage = "https://example.invalid/greet-scripts"
    url = f"file://{SOURCES}/greet-scripts-0.9.tar.gz"

    version("0.9", sha256="6cf6f7eea369797be9790d91b0cfe712ef0cfc93a360c8a95c770494a2adf8f7")

    depends_on("hello", type="run")

    def install(self, spec, prefix):
        for folder, name, mode in (("bin", "greet-all", 0o755), ("etc", "greet.conf", 0o644)):
            mkdirp(join_path(prefix, folder))
            with open(f"{name}.in") as file:
                text = file.read()
            text = text.replace("@PREFIX@", prefix).replace("@HELLO@", spec["hello"].prefix)
            with open(join_path(prefix, folder, name), "w") as file:
                file.write(text)
            os.chmod(join_path(prefix, folder, name), mode)
