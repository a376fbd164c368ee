"""Function tracing: the calls of the program's functions on all threads, as slices of category python_function.

A slice is named as its function and says where that is: "Net.forward" at "model.py:12". Files are named from the folder
on sys.path that they were imported from, so that traces of two machines can be compared. A generator or a coroutine has
a slice each time it goes on.

Events come from sys.monitoring, or before Python 3.12 from the profile function of each thread. Both are this file's to
put in place and to take away; what is done at an event is the kernels'.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import CodeType
from typing import Any, Protocol

from stepscope import core
from stepscope.core import kernels
from stepscope.core.rows import CALL, Label
from stepscope.core.values import NO_NAME, legal_text
from stepscope.model.errors import LifecycleError
from stepscope.model.trace import Problem
from stepscope.record.call_options import CallOptions
from stepscope.record.sources import Harvest

__all__ = ["CallSource"]

TOOL = "stepscope"
# Tool ids to try: the two that are nobody's by convention first, so that no other tool finds its own taken.
TOOL_IDS = (4, 3, 2)
PYTHON_EVENTS = ("PY_START", "PY_RESUME", "PY_THROW", "PY_RETURN", "PY_YIELD", "PY_UNWIND")
C_EVENTS = ("CALL", "C_RETURN", "C_RAISE")

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH120, PTH100 - cheap to import
# The demo is a program as any other.
OWN, DEMO = os.path.join(PACKAGE, ""), os.path.join(PACKAGE, "demo", "")  # noqa: PTH118 - as above


class Backend(Protocol):
    """Where events come from."""

    def start(self) -> None:
        """Have them come.

        Raises:
            LifecycleError: they cannot; nothing is replaced then.
        """

    def stop(self) -> list[Problem]:
        """Put back what was replaced, and say what could not be seen."""


class CallSource:
    """Traces calls while a window is open.

    Args:
        options: a profile's; with_stack is True or a CallOptions.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        chosen = options["with_stack"]
        self._options = chosen if isinstance(chosen, CallOptions) else CallOptions()
        self._backend: Backend = (
            _Monitoring(c_functions=self._options.c_functions) if sys.version_info >= (3, 12) else _Profiling()
        )

    def start(self) -> None:
        """Trace calls from now on.

        Raises:
            LifecycleError: another tool is in the way.
        """
        options = self._options
        describe_c = _CFunctions(options) if options.c_functions else None
        min_ns = round(options.min_duration_us * 1000)
        kernels.start_calls(_Functions(options), describe_c, options.max_depth or 0, min_ns)
        try:
            self._backend.start()
        except BaseException:
            kernels.stop_calls()
            raise

    def stop(self) -> Harvest:
        """Trace no more calls."""
        kernels.stop_calls()
        return Harvest(tuple(self._backend.stop()))


# -- what is traced ------------------------------------------------------------------------------------------------


class _Functions:
    """Says what calls of a code object are called; None: they are not traced."""

    def __init__(self, options: CallOptions) -> None:
        self._include, self._exclude = options.include, options.exclude
        folders = {os.path.join(os.path.abspath(folder or "."), "") for folder in sys.path if isinstance(folder, str)}  # noqa: PTH118, PTH100 - as above
        self._folders = tuple(sorted(folders, key=len, reverse=True))

    def __call__(self, code: CodeType) -> Label | None:
        path = code.co_filename
        if path.startswith(OWN) and not path.startswith(DEMO):
            return None
        file = next((path[len(folder) :] for folder in self._folders if path.startswith(folder)), path)
        module = _module_of(file)
        if self._include and not _matches(self._include, path, module):
            return None
        if self._exclude and _matches(self._exclude, path, module):
            return None
        name = code.co_qualname if sys.version_info >= (3, 11) else code.co_name
        return Label(legal_text(name) or NO_NAME, CALL, legal_text(f"{file}:{code.co_firstlineno}"))


class _CFunctions:
    """Says what calls of a C function are called; None: they are not traced."""

    def __init__(self, options: CallOptions) -> None:
        self._exclude = options.exclude

    def __call__(self, function: Any) -> Label | None:
        owner = getattr(function, "__objclass__", None) or type(getattr(function, "__self__", None))
        module = getattr(function, "__module__", None) or owner.__module__
        if not isinstance(module, str) or (self._exclude and _matches(self._exclude, module, module)):
            return None
        if module.partition(".")[0] == "stepscope":
            return None
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", "")
        return Label(legal_text(f"{name} ({module})"), CALL)


