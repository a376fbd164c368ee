"""What can be asked of a profile's finished cycles: events, averages, totals, stacks."""

from pathlib import Path

import pytest

from clock import FakeClock
from stepscope import AnalysisError, ProfilerAction, StepscopeWarning, profile, record_function


def test_events_averages_and_totals_are_of_the_last_cycle_or_of_all(clock: FakeClock, tmp_path: Path) -> None:
    for accumulate in (False, True):
        prof = profile(schedule=lambda _: ProfilerAction.RECORD_AND_SAVE, acc_events=accumulate)
        with prof:
            for _ in range(2):
                with record_function("f"):
                    clock.now += 3_000
                prof.step()
        averages = prof.key_averages(group_by_thread=True, group_by_rank=True)
        total = prof.total_average()

        cycles = 3 if accumulate else 1  # the third one has an empty step
        assert [event.step for event in prof.events() if event.name == "ProfilerStep*"] == [0, 1, 2][3 - cycles :]
        assert (total.key, total.count) == ("Total", 5 if accumulate else 1)
        assert prof.self_cpu_time_total == total.self_cpu_time_total == averages.self_cpu_time_total
        assert {(row.thread, row.rank) for row in averages} == {("MainThread", 0)}
        prof.export_chrome_trace(tmp_path / "0.json")
        averages.export_chrome_trace(tmp_path / "1.json")
        prof.events().export_chrome_trace(tmp_path / "2.json")
        assert len({(tmp_path / f"{number}.json").read_bytes() for number in range(3)}) == 1


def test_rows_cannot_be_told_apart_by_what_was_not_recorded_and_the_caller_is_told(clock: FakeClock) -> None:
    with profile() as prof, record_function("f"):
        clock.now += 1
    with pytest.warns(StepscopeWarning, match="nothing that was recorded has input shapes") as said:
        prof.key_averages(group_by_input_shape=True)

    assert said[0].filename == __file__


def test_stacks_are_not_written_where_no_call_was_traced(clock: FakeClock, tmp_path: Path) -> None:
    with profile() as prof, record_function("f"):
        clock.now += 1
    with pytest.raises(AnalysisError, match="calls were not traced"):
        prof.export_stacks(str(tmp_path / "stacks.txt"))
    assert list(tmp_path.iterdir()) == []
