"""The `trace_budget` fixture: what a test may do at most, without a golden."""

from typing import Any

import pytest

from stepscope import Budget, Trace
from stepscope.pytest_plugin.recorder import YieldingProfile, recorded_trace
from stepscope.session.recording import Recording

__all__ = ["TraceBudget"]


class TraceBudget:
    """Records, and asserts what was recorded; the assertions are those of `stepscope.Budget`.

        def test_loads_once_a_step(trace_budget):
            with trace_budget.record(schedule=schedule(wait=0, warmup=1, active=3, repeat=1)) as prof:
                train(prof)
            trace_budget.calls("load", at_most=1, per_step=True)
            trace_budget.no_calls("aten::copy*")
            trace_budget.share_of_step("validate", at_most=0.2)
            trace_budget.no_growth("memory")

    If the code under test starts a profile of its own, that one records, and its trace is judged.
    """

    def __init__(self) -> None:
        self._profile: YieldingProfile | None = None
        self._budget: Budget | None = None
        self._judged = False

    def record(self, **options: Any) -> YieldingProfile:
        """A profile to use as a context manager; options as of `stepscope.profile`."""
        self._profile, self._budget, self._judged = YieldingProfile(**options), None, False
        return self._profile

    def of(self, source: Trace | Recording) -> Budget:
        """The budget of another trace, or of what another profile has recorded."""
        __tracebackhide__ = True
        self._judged = True
        return Budget(recorded_trace(source, "trace_budget.of(session.trace).calls(...)"))

    def calls(self, name: str, *, at_most: int, at_least: int = 0, per_step: bool = False) -> None:
        """As `Budget.calls`."""
        __tracebackhide__ = True
        self._recorded().calls(name, at_most=at_most, at_least=at_least, per_step=per_step)

    def no_calls(self, name: str) -> None:
        """As `Budget.no_calls`."""
        __tracebackhide__ = True
        self._recorded().no_calls(name)

    def share_of_step(self, name: str, *, at_most: float) -> None:
        """As `Budget.share_of_step`."""
        __tracebackhide__ = True
        self._recorded().share_of_step(name, at_most=at_most)

    def no_growth(self, counter: str, *, allow: float = 0.0) -> None:
        """As `Budget.no_growth`."""
        __tracebackhide__ = True
        self._recorded().no_growth(counter, allow=allow)

    def finish(self) -> None:
        """The test has ended: what was recorded must have been judged."""
        __tracebackhide__ = True
        if not self._judged:
            pytest.fail(
                "the test asks for trace_budget and asserts nothing: record, then call calls(), no_calls(), "
                "share_of_step() or no_growth().",
                pytrace=False,
            )

    def _recorded(self) -> Budget:
        __tracebackhide__ = True
        self._judged = True
        if self._budget is None:
            if self._profile is None:
                pytest.fail("nothing was recorded: use `with trace_budget.record():` first.", pytrace=False)
            self._budget = self.of(self._profile)
        return self._budget