def _module_of(file: str) -> str:
    """The module of a file that was found on sys.path: "torch/nn/__init__.py" is torch.nn."""
    name = file.removesuffix(".py").replace(os.sep, ".")
    return name.removesuffix(".__init__")


def _matches(patterns: tuple[str, ...], path: str, module: str) -> bool:
    return any(
        module == pattern
        or module.startswith(pattern + ".")
        or fnmatchcase(module, pattern)
        or fnmatchcase(path, pattern)
        for pattern in patterns
    )


# -- sys.monitoring ------------------------------------------------------------------------------------------------


class _Monitoring:
    """sys.monitoring: all threads there are and will be."""

    def __init__(self, *, c_functions: bool) -> None:
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore] # from Python 3.12 on
        self._names = (*PYTHON_EVENTS, *C_EVENTS) if c_functions else PYTHON_EVENTS
        self._hooks: dict[str, Callable[..., Any]] = {}
        self._tool = -1

    def start(self) -> None:
        monitoring = self._monitoring
        holders = {tool: monitoring.get_tool(tool) for tool in TOOL_IDS}
        free = [tool for tool, holder in holders.items() if holder is None]
        if not free:
            taken = ", ".join(f"{tool} by {holder!r}" for tool, holder in holders.items())
            message = (
                f"with_stack: calls cannot be traced: the tool ids of sys.monitoring are taken: {taken}. "
                "Stop one of these tools, or profile without with_stack."
            )
            raise LifecycleError(message)
        self._tool = free[0]
        self._hooks = kernels.call_hooks()
        monitoring.use_tool_id(self._tool, TOOL)
        try:
            for name in self._names:
                monitoring.register_callback(self._tool, self._event(name), self._hooks[name])
            # What an earlier window has switched off, may be wanted in this one.
            monitoring.restart_events()
            monitoring.set_events(self._tool, self._events())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> list[Problem]:
        monitoring, tool = self._monitoring, self._tool
        if monitoring.get_tool(tool) != TOOL:
            what = f"another program has taken the tool id {tool} of sys.monitoring: later calls are missing"
            return [Problem("replaced", 1, what)]
        changed = monitoring.get_events(tool) != self._events()
        monitoring.set_events(tool, 0)
        for name in self._names:
            changed |= monitoring.register_callback(tool, self._event(name), None) is not self._hooks[name]
        monitoring.free_tool_id(tool)
        if not changed:
            return []
        what = f"another program has changed what sys.monitoring does for tool id {tool}: later calls are missing"
        return [Problem("replaced", 1, what)]

    def _event(self, name: str) -> int:
        return int(getattr(self._monitoring.events, name))

    def _events(self) -> int:
        # C_RETURN and C_RAISE come with CALL.
        return sum(self._event(name) for name in self._names if not name.startswith("C_"))


# -- profile functions, before Python 3.12 ---------------------------------------------------------------------------


class _Profiling:
    """The profile function of each thread, and threading's for those to come."""

    def start(self) -> None:
        waiting = threading.getprofile()
        if waiting is None:
            threading.setprofile(kernels.call_profiler())
            try:
                waiting = kernels.profile_threads()
            except BaseException:  # an audit hook's
                self.stop()
                raise
            if waiting is None:
                return
            threading.setprofile(None)  # as it was
        message = (
            f"with_stack: calls cannot be traced: {waiting!r} is the profile function of a thread already. "
            "End it (sys.setprofile(None)), or profile without with_stack."
        )
        raise LifecycleError(message)

    def stop(self) -> list[Problem]:
        problems = []
        if threading.getprofile() is kernels.call_profiler():
            threading.setprofile(None)  # as it was
        else:
            problems.append(Problem("replaced", 1, "threading.setprofile() was called: threads since then are missing"))
        replaced, unseen = kernels.unprofile_threads()
        if replaced:
            what = "sys.setprofile() was called on a thread: its later calls are missing"
            if core.info().name == "python":
                what += "; or the profile function, which is in Python, ran into the limit of recursion"
            problems.append(Problem("replaced", replaced, what))
        if unseen:
            what = "a thread that was not begun by module threading, or not since then, could not be traced"
            problems.append(Problem("unseen", unseen, what))
        return problems
