"""Averages: torch's names for what the columns say, and what torch lacks; test_torch_averages holds them to torch."""

import random
from typing import Any

import numpy
import pytest

from stepscope import StepscopeWarning
from stepscope.analysis.average import InStep
from stepscope.analysis.averages import key_averages
from stepscope.analysis.event_list import Events
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace


def steps_of_two_kinds(rank: int = 0) -> Trace:
    """Two steps of 10 us, each with 4 us of work and, in that, 1 us of waiting; an instant; a slice that is cut."""
    builder = TraceBuilder(Origin(pid=7, rank=rank))
    track = builder.thread(7, 8, "main", "p")
    for number in range(2):
        at = number * 20_000
        builder.slice(track, f"ProfilerStep#{number}", at, 10_000)
        builder.slice(track, "work", at + 1_000, 4_000, args={"n": number})
        builder.slice(track, "wait", at + 2_000, 1_000)
        builder.instant(track, "mark", at + 2_500)
    builder.slice(builder.thread(7, 9, "other", "p"), "wait", 0, 3_000, cut=True)
    return builder.build()


def one_track(*slices: tuple[str, int, int], **options: Any) -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for name, ts, dur in slices:
        builder.slice(track, name, ts, dur, **options)
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


def test_the_table_says_what_is_not_as_it_was() -> None:
    table = key_averages([steps_of_two_kinds()]).table(sort_by="self_cpu_time_total", row_limit=2)
    rule = "-----------------  ------------  ------------  ------------  ------------  ------------  ------------  "

    assert table.splitlines() == [
        rule,
        "             Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls  ",
        rule,
        "    ProfilerStep*        52.17%      12.000us        86.96%      20.000us      10.000us             2  ",
        "             work        26.09%       6.000us        34.78%       8.000us       4.000us             2  ",
        rule,
        "Self CPU time total: 23.000us",
        "1 cut: 'wait' was open at the edge of what was recorded",
    ]


def test_all_rows_are_shown_with_a_limit_of_minus_one_and_names_stay_on_their_line() -> None:
    averages = key_averages([one_track(*((f"line\nbreak \x1b[31mé {number}", number * 2, 1) for number in range(120)))])

    assert len(averages.table().splitlines()) == 100 + 5
    assert len(averages.table(row_limit=-1).splitlines()) == 120 + 5
    assert len(averages.table(row_limit=0).splitlines()) == 5
    assert "line\\nbreak \\x1b[31mé 0" in averages.table()


def test_columns_are_as_wide_as_what_is_in_them_where_no_limit_is_set() -> None:
    name = "a" * 70
    averages = key_averages([one_track((name, 0, 9))])

    assert f"{name[:52]}..." in averages.table()
    assert name in averages.table(max_name_column_width=None)


def test_an_unknown_sort_key_is_an_attribute_error_that_names_the_known() -> None:
    averages = key_averages([steps_of_two_kinds()])
    with pytest.raises(AttributeError, match=r"cannot sort by 'speed'\. Use one of key, count, cpu_time,"):
        averages.table(sort_by="speed")
    with pytest.raises(AttributeError, match="cannot sort by 'rank'"):
        averages.table(sort_by="rank")

    lines = averages.table(sort_by="privateuse1_time_total").splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["ProfilerStep*", "wait", "work"]


def test_an_unknown_unit_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"time_unit must be one of 's', 'ms', 'us', or None, got 'ns'"):
        key_averages([steps_of_two_kinds()]).table(time_unit="ns")


def test_no_slices_make_an_empty_table() -> None:
    averages = key_averages([TraceBuilder().build()])

    assert "Self CPU time total: 0.000us" in averages.table()
    assert (list(averages), averages.self_cpu_time_total, averages.total_average().count) == ([], 0.0, 0)
    assert "NaN" in key_averages([one_track(("nothing", 0, 0))]).table()


def test_averages_are_a_list() -> None:
    averages = key_averages([steps_of_two_kinds()])

    assert isinstance(averages, list)
    assert [row.key for row in averages] == ["ProfilerStep*", "wait", "work"]
    assert [row.key for row in sorted(averages, key=lambda row: row.count)][-1] == "wait"
    assert averages[0] in averages
    assert (len(averages), averages[1].key, [row.key for row in averages[:1]]) == (3, "wait", ["ProfilerStep*"])
    assert str(averages) == averages.table()


