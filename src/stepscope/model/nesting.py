"""Nesting: which slice of a trace is inside which, and the time each spent in itself.

Holds no formatting and reads no files; averages and diff ask it. The rule itself is a kernel.
"""

from typing import TYPE_CHECKING, NamedTuple

from stepscope.core import kernels
from stepscope.model.trace import Trace

if TYPE_CHECKING:
    from array import array

__all__ = ["Nesting", "nest"]


class Nesting(NamedTuple):
    """The tree of a trace.

    Attributes:
        parent: array 'q', row number or -1 at the root; shape (len(trace),).
        self_ns: array 'q', ns not covered by children, never negative; shape (len(trace),).
    """

    parent: "array[int]"
    self_ns: "array[int]"


def nest(trace: Trace) -> Nesting:
    """Find each row's parent and own time.

    Source: Perfetto's SliceTracker, which spills what overlaps; torch pops the ancestor instead and loses a child.
    A Trace has no overlaps left: `TraceBuilder` has put them on lanes.
    """
    return Nesting(*kernels.nest_rows(trace.columns))
