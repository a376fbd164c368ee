"""Recording in a test, where the code under test may have a profile of its own: that one wins.

One profile records at a time in a process. The plugin's stops when another one starts, and what the other one records
takes its place.
"""

import warnings
from typing import Any

import pytest

from stepscope import LifecycleError, StepscopeWarning, Trace, profile
from stepscope.session.recording import Recording

__all__ = ["YieldingProfile", "recorded_trace"]


class YieldingProfile(profile):
    """A profile that stops when another one starts.

    Attributes:
        successor: the first one that did.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.successor: Recording | None = None

    def start(self) -> None:
        """As `profile.start`.

        Raises:
            LifecycleError: a profile is active that does not give way: it is not the plugin's.
        """
        active = Recording.active()
        if active is not None and active is not self and not isinstance(active, YieldingProfile):
            message = (
                "a profile is active already, which was started outside of this with block, and one profile records at "
                "a time. Stop it before record(), or leave record() out and give the profile to the check, when it has "
                "finished: trace_golden.check(prof), or trace_budget.of(prof)."
            )
            raise LifecycleError(message)
        super().start()

    def give_way(self, other: Recording) -> None:
        """Stop, and leave the recorder to the other."""
        if self.successor is None:
            self.successor = other
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StepscopeWarning)  # that this is early is known
            self.stop()


def recorded_trace(source: Trace | Recording, check: str) -> Trace:
    """The one trace that a profile has recorded; a trace is itself.

    Fails the test if the profile has recorded none, or several, of which all but one would go unchecked.

    Args:
        source: a trace or a profile.
        check: how to check one of several, for the message.
    """
    __tracebackhide__ = True
    if isinstance(source, Trace):
        return source
    if not isinstance(source, Recording):
        message = f"a Trace or a profile can be checked, not {source!r} of type {type(source).__name__}."
        raise TypeError(message)
    while isinstance(source, YieldingProfile) and source.successor is not None:
        source = source.successor
    session = source.session
    if session is None:
        pytest.fail(
            "no cycle was recorded: check when the with block has ended, and let the program run into the steps that "
            "the schedule records.",
            pytrace=False,
        )
    if session.cycle > 0:
        pytest.fail(
            f"{session.cycle + 1} cycles were recorded, and a check is of one. Record with keep_sessions=100 and check "
            f"each: for session in prof.sessions: {check}",
            pytrace=False,
        )
    return session.trace
