"""What `stepscope run` was asked for, as it is handed to the process that becomes the program."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Plan"]


class Plan(NamedTuple):
    """How a program is profiled.

    Attributes:
        log: the folder for the files.
        formats: which files to write.
        options: keyword arguments of `stepscope.profile`, but for calls.
        calls: keyword arguments of `stepscope.CallOptions`; None: calls are not traced.
        schedule: keyword arguments of `stepscope.schedule`; None: sessions do not go by steps.
        every_s, for_s: a session of for_s seconds begins every every_s; 0: no sessions by time. With for_s alone there
            is one, from the program's start on.
        keep: how many sessions stay on disk; 0: all.
        module: the program is a module, not a file.
        open: show the last session in the browser when the program has ended.
    """

    log: str
    formats: tuple[str, ...] = ("chrome", "perfetto")
    options: Mapping[str, Any] = {}
    calls: Mapping[str, Any] | None = {}
    schedule: Mapping[str, int] | None = None
    every_s: float = 0.0
    for_s: float = 0.0
    keep: int = 0
    module: bool = False
    open: bool = False

    def to_text(self) -> str:
        """The plan as one argument of a command."""
        return json.dumps(self._asdict())

    @classmethod
    def from_text(cls, text: str) -> "Plan":
        """The plan of such an argument."""
        values = json.loads(text)
        return cls(**{**values, "formats": tuple(values["formats"])})
