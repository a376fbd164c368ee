"""The demo's input: the source text of the standard library it runs on, cut into batches.

Knows how to find and read text; holds no model and no threads.
"""

import sys
import sysconfig
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from random import Random
from typing import Protocol, runtime_checkable

from stepscope import StepscopeError

__all__ = ["MODULES", "OTHER", "Batch", "Corpus", "Document", "documents", "places", "read_corpus"]

# Modules with much prose and code. Every CPython from 3.10 has them as .py files; none is frozen,
# since a frozen module has no source to give.
MODULES = (
    "argparse",
    "ast",
    "calendar",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "inspect",
    "queue",
    "random",
    "shlex",
    "statistics",
    "string",
    "subprocess",
    "textwrap",
    "threading",
    "traceback",
    "typing",
)

# The symbol of every character that is too rare to have its own.
OTHER = 0


@runtime_checkable
class SourceLoader(Protocol):
    """What a module's loader must offer; the loaders of folders and of zip files both do."""

    def get_source(self, fullname: str) -> str | None:
        """The module's text, None where only its compiled form is there."""


@dataclass(frozen=True)
class Document:
    """One module's source text, read anew at each call: data at large does not fit in memory."""

    name: str
    loader: SourceLoader

    def read(self) -> str:
        """The text.

        Raises:
            StepscopeError: it was there when the corpus was made and is gone now.
        """
        text = _source(self.loader, self.name)
        if not text:
            raise StepscopeError(
                f"the source of module {self.name} is gone.\n"
                "    Run the demo again: it uses the modules that are there."
            )
        return text


@dataclass(frozen=True)
class Batch:
    """Examples to learn from: which symbol follows which others.

    contexts: symbols before the target, oldest first; shape (examples, context).
    targets: the symbol that follows; shape (examples,).
    """

    contexts: list[list[int]]
    targets: list[int]


@dataclass(frozen=True)
class Corpus:
    """The documents, and the characters that have a number of their own, most frequent first."""

    documents: tuple[Document, ...]
    symbols: dict[str, int]
    characters: int

    @property
    def vocabulary(self) -> int:
        """How many symbols there are, OTHER among them."""
        return len(self.symbols) + 1

    def cut(self, text: str, examples: int, context: int, random: Random) -> Batch:
        """Take examples from random places of a text that is longer than the context."""
        contexts, targets = [], []
        for _ in range(examples):
            start = random.randrange(len(text) - context)
            window = [self.symbols.get(char, OTHER) for char in text[start : start + context + 1]]
            targets.append(window.pop())
            contexts.append(window)
        return Batch(contexts, targets)


def places() -> list[str]:
    """Where this Python's standard library may be: its folder, or the zip of embedded Pythons."""
    zips = [entry for entry in sys.path if Path(entry).suffix == ".zip" and Path(entry).is_file()]
    return [sysconfig.get_path("stdlib"), *zips]


def documents(where: Sequence[str]) -> tuple[Document, ...]:
    """Find those of MODULES that have source text, in order.

    Only the given places are searched: the user's own queue.py is not the standard library.

    Raises:
        StepscopeError: there is none, as in Pythons that ship compiled files only.
    """
    found: list[Document] = []
    for name in MODULES:
        spec = PathFinder.find_spec(name, where)
        if spec is None or not isinstance(spec.loader, SourceLoader):
            continue
        if _source(spec.loader, name):
            found.append(Document(name, spec.loader))
    if not found:
        raise StepscopeError(
            f"no source text of the standard library in {', '.join(where)}.\n"
            "    This Python ships compiled files only; use one that has its .py files."
        )
    return tuple(found)


def _source(loader: SourceLoader, name: str) -> str | None:
    try:
        return loader.get_source(name)
    except ImportError:  # What loaders make of a file that cannot be read.
        return None


def read_corpus(where: Sequence[str] | None = None, most_symbols: int = 64) -> Corpus:
    """Read every document once and number its most frequent characters.

    Args:
        where: folders and zip files to search; this Python's own standard library where left out.
        most_symbols: size of the vocabulary, OTHER among them.

    Raises:
        StepscopeError: no document has source text.
    """
    found = documents(places() if where is None else where)
    counts: Counter[str] = Counter()
    for document in found:
        counts.update(document.read())
    # Ties by character, so that the same text gives the same numbers.
    ranked = sorted(counts, key=lambda char: (-counts[char], char))[: most_symbols - 1]
    symbols = {char: number for number, char in enumerate(ranked, start=OTHER + 1)}
    return Corpus(found, symbols, counts.total())