def test_totals_are_those_of_all_rows() -> None:
    averages = key_averages([steps_of_two_kinds(), steps_of_two_kinds()])
    total = averages.total_average()

    assert averages.self_cpu_time_total == 46.0
    assert (total.key, total.count, total.cpu_time_total, total.self_cpu_time_total) == ("Total", 14, 66.0, 46.0)
    assert (total.cpu_time_max, total.cpu_time_total_str) == (10.0, "66.000us")


def test_rows_of_one_key_are_added_up() -> None:
    one, two = (key_averages([one_track(("f", 0, dur))])[0] for dur in (3_000, 5_000))
    one += two
    one.add(Events([one_track(("f", 0, 1_000))])[0])

    assert (one.count, one.cpu_time_total, one.cpu_time, one.cpu_time_median) == (3, 9.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="the row is of 'f', the other one of 'g'"):
        one.add(key_averages([one_track(("g", 0, 1))])[0])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 1000])
def test_percentiles_are_numpys(count: int) -> None:
    chance = random.Random(count)  # noqa: S311 - the same every time
    durs = [chance.randrange(1, 10**9) for _ in range(count)]
    halves = durs[: count // 2], durs[count // 2 :]
    traces = [one_track(*(("f", number << 31, dur) for number, dur in enumerate(half))) for half in halves]
    (row,) = key_averages(traces)

    for percent in (0, 1, 50, 95, 99.9, 100):
        assert row.percentile(percent) == pytest.approx(numpy.percentile(durs, percent) / 1000, rel=1e-12)
    assert (row.cpu_time_median, row.cpu_time_p95) == (row.percentile(50), row.percentile(95))
    assert (row.cpu_time_min, row.cpu_time_max) == (min(durs) / 1000, max(durs) / 1000)
    for percent in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="percent must be from 0 to 100"):
            row.percentile(percent)


def test_the_table_shows_the_spread_and_the_steps_where_asked() -> None:
    table = key_averages([steps_of_two_kinds()]).table(stats=True, per_step=True, time_unit="us").splitlines()
    titles = "CPU time avg|Median|p95|Max|# of Calls|Calls/step|CPU/step|Step %"
    wait = "1.667us|1.000us|2.800us|3.000us|3|1.50|2.500us|25.00%"

    assert [title.strip() for title in table[1].split("  ") if title.strip()][5:] == titles.split("|")
    assert table[4].split()[5:] == wait.split("|")


def test_what_begins_in_a_step_is_of_that_step_on_whatever_thread() -> None:
    rows = {row.key: row for row in key_averages([steps_of_two_kinds()])}

    assert rows["wait"].steps == {0: InStep(2, 4.0), 1: InStep(1, 1.0)}
    assert (rows["wait"].count_per_step, rows["wait"].cpu_time_per_step, rows["wait"].step_share) == (1.5, 2.5, 0.25)
    assert rows["ProfilerStep*"].step_share == 1.0
    outside = key_averages([one_track(("ProfilerStep#1", 0, 10), ("f", 3, 2), ("f", 10, 5))])[1]
    assert (outside.steps, outside.count) == ({1: InStep(1, 0.002)}, 2)
    none = key_averages([one_track(("f", 0, 5))])[0]
    assert (none.steps, none.count_per_step, none.cpu_time_per_step, none.step_share) == ({}, 0.0, 0.0, 0.0)


def test_steps_of_several_processes_in_one_trace_are_told_apart() -> None:
    builder = TraceBuilder(Origin(pid=7))
    for pid in (7, 9):
        track = builder.thread(pid, pid, "main", f"rank {pid}")
        for number in range(2):
            builder.slice(track, f"ProfilerStep#{number}", number * 100 + pid, 100)
            builder.slice(track, "f", number * 100 + pid, pid)
    row = key_averages([builder.build()])[1]

    assert row.steps == {0: InStep(2, 0.016), 1: InStep(2, 0.016)}
    assert [(event.step, event.track.pid) for event in Events([builder_of(7, 9)]) if event.name == "f"] == [
        (0, 7),
        (0, 9),
    ]


def builder_of(*pids: int) -> Trace:
    builder = TraceBuilder(Origin(pid=7))
    for pid in pids:
        track = builder.thread(pid, pid, "main", f"rank {pid}")
        builder.slice(track, "ProfilerStep#0", pid, 100)
        builder.slice(track, "f", pid + 1, 5)
    return builder.build()


def test_threads_are_told_apart_where_asked() -> None:
    averages = key_averages([steps_of_two_kinds(), steps_of_two_kinds()], group_by_thread=True)

    assert [(row.key, row.thread, row.count) for row in averages] == [
        ("ProfilerStep*", "main", 4),
        ("wait", "other", 2),
        ("work", "main", 4),
        ("wait", "main", 4),
    ]
    assert "  Thread  " in averages.table(sort_by="thread").splitlines()[1]


