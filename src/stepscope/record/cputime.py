"""CPU time: what the thread of a span has computed while the span was open, which tells waiting from working."""

from collections.abc import Mapping
from typing import Any

from stepscope.core import kernels
from stepscope.record.sources import Harvest

__all__ = ["CpuTime"]


class CpuTime:
    """The source; the recorder measures, until the window is sealed."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        del options

    def start(self) -> None:
        """As Source."""
        kernels.measure_cpu()

    def stop(self) -> Harvest:
        """As Source."""
        return Harvest()
