"""Where a test's goldens are: beside its module, one file for each test, parameter and name.

    tests/test_train.py::TestLoop::test_step[adam]   tests/__traces__/test_train/TestLoop.test_step[adam].golden

A file's name is legal on every system, and no two tests share one: what cannot be in a name, or would be the same as
another where capitals do not count, is told apart by a hash.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

__all__ = ["ENDINGS", "FOLDER", "TEXT_ENDING", "folder_of", "goldens_in", "home_of", "safe_name", "stem_of"]

FOLDER = "__traces__"
# Not .txt: pytest takes every test*.txt for a doctest.
TEXT_ENDING = ".golden"
# Trace files that can be goldens too; the longest endings first.
ENDINGS = (
    TEXT_ENDING,
    *(f"{ending}{packed}" for packed in (".gz", "") for ending in (".pt.trace.json", ".json", ".pftrace")),
    ".perfetto-trace",
)
MAX_NAME = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9_.,=+-]")


def home_of(module: Path) -> Path:
    """The folder of a test module's goldens."""
    return module.parent / FOLDER / module.stem


def folder_of(item: pytest.Item) -> Path:
    """The test's module as a folder's name below one that is for all modules."""
    path, _, _ = item.nodeid.partition("::")
    parts = [safe_name(part, fold_case=False) for part in Path(path).with_suffix("").parts if part not in ("..", "/")]
    return Path(*parts)


def stem_of(item: pytest.Item) -> str:
    """What the files of a test are called, without the ending."""
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    name: str = getattr(item, "originalname", None) or item.name
    stem = ".".join((*classes, name))
    parameters = getattr(getattr(item, "callspec", None), "id", None)
    legal = safe_name(stem, fold_case=False)
    return legal if parameters is None else f"{legal}[{safe_name(parameters)}]"


def safe_name(text: str, *, fold_case: bool = True) -> str:
    """A text as part of a file's name; with a hash unless it is the text itself.

    Args:
        text: any.
        fold_case: texts that differ in capitals only are to have different names on every file system.
    """
    name = _UNSAFE.sub("_", text).strip(".")[:MAX_NAME]
    if name == text and not (fold_case and name != name.lower()):
        return name
    return f"{name}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def goldens_in(folder: Path) -> Iterator[Path]:
    """The goldens of a folder."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS))