def test_ranks_are_told_apart_where_asked() -> None:
    traces = [steps_of_two_kinds(rank) for rank in (0, 3)]
    averages = key_averages(traces, group_by_rank=True)
    together = key_averages(traces)

    assert [(row.key, row.rank, row.count) for row in averages if row.key == "wait"] == [("wait", 0, 3), ("wait", 3, 3)]
    assert [row.step_share for row in averages if row.key == "wait"] == [0.25, 0.25]
    assert [(row.key, row.rank, row.count, row.step_share) for row in together if row.key == "wait"] == [
        ("wait", None, 6, 0.25)
    ]
    assert averages.table(sort_by="rank").splitlines()[3].split()[-1] == "3"
    assert averages.table().splitlines()[1].split()[-1] == "Rank"


def test_steps_are_told_apart_where_asked() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for ts, dur, name in ((0, 1, "work"), (10, 20, "ProfilerStep#4"), (11, 5, "work"), (40, 10, "ProfilerStep#5")):
        builder.slice(track, name, ts * 1000, dur * 1000)
    trace = builder.build()
    averages = key_averages([trace, trace], group_by_step=True)

    assert [(row.key, row.step, row.count, row.total_ns, row.step_share) for row in averages] == [
        ("work", -1, 2, 2_000, 0.0),
        ("ProfilerStep*", 4, 2, 40_000, 1.0),
        ("work", 4, 2, 10_000, 0.25),
        ("ProfilerStep*", 5, 2, 20_000, 1.0),
    ]
    lines = averages.table(sort_by="step").splitlines()
    assert [line.split()[-1] for line in (lines[1], *lines[3:7])] == ["Step", "5", "4", "4", "--"]
    assert [row.step for row in Events([trace]).key_averages(group_by_step=True)] == [-1, 4, 4, 5]


def test_markdown_is_the_same_table_and_shows_names_as_they_are() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    builder.slice(track, "a|b `c` *d* <e> [f](g) " + "long" * 30 + "\n", 0, 3_000)
    builder.slice(track, "x", 5_000, 1_000, cut=True)

    assert key_averages([builder.build()]).markdown(sort_by="cpu_time_total", time_unit="us").splitlines() == [
        "| Name | Self CPU % | Self CPU | CPU total % | CPU total | CPU time avg | # of Calls |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
        r"| a\|b \`c\` \*d\* \<e\> \[f\](g) "
        + "long" * 30
        + r"\\n | 75.00% | 3.000us | 75.00% | 3.000us | 3.000us | 1 |",
        "| x | 25.00% | 1.000us | 25.00% | 1.000us | 1.000us | 1 |",
        "",
        "- Self CPU time total: 4.000us",
        "- 1 cut: 'x' was open at the edge of what was recorded",
    ]


def test_what_rows_cannot_be_told_apart_by_is_said() -> None:
    with pytest.warns(StepscopeWarning, match="has input shapes or overload names or stacks: rows are not") as said:
        averages = key_averages([steps_of_two_kinds()], True, 5, True)

    assert said[0].filename == __file__
    assert [row.key for row in averages] == ["ProfilerStep*", "wait", "work"]


def test_operators_are_told_apart_by_shapes_and_their_flops_added_up() -> None:
    builder = TraceBuilder(Origin(pid=7))
    track = builder.thread(7, 8, "main", "p")
    for number, shape in enumerate(([[2, 3], []], [[2, 3], []], [[[5], [6]]])):
        args = {"Input Dims": shape, "flops": 3000, "Overload name": "out" if number else ""}
        builder.slice(track, "mm", number * 10, 9, cat="cpu_op", args=args)
    builder.slice(track, "view", 100, 9, cat="cpu_op", args={"flops": 5_000_000_000})
    trace = builder.build()

    assert [(row.key, row.input_shapes, row.count) for row in key_averages([trace], True)] == [
        ("mm", [[2, 3], []], 2),
        ("mm", [[]], 1),
        ("view", [], 1),
    ]
    assert [(row.overload_name, row.count) for row in key_averages([trace], False, 0, True)] == [
        ("", 1),
        ("out", 2),
        ("", 1),
    ]
    plain = key_averages([trace])
    assert [(row.flops, row.input_shapes) for row in plain] == [(9000, ""), (5_000_000_000, "")]
    table = plain.table().splitlines()
    assert [line.split()[-1] for line in table[3:5]] == ["9.000", "5000000.000"]
    assert table[1].endswith("Total KFLOPs  ")
