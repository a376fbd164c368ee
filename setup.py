"""The one part of the build that pyproject.toml cannot say: the C core, which may be left out."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("src/stepscope/native")
REQUIRED = os.environ.get("STEPSCOPE_REQUIRE_C", "") not in ("", "0")


class OptionalExtension(build_ext):
    """Builds the C core; without a compiler the package installs all the same, and the Python core serves."""

    def run(self) -> None:
        """Build, or say why not."""
        try:
            super().run()
        except Exception as error:  # a missing compiler, missing headers, an error of the compiler
            if REQUIRED:
                raise
            warnings.warn(f"stepscope: the C core was not built, the Python core will serve: {error}", stacklevel=2)

    def build_extension(self, extension: Any) -> None:
        """Compile C11 with warnings; setuptools' own flags follow Python's."""
        if self.compiler.compiler_type == "unix":
            extension.extra_compile_args += ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"]
        super().build_extension(extension)


def extensions() -> list[Extension]:
    """The C core, where the system is one it is written for."""
    if sys.platform == "win32" or sys.implementation.name != "cpython":
        return []
    sources = sorted(path.as_posix() for path in NATIVE.glob("*.c"))
    headers = sorted(path.as_posix() for path in NATIVE.glob("*.h"))
    return [Extension("stepscope._native", sources, depends=headers)]


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalExtension})
