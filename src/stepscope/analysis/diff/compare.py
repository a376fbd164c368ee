"""The comparison, from traces to a Diff: who is who, which step is which, then structure, values and times."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stepscope.analysis.diff.around import Surroundings
from stepscope.analysis.diff.aside import comparable
from stepscope.analysis.diff.cells import suspects_of
from stepscope.analysis.diff.change import Changes
from stepscope.analysis.diff.finding import Finding, Where
from stepscope.analysis.diff.found import Choice, Found
from stepscope.analysis.diff.gather import Gathered
from stepscope.analysis.diff.identity import Group, Naming, identify
from stepscope.analysis.diff.loose import Loose, compare_loose_flows, compare_loosely
from stepscope.analysis.diff.loss import limits_of
from stepscope.analysis.diff.outliers import find_outliers
from stepscope.analysis.diff.pace import free_runners
from stepscope.analysis.diff.places import Places
from stepscope.analysis.diff.result import Diff
from stepscope.analysis.diff.rules import Rules
from stepscope.analysis.diff.run import OUTSIDE, Run
from stepscope.analysis.diff.samples import sample_times
from stepscope.analysis.diff.steps import StepPairs, align_steps
from stepscope.analysis.diff.structure import Structure, Threads, compare_trees
from stepscope.analysis.diff.timing import Unsure, compare_times
from stepscope.analysis.diff.values import compare_counters, compare_flows
from stepscope.analysis.diff.words import Words
from stepscope.model.errors import DiffError
from stepscope.model.trace import Trace

__all__ = ["compare"]

_Sides = tuple[list[Run], list[Run]]


def compare(base: Sequence[Trace], head: Sequence[Trace], rules: Rules) -> Diff:
    """Compare the runs of two sides.

    Args:
        base: at least one trace.
        head: at least one trace.
        rules: what counts as a difference.

    Raises:
        DiffError: a side has no trace.
    """
    for side, traces in (("base", base), ("head", head)):
        if not traces:
            message = f"{side} has no trace. A side is one trace, or a list of traces of repeated runs."
            raise DiffError(message)
    with _no_collection():
        return _compare(base, head, rules)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python look for no garbage meanwhile: among a million tuples and no cycles it takes half of the time.

    Nor right after it: what was made is put where what is old is.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # else thawing would thaw what the program froze
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _compare(base: Sequence[Trace], head: Sequence[Trace], rules: Rules) -> Diff:
    words = Words(rules)
    base, head = ([comparable(trace, rules.aside) for trace in side] for side in (base, head))
    naming = identify(base, head, words)
    sides: _Sides = (
        [Run(trace, groups, words) for trace, groups in zip(base, naming.tracks[0], strict=True)],
        [Run(trace, groups, words) for trace, groups in zip(head, naming.tracks[1], strict=True)],
    )
    unpaced = free_runners(sides)
    free = unpaced if rules.free_threads == "loosely" else frozenset()
    for run in (*sides[0], *sides[1]):
        run.release(free)
    processes = [{group.process for run in side for group in run.groups} for side in sides]
    common = sorted(processes[0] & processes[1])
    steps = {process: align_steps(process, *sides) for process in common}
    findings = [*_processes(processes), *_threads(sides, common, naming)]
    for process, pairs in steps.items():
        findings += _steps(process, pairs)
    changes, flows = _structure(sides, steps, (naming.free, unpaced), free)
    loosely: list[Loose] = []
    for group in sorted(free):
        if all(any(group in run.roots for run in side) for side in sides):
            loose_changes, loose = compare_loosely(sides, group)
            changes += loose_changes
            loosely.append(loose)
    places = Places()
    gathered = Gathered(changes, places, words)
    behind = [*flows, *(one for process in common for one in compare_loose_flows(process, sides, free))]
    behind += compare_counters(*sides)
    samples = sample_times(sides, {process: pairs.pairs for process, pairs in steps.items()}, changes, (free, places))
    choice = Choice(rules)
    unsure: Sequence[Unsure] = ()
    judged = 0
    if rules.timings:
        suspects = suspects_of(samples.cells, len(samples.table.above), rules)
        times = compare_times(samples, suspects, rules, words.texts)
        behind += times.findings
        behind += find_outliers(samples, (suspects, times.paths), rules, words.texts)
        unsure, judged = times.unsure if choice.takes_all else times.unsure.only(choice.takes), times.judged
    found = Found(findings, gathered, behind, choice)
    return Diff(
        found or (),  # which holds no traces
        unsure or (),
        limits_of(base, head),
        rules=rules,
        runs=(len(base), len(head)),
        steps=sum(len(pairs.pairs) for pairs in steps.values()),
        judged=judged,
        loosely=tuple(loosely),
        around=Surroundings(found, samples, words, timings=rules.timings) if found else {},
    )


def _processes(processes: Sequence[set[str]]) -> Iterator[Finding]:
    for name in sorted(processes[0] ^ processes[1]):
        missing = name in processes[0]
        yield Finding("missing" if missing else "new", "process", Where(), name, int(missing), int(not missing))


def _threads(sides: _Sides, common: Sequence[str], naming: Naming) -> Iterator[Finding]:
    """Threads that only one side has, or that have another name."""
    threads = [{group for run in side for group in run.groups if group.thread} for side in sides]
    for process, thread in sorted(threads[0] ^ threads[1]):
        if process in common:
            missing = (process, thread) in threads[0]
            kind = "missing" if missing else "new"
            yield Finding(kind, "thread", Where(process), thread, int(missing), int(not missing))
    for process, one, other in naming.renamed:
        yield Finding("renamed", "thread", Where(process), one, one, other, unit="name")


def _steps(process: str, pairs: StepPairs) -> Iterator[Finding]:
    for kind, numbers, counts in (("missing", pairs.missing, (1, 0)), ("new", pairs.new, (0, 1))):
        if numbers:
            name = f"ProfilerStep#{numbers[0]}" if len(numbers) == 1 else "ProfilerStep#*"
            yield Finding(kind, "step", Where(process, steps=tuple(numbers)), name, *counts, len(numbers))


def _structure(
    sides: _Sides, steps: dict[str, StepPairs], ways: tuple[frozenset[Group], frozenset[Group]], free: frozenset[Group]
) -> tuple[list[tuple[Run, Run, Changes]], list[Finding]]:
    """The changes of each run of head, and flows that come more or less often.

    A run of head is compared with the run of base that it differs least from: what base does in any of its runs is
    known.

    Args:
        sides: all runs.
        steps: of each process.
        ways: threads whose order is free, and those that run free of the steps.
        free: threads that are compared elsewhere.
    """
    found: list[tuple[Run, Run, Changes]] = []
    flows: dict[Finding, int] = {}
    for process, pairs in steps.items():
        runs = [[run for run in side if any(group.process == process for group in run.groups)] for side in sides]
        threads = Threads([group for group in _common_groups(runs, process) if group not in free], *ways)
        for head in runs[1]:
            for known, shared in _shared(process, pairs.pairs, runs[0], head):
                candidates: list[tuple[Run, Structure, list[Finding]]] = []
                for base in known:
                    structure = compare_trees(base, head, threads, shared)
                    counted = compare_flows(process, (base, head), structure.gone, shared, free)
                    candidates.append((base, structure, counted))
                    if not structure.changes and not counted:
                        break
                base, structure, counted = min(candidates, key=lambda one: len(one[1].changes) + len(one[2]))
                found.append((base, head, structure.changes))
                for finding in counted:
                    flows[finding] = flows.get(finding, 0) + 1
    return found, [replace(finding, count=count) for finding, count in flows.items()]


def _shared(
    process: str, pairs: Sequence[tuple[int, int]], known: Sequence[Run], head: Run
) -> list[tuple[list[Run], list[tuple[int, int]]]]:
    """The steps of a run of head, with the runs of base that have them; what is outside of steps goes with the first.

    Cycles of one run are traces of their own: a step can be compared only with a run that has it.
    """
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for one, other in pairs:
        if other in head.steps.get(process, ()):
            having = tuple(at for at, run in enumerate(known) if one in run.steps.get(process, ()))
            found.setdefault(having, []).append((one, other))
    parts = [([known[at] for at in having], shared) for having, shared in found.items()] or [([*known], [])]
    parts[0][1].append((OUTSIDE, OUTSIDE))
    return parts


def _common_groups(runs: Sequence[Sequence[Run]], process: str) -> list[Group]:
    groups = [{group for run in side for group in run.groups if group.process == process} for side in runs]
    return sorted(group for group in groups[0] & groups[1] if group.thread)
