"""What spans say besides their time, if somebody asks: what their thread has computed, and the calls around them.

The recorder does it, from when it is told until the window is sealed.
"""

from collections.abc import Mapping
from typing import Any

from stepscope.core import kernels
from stepscope.record.sources import Harvest

__all__ = ["CpuTime", "Stacks"]


class CpuTime:
    """The source of CPU time: what a span's thread computed while it was open, which tells waiting from working."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options

    def start(self) -> None:
        """As Source."""
        kernels.measure_cpu()

    def stop(self) -> Harvest:
        """As Source."""
        return Harvest()


class Stacks:
    """The source of call stacks: where each span and instant happened."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options

    def start(self) -> None:
        """As Source."""
        kernels.note_stacks()

    def stop(self) -> Harvest:
        """As Source."""
        return Harvest()
