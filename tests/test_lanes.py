"""How tasks share lanes: never two at one time, and as few lanes as there are tasks of a name at one time."""

import itertools
from array import array
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope.core.rows import Columns, Paired, PairedTrack
from stepscope.record import lanes
from stepscope.record.lanes import share_lanes

# A task: its name, when its only row begins, how long that lasts.
Task = tuple[str, int, int]


def paired(tasks: list[Task]) -> Paired:
    """A thread, and tasks with a row each; each row's name is the number of its task."""
    columns = Columns.empty()
    for number, (_, ts, dur) in enumerate(tasks):
        for column, value in zip(columns, (ts, dur, number, 0, 0, number + 1, 0), strict=True):
            column.append(value)
    tracks = [PairedTrack("thread", 7, "main"), *(PairedTrack("task", 0, name) for name, _, _ in tasks)]
    return Paired(columns, [""], tracks, {}, {})


def places(shared: Paired) -> list[tuple[str, int]]:
    """The lane of each task: its name, and which one of that name."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    for number in shared.columns.track:
        name = shared.tracks[number].name
        if number not in numbers[name]:
            numbers[name].append(number)
        found.append((name, numbers[name].index(number)))
    return found


def test_tasks_with_names_of_their_own_are_left_as_they_are() -> None:
    given = paired([("a", 0, 1), ("b", 5, 1)])
    assert share_lanes(given) is given


def test_tasks_of_one_name_share_a_lane_where_they_follow_one_another() -> None:
    shared = share_lanes(paired([("a", 0, 4), ("a", 5, 5), ("a", 10, 2), ("b", 6, 1)]))

    assert places(shared) == [("a", 0), ("a", 0), ("a", 1), ("b", 0)]  # the third begins as the second ends
    assert shared.args == {}


def test_where_there_are_too_many_lanes_numbers_in_names_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MANY", 2)
    tasks = [("Task-1", 0, 4), ("Task-2", 2, 4), ("Task-33", 5, 1), ("Task-4", 7, 1)]
    shared = share_lanes(paired(tasks))

    assert places(shared) == [("Task-*", 0), ("Task-*", 1), ("Task-*", 0), ("Task-*", 0)]
    assert shared.args == {row: {"Task name": name} for row, (name, _, _) in enumerate(tasks)}


def test_where_that_does_not_help_no_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MANY", 2)
    shared = share_lanes(paired([(name, at * 10, 5) for at, name in enumerate("abcd")]))

    assert places(shared) == [("*", 0)] * 4
    assert [shared.args[row]["Task name"] for row in range(4)] == ["a", "b", "c", "d"]


def test_only_outermost_rows_say_the_task_and_keep_what_they_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MANY", 1)
    given = paired([("a1", 0, 10), ("a2", 20, 10)])
    for column, value in zip(given.columns, (2, 3, 9, 0, 0, 1, 0), strict=True):
        column.append(value)  # inside of the first
    given.args[0] = {"size": 1}

    assert share_lanes(given).args == {0: {"Task name": "a1", "size": 1}, 1: {"Task name": "a2"}}


@given(
    st.lists(st.tuples(st.sampled_from(("a", "b", "Task-1", "Task-2", "x9")), st.integers(0, 30), st.integers(0, 9)))
)
def test_no_two_tasks_are_on_one_lane_at_one_time(tasks: list[Task]) -> None:
    shared = share_lanes(paired(tasks))

    assert [shared.tracks[number].name for number in shared.columns.track] == [name for name, _, _ in tasks]
    assert shared.columns._replace(track=array("I")) == paired(tasks).columns._replace(track=array("I"))
    on: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, (_, ts, dur) in zip(shared.columns.track, tasks, strict=True):
        on[number].append((ts, ts + dur))
    for times in on.values():
        times.sort()
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(times))
