"""How the C core is compiled, and how it is left out.

setuptools runs this while the package is built (pyproject.toml names it); stepscope itself never imports it.
"""

import os
import sys
import warnings
from pathlib import Path

from setuptools.command.build_ext import build_ext

__all__ = ["OptionalExtension"]


class OptionalExtension(build_ext):  # type: ignore[misc]
    """Builds the C core. Without a compiler the package installs all the same, and the Python core serves.

    STEPSCOPE_REQUIRE_C=1 makes a core that cannot be built an error.
    """

    def run(self) -> None:
        """Build, or say why not: now, and in a file that the package reads when it is used."""
        if sys.platform == "win32" or sys.implementation.name != "cpython":
            self.extensions: list[object] = []
        folder = Path("src" if self.inplace or self.editable_mode else self.build_lib, "stepscope")
        why_not = folder / "_native_missing.txt"
        why_not.unlink(missing_ok=True)
        try:
            super().run()
        except Exception as error:
            if os.environ.get("STEPSCOPE_REQUIRE_C", "") not in ("", "0"):
                raise
            warnings.warn(f"stepscope: the C core was not built, the Python core will serve: {error}", stacklevel=2)
            folder.mkdir(parents=True, exist_ok=True)
            why_not.write_text(f"it was not built when stepscope was installed ({error})\n", encoding="utf-8")
