"""From a trace to a golden: rows become trees, equal trees become one, and runs of them become counts."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from stepscope.analysis.diff.aside import comparable
from stepscope.analysis.diff.rules import MIN_SEEN, Rules
from stepscope.analysis.diff.words import Words
from stepscope.analysis.golden.free import FREE, NO_FREE, find_free
from stepscope.analysis.golden.text import DEFAULT_CATEGORY, HEADER, STEP, args_text, name_text, number_text
from stepscope.core.values import NO_NAME
from stepscope.model.errors import AnalysisError
from stepscope.model.nesting import nest
from stepscope.model.trace import CUT, INSTANT, Trace

__all__ = ["MAX_LINES", "to_golden"]

# Nobody reviews more.
MAX_LINES = 100_000
MAIN_THREAD = "MainThread"
# What the lines say by themselves: `cut` at a row, and lanes.
SAID_ELSEWHERE = frozenset({"cut", "overlap", "depth"})
_LANE = re.compile(r" \((?:overlap|depth) (?:\d+|\*)\)\Z")

Runs = tuple[tuple[int, int], ...]


class Node(NamedTuple):
    """A tree, whichever rows it is of.

    Attributes:
        step: the number, if it is a step; else None.
        head: the line up to the count; of a step what stands behind its number.
        inside: (tree's number, how often it is there one after the other), in order.
    """

    step: int | None
    head: str
    inside: Runs


def to_golden(trace: Trace, rules: Rules | None = None, *, counter_values: bool = False) -> str:
    """What a trace did, as text: the same for the same behaviour on every machine, Python and core.

    Args:
        trace: of any producer.
        rules: what of names, arguments and categories counts, what is set aside, and whether order counts; as `diff`
            has them.
        counter_values: say every value of the counters too.

    Raises:
        AnalysisError: the text would have more than MAX_LINES lines.
    """
    rules = rules or Rules()
    lines = [HEADER, *_Folding(comparable(trace, rules.aside), rules, counter_values).lines()]
    if len(lines) == 1:
        lines.append("nothing")
    return "\n".join(lines) + "\n"


class _Folding:
    """One trace on its way to text."""

    def __init__(self, trace: Trace, rules: Rules, counter_values: bool) -> None:
        self._trace = trace
        self._rules = rules
        self._words = Words(rules)
        self._counter_values = counter_values
        self._nodes: list[Node] = []
        self._digests: list[bytes] = []
        self._numbers: dict[Node, int] = {}
        self._roots: dict[int, Runs] = {}
        self._free = NO_FREE
        # Of threads that run free, by track: the calls, and the numbers of their trees.
        self._free_calls: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._roles = [
            self._slice_name(track.name)
            if track.kind == "counter"
            else self._words.normal(_LANE.sub("", track.name) if track.kind == "lane" else track.name, "thread") or "*"
            for track in trace.tracks
        ]
        self._processes = {
            track.pid: re.sub("[0-9]+", "*", self._words.normal(track.process, "process")) or "*"
            for track in trace.tracks
        }
        pids = list(self._processes)
        self._main = pids[0] if len(pids) == 1 else trace.origin.pid if trace.origin.pid in pids else None
        self._fold()

    def lines(self) -> Iterator[str]:
        """Everything below the header."""
        for problem in sorted({problem.kind for problem in self._trace.problems} - SAID_ELSEWHERE):
            yield f"problem {name_text(problem)}"
        if self._main is not None:
            yield from self._process(self._main)
        others = [pid for pid in self._processes if pid != self._main]
        counts = Counter((self._processes[pid], tuple(self._process(pid))) for pid in others)
        for (name, lines), count in sorted(counts.items()):
            yield f"process {name_text(name)}{_times(count)}"
            yield from (f"  {line}" for line in lines)
        yield from self._flows()

    # -- rows to trees -----------------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Number the tree of every row, from the last to the first: children stand behind their parents."""
        columns = self._trace.columns
        parents = nest(self._trace).parent
        self._free = find_free(self._trace, self._words, parents)
        args = {**self._trace.args, **self._free.args}
        inside: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        heads: dict[tuple[int, int, int], tuple[int | None, str]] = {}
        for row in range(len(self._trace) - 1, -1, -1):
            plain = columns.name[row], columns.cat[row], columns.kind[row]
            if row in args:
                compared = self._words.compared(args[row]) if self._rules.args else {}
                step, head = self._head(row, args_text(compared))
            else:
                if plain not in heads:
                    heads[plain] = self._head(row, "")
                step, head = heads[plain]
            number = self._number(Node(step, head, self._settled(inside.pop(row, ()))))
            if parents[row] >= 0:
                _push(inside[parents[row]], number, 1)
            elif columns.track[row] in self._free.tracks:
                self._free_calls[columns.track[row]].append((row, number))
            else:  # roots are kept below 0, by track
                _push(inside[-1 - columns.track[row]], number, 1)
        self._roots = {-1 - track: self._settled(runs) for track, runs in inside.items()}

    def _number(self, node: Node) -> int:
        number = self._numbers.setdefault(node, len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append(node)
            told = repr((node.step, node.head, [(self._digests[child], count) for child, count in node.inside]))
            self._digests.append(blake2b(told.encode(), digest_size=16).digest())
        return number

    def _settled(self, runs: Iterable[tuple[int, int]]) -> Runs:
        """Siblings, gathered from the last to the first, in their order if it counts, else in one of our own."""
        given = tuple(runs)
        return given[::-1] if self._rules.order == "keep" else self._sorted([given])

    def _sorted(self, tracks: Iterable[Runs]) -> Runs:
        """The trees of several lists in an order that does not depend on when they ran."""
        counts: Counter[int] = Counter()
        for runs in tracks:
            for number, count in runs:
                counts[number] += count
        return tuple((number, counts[number]) for number in sorted(counts, key=self._key))

    def _key(self, number: int) -> tuple[int, str, bytes]:
        node = self._nodes[number]
        return -1 if node.step is None else node.step, node.head, self._digests[number]

    def _head(self, row: int, args: str, *, cut: bool = False) -> tuple[int | None, str]:
        """The number of a step or None, and a row's line without its count."""
        columns, strings = self._trace.columns, self._trace.strings
        name, kind = strings[columns.name[row]], columns.kind[row]
        cat = strings[columns.cat[row]] if self._rules.categories else DEFAULT_CATEGORY
        tail = args + (f" [{name_text(cat)}]" if cat != DEFAULT_CATEGORY else "") + " cut" * (cut or bool(kind & CUT))
        if kind & INSTANT:
            return None, f"instant {name_text(self._slice_name(name))}{tail}"
        if step := STEP.fullmatch(name):
            return int(step[1]), tail
        return None, name_text(self._slice_name(name)) + tail

    def _slice_name(self, name: str) -> str:
        return name if STEP.fullmatch(name) else self._words.normal(name, "slice") or NO_NAME

    # -- trees to lines ----------------------------------------------------------------------------------------

    def _process(self, pid: int) -> Iterator[str]:
        """The lines of one process."""
        tracks: defaultdict[tuple[bool, str, bool], list[int]] = defaultdict(list)
        counters: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, track in enumerate(self._trace.tracks):
            role = self._roles[number]
            if track.pid == pid and track.kind == "counter":
                counters[role, track.unit].append(number)
            elif track.pid == pid:
                is_lane = track.kind == "lane" and number not in self._free.tracks
                tracks[role != MAIN_THREAD, role, is_lane].append(number)
        for (_, role, is_lane), numbers in sorted(tracks.items()):
            if numbers[0] in self._free.tracks:
                yield f"thread {name_text(role)}{FREE}"
                yield from self._lines(self._kinds_of_calls(numbers))
                continue
            yield f"{'lane' if is_lane else 'thread'} {name_text(role)}"
            runs = self._roots.get(numbers[0], ())
            if is_lane or "*" in role or len(numbers) > 1:
                runs = self._sorted(self._roots.get(number, ()) for number in numbers)
            yield from self._lines(runs)
        for (name, unit), numbers in sorted(counters.items()):
            yield f"counter {name_text(name)}{f' [{name_text(unit)}]' * bool(unit)}{self._values(numbers)}"

    def _kinds_of_calls(self, tracks: Iterable[int]) -> Runs:
        """The trees of a thread that runs free, each once; of calls of which too few are whole, that there are some."""
        columns = self._trace.columns
        calls = [call for track in tracks for call in self._free_calls[track]]
        kinds = [(columns.name[row], columns.kind[row] & INSTANT) for row, _ in calls]
        counts = Counter(kinds)
        told = {kind for kind, (row, _) in zip(kinds, calls, strict=True) if row in self._free.args}
        runs: dict[int, int] = {}
        for kind, (row, number) in zip(kinds, calls, strict=True):
            count = min(counts[kind], MIN_SEEN)
            if row in self._free.args:
                runs[number] = count if count < MIN_SEEN else 1  # where there is no number, it is MIN_SEEN or more
            elif kind not in told:
                runs[self._number(Node(None, self._head(row, "", cut=True)[1], ()))] = count
        return tuple((number, runs[number]) for number in sorted(runs, key=self._key))

    def _lines(self, runs: Runs) -> list[str]:
        """The lines of trees and all that is inside of them."""
        lines: list[str] = []
        todo = [("  ", runs, 0)]
        while todo:
            indent, runs, at = todo.pop()
            if at >= len(runs):
                continue
            number, count = runs[at]
            node = self._nodes[number]
            until, head = at + 1, node.head
            if node.step is not None:
                until = self._equal_steps(runs, at)
                last = node.step + until - at - 1
                head = f"step {node.step}{f'-{last}' * (last > node.step)}{head}"
            lines.append(f"{indent}{head}{_times(count)}")
            if len(lines) > MAX_LINES:
                message = (
                    f"the golden of this trace has more than {MAX_LINES} lines, which nobody reviews. "
                    "Record less, or use a trace file as the golden."
                )
                raise AnalysisError(message)
            todo += [(indent, runs, until), (f"{indent}  ", node.inside, 0)]
        return lines

    def _equal_steps(self, runs: Runs, at: int) -> int:
        """Where a run of steps ends that count on and do the same."""
        until = at + 1
        first = self._nodes[runs[at][0]]
        while until < len(runs) and first.step is not None and runs[at][1] == runs[until][1] == 1:
            if self._nodes[runs[until][0]] != first._replace(step=first.step + until - at):
                break
            until += 1
        return until

    def _values(self, tracks: list[int]) -> str:
        """The values of a counter, if they are asked for; of counters of one role, one after the other."""
        if not self._counter_values:
            return ""
        counters = self._trace.counters
        texts: dict[int, list[str]] = {track: [] for track in tracks}
        for value, track in zip(counters.value, counters.track, strict=True):
            if track in texts:
                texts[track].append(number_text(value))
        runs: list[tuple[str, int]] = []
        for text in (text for of_track in sorted(texts.values()) for text in of_track):
            _push(runs, text, 1)
        return " = " + ", ".join(f"{text}{_times(count)}" for text, count in runs)

    # -- flows ---------------------------------------------------------------------------------------------------

    def _flows(self) -> Iterator[str]:
        flows, strings = self._trace.flows, self._trace.strings
        points: list[list[str]] = [[] for _ in flows.name]
        free: set[int] = set()
        untold: set[int] = set()
        for flow, row in zip(flows.flow, flows.row, strict=True):
            points[flow].append(self._place(row))
            if self._trace.columns.track[row] in self._free.tracks:
                free.add(flow)
                if row not in self._free.args:
                    untold.add(flow)
        named = [name_text(self._words.normal(strings[name], "slice") or NO_NAME) for name in flows.name]
        counts: Counter[tuple[bool, str, tuple[str, ...]]] = Counter()
        for flow, (name, places) in enumerate(zip(named, points, strict=True)):
            if flow not in untold:
                counts[flow in free, name, tuple(sorted(places))] += 1
        for (is_free, name, passed), count in sorted(counts.items(), key=lambda found: found[0][1:]):
            shown = min(count, MIN_SEEN) if is_free else count
            yield f"flow {name}{_times(shown)} through {', '.join(passed)}"

    def _place(self, row: int) -> str:
        """Where a flow passes: the row's name, its thread, and its process if that is another."""
        columns = self._trace.columns
        track = self._trace.tracks[columns.track[row]]
        name = self._words.normal(self._trace.strings[columns.name[row]], "slice") or NO_NAME
        place = f"{name_text(name)} in {name_text(self._roles[columns.track[row]])}"
        return place if track.pid == self._main else f"{place} of {name_text(self._processes[track.pid])}"


def _push(runs: list[tuple[Any, int]], item: Any, count: int) -> None:
    """Add an item to runs of equal ones."""
    if runs and runs[-1][0] == item:
        runs[-1] = (item, runs[-1][1] + count)
    else:
        runs.append((item, count))


def _times(count: int) -> str:
    return f" x{count}" if count > 1 else ""
