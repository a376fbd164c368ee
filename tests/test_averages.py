"""Averages and events: torch's names for what the columns say."""

import pytest

from stepscope.analysis.averages import key_averages
from stepscope.analysis.events import function_events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace


def steps_of_two_kinds() -> Trace:
    """Two steps of 10 us, each with 4 us of work and, in that, 1 us of waiting; an instant; a slice that is cut."""
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for number in range(2):
        at = number * 20_000
        builder.slice(track, f"ProfilerStep#{number}", at, 10_000)
        builder.slice(track, "work", at + 1_000, 4_000, args={"n": number})
        builder.slice(track, "wait", at + 2_000, 1_000)
        builder.instant(track, "mark", at + 2_500)
    builder.slice(builder.thread(7, 9, "other", "p"), "wait", 0, 3_000, cut=True)
    return builder.build()


def test_rows_are_grouped_by_name_with_torchs_sums() -> None:
    rows = {
        row.key: (row.count, row.cpu_time_total, row.self_cpu_time_total, row.cpu_time_min, row.cpu_time_max)
        for row in key_averages([steps_of_two_kinds()])
    }

    assert rows == {
        "ProfilerStep*": (2, 20.0, 12.0, 10.0, 10.0),
        "work": (2, 8.0, 6.0, 4.0, 4.0),
        "wait": (3, 5.0, 5.0, 1.0, 3.0),
    }


def test_the_table_has_torchs_headings_and_says_what_is_not_as_it_was() -> None:
    table = key_averages([steps_of_two_kinds()]).table(sort_by="self_cpu_time_total", row_limit=2)

    assert table.splitlines() == [
        "-------------  ----------  --------  -----------  ---------  ------------  ----------",
        "Name           Self CPU %  Self CPU  CPU total %  CPU total  CPU time avg  # of Calls",
        "-------------  ----------  --------  -----------  ---------  ------------  ----------",
        "ProfilerStep*      52.17%  12.000us       86.96%   20.000us      10.000us           2",
        "work               26.09%   6.000us       34.78%    8.000us       4.000us           2",
        "-------------  ----------  --------  -----------  ---------  ------------  ----------",
        "Self CPU time total: 23.000us",
        "1 cut: 'wait' was open at the edge of what was recorded",
    ]


def test_all_rows_are_shown_with_a_limit_of_minus_one_and_names_stay_on_their_line() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for number in range(120):
        builder.slice(track, f"line\nbreak \x1b[31mé {number}", number * 2, 1)
    averages = key_averages([builder.build()])

    assert len(averages.table().splitlines()) == 100 + 5
    assert len(averages.table(row_limit=-1).splitlines()) == 120 + 5
    assert "line\\nbreak \\x1b[31mé 0" in averages.table()


def test_an_unknown_sort_key_is_an_attribute_error_that_names_the_known() -> None:
    with pytest.raises(AttributeError, match=r"cannot sort by 'speed'\. Use one of key, count, cpu_time_total"):
        key_averages([steps_of_two_kinds()]).table(sort_by="speed")


def test_no_slices_make_an_empty_table() -> None:
    assert "Self CPU time total: 0.000us" in key_averages([TraceBuilder().build()]).table()


def test_events_are_slices_with_their_parents_and_children() -> None:
    events = function_events(steps_of_two_kinds())
    step, work, wait = (
        next(event for event in events if event.name == name) for name in ("ProfilerStep*", "work", "wait")
    )
    inner = work.cpu_children[0]

    assert len(events) == 7
    assert (step.trace_name, step.cpu_parent, step.cpu_children) == ("ProfilerStep#0", None, [work])
    assert (work.cpu_parent, inner.trace_name, inner.cpu_parent) == (step, "wait", work)
    assert (wait.thread, wait.time_range.elapsed_us()) == (9, 3.0)
    assert (work.start_ns, work.end_ns, work.duration_ns, dict(work.args)) == (1_000, 5_000, 4_000, {"n": 0})
    assert (work.category, work.is_user_annotation, work.count) == ("user_annotation", True, 1)
    assert (work.cpu_time_total, work.self_cpu_time_total) == (4.0, 3.0)
