"""What a row of a trace is: the columns that every kernel reads, and the values of `kind`.

Rows stand in (ts, -dur, slices before instants, opening) order: a slice before all it contains. On one track slices
nest.
"""

from array import array
from typing import NamedTuple

__all__ = ["CUT", "INSTANT", "SLICE", "Columns"]

SLICE, INSTANT = 0, 1
# Added to SLICE: the edge of the recorded window cut it off, at its start or its end.
CUT = 2


class Columns(NamedTuple):
    """The columns of a trace; shape (rows,) each.

    Attributes:
        ts, dur: array 'q', ns; dur >= 0.
        name, cat, site, track: array 'I', ids.
        kind: array 'B', SLICE or INSTANT, plus CUT.
    """

    ts: "array[int]"
    dur: "array[int]"
    name: "array[int]"
    cat: "array[int]"
    site: "array[int]"
    track: "array[int]"
    kind: "array[int]"

    @classmethod
    def empty(cls) -> "Columns":
        """No rows."""
        return cls(*(array(code) for code in "qqIIIIB"))
