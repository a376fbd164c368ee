"""Pauses of the garbage collector: a slice each, on the thread whose allocation set it off."""

import gc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepscope.core import kernels
from stepscope.core.rows import PAUSE_CATEGORY, Label
from stepscope.record.sources import Harvest

if TYPE_CHECKING:
    from stepscope.core.twin import Span

__all__ = ["Pauses"]


class Pauses:
    """The source; `gc.callbacks` tells it of every collection of the interpreter."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options
        self._pause: Span | None = None  # one at a time: the collector does not collect while it collects

    def start(self) -> None:
        """As Source."""
        gc.callbacks.append(self._collecting)

    def stop(self) -> Harvest:
        """As Source; a collection that is under way is cut: its end is nobody's any more."""
        if self._collecting in gc.callbacks:  # the program may have cleared the list
            gc.callbacks.remove(self._collecting)
        self._pause = None
        return Harvest()

    def _collecting(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            generation = info["generation"]
            label = Label(f"gc of generation {generation}", PAUSE_CATEGORY)
            self._pause = kernels.span_of(label, {"generation": generation})
            self._pause.__enter__()
        elif self._pause is not None:  # else it began before the window
            found = {"collected": info["collected"], "uncollectable": info["uncollectable"]}
            self._pause.finish(found)
            self._pause = None
