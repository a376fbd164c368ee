"""What passes between the kernels that averages stand on: the keys of events, events, groups and their sums."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from array import array

__all__ = ["NO_KEY", "ROW_ANNOTATION", "ROW_DEVICE", "ROW_HIDDEN", "Folded", "Grouped", "Keys", "Sums"]

# What slices of a category are: bits, 0 for a slice of a thread that is nothing of this.
ROW_ANNOTATION, ROW_DEVICE, ROW_HIDDEN = 1, 2, 4
# The name of no event; the group of no row.
NO_KEY = (1 << 32) - 1


class Keys(NamedTuple):
    """What rows are averaged by.

    Attributes:
        name: array 'I', string id -> number of the name that slices go by; NO_KEY hides slices of that name.
        cat: array 'B', string id -> what slices of that category are: ROW_ bits.
        track: array 'I', track -> number of the place that its slices go by.
    """

    name: "array[int]"
    cat: "array[int]"
    track: "array[int]"


class Folded(NamedTuple):
    """The rows as events.

    Attributes:
        above: array 'q', what a row is inside of; shape (rows,). At least -1: an event, and the row of the event
            around it, or -1. Less: no event; -3 - above is the event around it, or -1.
        own: array 'q', ns of each event that no event inside it has; what a device does has all of its own.
    """

    above: "array[int]"
    own: "array[int]"


class Grouped(NamedTuple):
    """Events by number of their group.

    Attributes:
        group: array 'I', shape (rows,); NO_KEY for what is no event.
        first: array 'q', the first row of each group; shape (groups,). It rises.
    """

    group: "array[int]"
    first: "array[int]"


class Sums(NamedTuple):
    """What the events of each group add up to.

    Attributes:
        count, total_ns, self_ns: array 'q', shape (groups,).
        durations: array 'q', ns of every event: group after group, in order of length; shape (sum of count,).
    """

    count: "array[int]"  # type: ignore[assignment] # as in Problem
    total_ns: "array[int]"
    self_ns: "array[int]"
    durations: "array[int]"
