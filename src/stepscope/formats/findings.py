"""What a reader finds wrong with a file: an error if it is to be strict, else counted, and a Problem of the trace."""

from collections import Counter

from stepscope.model.build import TraceBuilder
from stepscope.model.errors import FormatError

__all__ = ["Findings"]

FIXES = {
    "truncated": "The file may be truncated; pass strict=False to read what is before it.",
    "damaged": "Pass strict=False to read what is before it.",
    "unreadable": "Pass strict=False to read the others.",
    "malformed": "Pass strict=False to read the others.",
    "compressed": "pip install 'stepscope[zstd]' brings what reads them; pass strict=False to read the others.",
}
# Characters of a clause that quotes a file.
MAX_CLAUSE = 300


class Findings:
    """What was found in one file.

    Args:
        name: the file.
        strict: raise what has a fix above.
    """

    def __init__(self, name: str, *, strict: bool) -> None:
        self._name = name
        self._strict = strict
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def wrong(self, kind: str, byte: int, what: str, event: int | None = None) -> None:
        """Something that the file should not hold.

        Args:
            kind: a key of FIXES.
            byte: where, in the content, which begins at 0.
            what: a clause.
            event: its place among the events, which begin at 0.

        Raises:
            FormatError: the reader is strict.
        """
        where = f"byte {byte}" if event is None else f"byte {byte}, event {event}"
        what = _short(what)
        if self._strict:
            message = f"{self._name}: {where}: {what}. {FIXES[kind]}"
            raise FormatError(message)
        self.note(kind, f"{where}: {what}")

    def note(self, kind: str, example: str, count: int = 1) -> None:
        """Something that is legal, but not in the trace as it was."""
        self._counts[kind] += count
        self._examples.setdefault(kind, _short(example))

    def tell(self, builder: TraceBuilder) -> None:
        """Make Problems of all that was found."""
        for kind, count in self._counts.items():
            builder.problem(kind, count, self._examples[kind])


def _short(what: str) -> str:
    """A clause that fits on a few lines, however long the text of the file that it quotes."""
    return what if len(what) <= MAX_CLAUSE else f"{what[:MAX_CLAUSE]}..."
