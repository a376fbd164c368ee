"""Budgets: what a trace may hold at most, said without a golden.

    budget = Budget(prof.trace)
    budget.calls("load", at_most=1, per_step=True)
    budget.no_calls("aten::copy*")
    budget.share_of_step("validate", at_most=0.2)
    budget.no_growth("memory")

Every assertion names what it is about; one that finds nothing to judge fails, so that a misspelt name does not pass.
In a traceback, pytest leaves out the functions that say __tracebackhide__.
"""

from bisect import bisect_right
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from stepscope.analysis.excerpt import excerpt, milliseconds
from stepscope.analysis.golden.text import number_text
from stepscope.analysis.kinds import step_number
from stepscope.model.errors import BudgetError
from stepscope.model.trace import INSTANT, Trace

__all__ = ["Budget"]

HINT = "Record with schedule=schedule(wait=0, warmup=1, active=3, repeat=1), and call step() on the profile."


class Step(NamedTuple):
    """A step of the program: its number, its row, its process and its time in ns."""

    number: int
    row: int
    pid: int
    start: int
    end: int


class Budget:
    """Assertions on a trace; each raises BudgetError, which is an AssertionError, with the calls that are too much.

    Names are patterns as `fnmatch` has them, or the very name.

    Args:
        trace: what is judged.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._steps = list(_find_steps(trace))

    def calls(self, name: str, *, at_most: int, at_least: int = 0, per_step: bool = False) -> None:
        """Slices and instants of that name are at most, and at least, so many.

        Args:
            name: of the calls.
            at_most: how many there may be.
            at_least: how many there must be.
            per_step: in each step by itself, by when they begin; those outside of steps are not counted.

        Raises:
            BudgetError: there are more or fewer, or records are lost, so that nobody knows.
            ValueError: no number of calls could be right.
        """
        __tracebackhide__ = True
        if not 0 <= at_least <= at_most:
            message = f"calls of {name!r} cannot be at least {at_least} and at most {at_most}."
            raise ValueError(message)
        self._need_all(f"how often {name!r} was called")
        found = self._rows(name)
        if not per_step:
            self._judge_calls(name, found, (at_least, at_most), "")
            return
        self._need_steps()
        ts = self._trace.columns.ts
        for step in self._steps:
            inside = [row for row in found if step.start <= ts[row] < step.end and self._pid(row) == step.pid]
            self._judge_calls(name, inside, (at_least, at_most), f" in step {step.number}")

    def no_calls(self, name: str) -> None:
        """No slice and no instant has that name.

        Raises:
            BudgetError: one has, or records are lost.
        """
        __tracebackhide__ = True
        self.calls(name, at_most=0)

    def share_of_step(self, name: str, *, at_most: float) -> None:
        """Slices of that name, on any thread of a step's process, cover at most this share of each step.

        What overlaps counts once. Steps that the recorded window has cut count as long as they were recorded.

        Raises:
            BudgetError: they cover more of a step, there are none, or there are no steps.
            ValueError: at_most is not between 0 and 1.
        """
        __tracebackhide__ = True
        if not 0 <= at_most <= 1:
            message = f"at_most is a share of a step, from 0 to 1; got {at_most!r}."
            raise ValueError(message)
        self._need_steps()
        columns = self._trace.columns
        found = [row for row in self._rows(name) if not columns.kind[row] & INSTANT]
        if not found:
            message = f"no slice is called {name!r}, so its share is not known.{self._names_there_are()}"
            raise BudgetError(message)
        shares = [(*self._share(step, found), step) for step in self._steps]
        over = [(share, covered, rows, step) for share, covered, rows, step in shares if share > at_most]
        if over:
            share, covered, rows, step = max(over, key=lambda each: each[0])
            others = f", and {len(over) - 1} more of {len(shares)} steps are over" if len(over) > 1 else ""
            message = (
                f"{name!r} takes {share:.0%} of step {step.number} ({milliseconds(covered)} of "
                f"{milliseconds(step.end - step.start)}), {at_most:.0%} is allowed{others}:"
            )
            raise BudgetError(f"{message}\n{excerpt(self._trace, [step.row, *rows], times=True)}")

    def no_growth(self, counter: str, *, allow: float = 0.0) -> None:
        """A counter does not stand higher at the end of the last step than at the end of the first.

        Args:
            counter: its name; of several that match each is judged.
            allow: by how much it may.

        Raises:
            BudgetError: it does, there is no such counter, or there are fewer than two steps that know its value.
        """
        __tracebackhide__ = True
        self._need_steps()
        tracks = [
            number
            for number, track in enumerate(self._trace.tracks)
            if track.kind == "counter" and _matches(track.name, counter)
        ]
        if not tracks:
            there = sorted({track.name for track in self._trace.tracks if track.kind == "counter"})
            message = f"no counter is called {counter!r}; there {'are ' + ', '.join(there) if there else 'is none'}."
            raise BudgetError(message)
        for number in tracks:
            self._judge_growth(number, allow)

    # -- how ---------------------------------------------------------------------------------------------------

    def _judge_calls(self, name: str, rows: list[int], limits: tuple[int, int], where: str) -> None:
        __tracebackhide__ = True
        at_least, at_most = limits
        count = len(rows)
        said = f"{count} call{'s' * (count != 1)} of {name!r}{where}"
        if count > at_most:
            allowed = f"at most {at_most} {'is' if at_most == 1 else 'are'}" if at_most else "none is"
            message = f"{said}, {allowed} allowed:\n{excerpt(self._trace, rows)}"
            raise BudgetError(message)
        if count < at_least:
            message = f"{said}, at least {at_least} {'is' if at_least == 1 else 'are'} wanted."
            raise BudgetError(f"{message}{'' if rows else self._names_there_are()}")

    def _judge_growth(self, number: int, allow: float) -> None:
        __tracebackhide__ = True
        track, counters = self._trace.tracks[number], self._trace.counters
        at = [place for place, of in enumerate(counters.track) if of == number]
        times = [counters.ts[place] for place in at]
        known: list[tuple[int, float]] = []
        for step in self._steps:
            before = bisect_right(times, step.end)
            if step.pid == track.pid and before:
                known.append((step.number, counters.value[at[before - 1]]))
        if len(known) < 2:
            message = (
                f"counter {track.name!r} is known at the end of {len(known)} steps, two at least are needed. {HINT}"
            )
            raise BudgetError(message)
        first, last = known[0][1], known[-1][1]
        if last - first > allow:
            unit = f" {track.unit}" if track.unit else ""
            allowed = f"{number_text(float(allow))}{unit} is" if allow else "no growth is"
            shown = known if len(known) <= 12 else [*known[:6], *known[-6:]]
            lines = [f"    at the end of step {step}: {number_text(value)}{unit}" for step, value in shown]
            message = f"counter {track.name!r} grows by {number_text(last - first)}{unit} in {len(known)} steps"
            raise BudgetError("\n".join([f"{message}, {allowed} allowed:", *lines]))

    def _share(self, step: Step, rows: list[int]) -> tuple[float, int, list[int]]:
        """What share of a step some slices cover, how many ns that is, and which of them do."""
        columns = self._trace.columns
        covered, until, inside = 0, step.start, []
        for row in rows:
            start, end = max(columns.ts[row], until), min(columns.ts[row] + columns.dur[row], step.end)
            if self._pid(row) == step.pid and columns.ts[row] < step.end and end > step.start:
                inside.append(row)
                covered += max(end - start, 0)
                until = max(until, end)
        return covered / max(step.end - step.start, 1), covered, inside

    def _rows(self, name: str) -> list[int]:
        """Rows of that name, in order of time."""
        wanted = {number for number, text in enumerate(self._trace.strings) if _matches(text, name)}
        return [row for row, number in enumerate(self._trace.columns.name) if number in wanted]

    def _pid(self, row: int) -> int:
        return self._trace.tracks[self._trace.columns.track[row]].pid

    def _need_all(self, what: str) -> None:
        __tracebackhide__ = True
        for problem in self._trace.problems:
            if problem.kind == "dropped":
                message = (
                    f"nobody knows {what}: {problem.count} records were dropped ({problem.example}). "
                    "Record less, or with more memory: buffer_bytes=."
                )
                raise BudgetError(message)

    def _need_steps(self) -> None:
        __tracebackhide__ = True
        if not self._steps:
            message = f"there are no steps in the trace. {HINT}"
            raise BudgetError(message)

    def _names_there_are(self) -> str:
        names = sorted({self._trace.strings[number] for number in self._trace.columns.name})
        return f" Names are {', '.join(map(repr, names[:10]))}{', ...' * (len(names) > 10)}." if names else ""


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _find_steps(trace: Trace) -> Iterator[Step]:
    """The steps of a trace, in order of time."""
    columns = trace.columns
    numbers = {at: number for at, text in enumerate(trace.strings) if (number := step_number(text)) is not None}
    for row, name in enumerate(columns.name):
        if name in numbers and not columns.kind[row] & INSTANT:
            ts, pid = columns.ts[row], trace.tracks[columns.track[row]].pid
            yield Step(numbers[name], row, pid, ts, ts + columns.dur[row])
