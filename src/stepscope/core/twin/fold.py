"""Folding: which rows are events, and what each is inside of.

Source: torch's EventList of torch 2.13, whose numbers these are on slices that nest: what it filters out counts as its
parent's own time, and an only child of its parent's name is one event with it.
"""

from array import array

from stepscope.core.groups import NO_KEY, ROW_DEVICE, ROW_HIDDEN, Folded, Keys
from stepscope.core.rows import INSTANT, Columns

__all__ = ["fold_rows"]


def fold_rows(columns: Columns, parent: "array[int]", own: "array[int]", keys: Keys) -> Folded:
    """Find the rows that are events, and their parents among those.

    Args:
        columns: settled.
        parent: as `nest_rows` gives it.
        own: as `nest_rows` gives it.
        keys: what the events go by.

    Raises:
        OverflowError: an own time does not fit 64 bits.
    """
    above, own = array("q", parent), array("q", own)
    children = array("I", [0]) * len(parent)
    rows = zip(columns.name, columns.cat, columns.dur, columns.kind, strict=True)
    for row, (name, cat, dur, kind) in enumerate(rows):
        around = _event_at(above, parent[row])
        if kind & INSTANT:
            above[row] = -3 - around
        elif keys.name[name] == NO_KEY or keys.cat[cat] & ROW_HIDDEN:
            above[row] = -3 - around
            if around >= 0:
                _add(own, around, own[row])
        elif keys.cat[cat] & ROW_DEVICE:
            above[row], own[row] = -1, dur
        else:
            above[row] = around
            if around >= 0:
                children[around] += 1
    for row, name in enumerate(columns.name):
        if above[row] == -1:
            continue
        is_event = above[row] >= 0
        around = above[row] if is_event else -3 - above[row]
        event = _event_at(above, around)
        if is_event and children[around] == 1 and keys.name[columns.name[around]] == keys.name[name]:
            _add(own, event, own[row])
            is_event = False
        above[row] = event if is_event else -3 - event
    return Folded(above, own)


def _add(own: "array[int]", row: int, more: int) -> None:
    try:
        own[row] += more
    except OverflowError:
        message = f"row {row}: its own time adds up to more than 64 bits hold"
        raise OverflowError(message) from None


def _event_at(above: "array[int]", row: int) -> int:
    """The row if it is an event, else the one around it; -1 for none."""
    return row if row < 0 or above[row] >= -1 else -3 - above[row]
