"""Several traces as one: who is who, when it was, and that nothing is lost."""

from stepscope.analysis.merge import merge
from stepscope.core.clock import Clocks
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin, Trace

BASE = 10**18


def recorded(
    *names: str, at: int = 0, host: str = "a", rank: int = 0, pid: int = 7, base: int = BASE, process: str = "train"
) -> Trace:
    """A trace of slices of 10 ns, one behind the other."""
    origin = Origin(base_ns=base, clocks=Clocks(base, base, base), host=host, rank=rank, pid=pid, world_size=rank + 1)
    builder = TraceBuilder(origin)
    thread = builder.thread(pid, 70, "main", process)
    for place, name in enumerate(names):
        builder.slice(thread, name, at + 10 * place, 10, args={"by": rank})
    return builder.build()


def told(trace: Trace) -> list[tuple[int, str, int, int, str]]:
    """When, what, and where each slice is."""
    return [(row.ts, row.name, row.track.pid, row.track.tid, row.track.process) for row in trace]


def test_one_trace_is_itself() -> None:
    one = recorded("a")

    assert merge({"one": one}) is one


def test_cycles_of_a_process_are_on_its_threads() -> None:
    merged = merge({"late": recorded("c", at=500), "early": recorded("a", "b", at=100)})

    assert told(merged) == [
        (100, "a", 7, 70, "train"),
        (110, "b", 7, 70, "train"),
        (500, "c", 7, 70, "train"),
    ]
    assert len(merged.tracks) == 1
    assert [row.args for row in merged] == [{"by": 0}] * 3
    assert merged.problems == ()


def test_ranks_of_the_same_pid_stay_apart_and_are_called_by_rank_and_host() -> None:
    """In containers every process has the pid 1."""
    merged = merge({"0": recorded("a", host="a", pid=1), "1": recorded("b", at=5, host="b", rank=1, pid=1)})

    (zero, one) = told(merged)
    assert zero == (0, "a", 1, 70, "train (rank 0, a)")
    assert one[:2] == (5, "b")
    assert one[2] > 1 << 22
    assert one[3:] == (70, "train (rank 1, b)")
    assert merged.origin.world_size == 2


def test_traces_of_different_bases_are_where_they_were_in_time() -> None:
    merged = merge({"late": recorded("b", base=BASE + 1000), "early": recorded("a", at=5)})

    assert [(row.ts, row.name) for row in merged] == [(5, "a"), (1000, "b")]
    assert merged.origin.base_ns == BASE


def test_a_trace_that_does_not_say_when_it_was_begins_with_the_first_that_does() -> None:
    merged = merge({"x": recorded("x", "y", at=77, base=0, host=""), "known": recorded("a", at=5000)})

    assert [(row.ts, row.name) for row in merged] == [(5000, "x"), (5000, "a"), (5010, "y")]


def test_traces_that_say_nothing_of_themselves_are_processes_of_their_own() -> None:
    merged = merge({"x": recorded("x", base=0, host=""), "y": recorded("y", base=0, host="")})

    assert [(row.ts, row.name) for row in merged] == [(0, "x"), (0, "y")]
    assert len({row.track.pid for row in merged}) == 2


def test_counters_flows_instants_and_what_was_lost_are_there() -> None:
    def rich(at: int, rank: int) -> Trace:
        builder = TraceBuilder(Origin(base_ns=BASE, host="a", rank=rank, metadata={"lr": rank}))
        thread = builder.thread(7, 70, "main", "train")
        rows = [builder.slice(thread, "put", at, 5), builder.slice(thread, "get", at + 10, 5, cut=True)]
        builder.instant(thread, "mark", at + 12)
        builder.flow("batch", rows)
        builder.count(builder.counter_track(7, "queue", "count", "train"), at, rank)
        builder.problem("dropped", 2, "some")
        return builder.build()

    merged = merge({"one.json": rich(0, 0), "two.json": rich(100, 1)})

    assert [(row.ts, row.name) for row in merged] == [
        (0, "put"), (10, "get"), (12, "mark"), (100, "put"), (110, "get"), (112, "mark"),
    ]  # fmt: skip
    assert [(flow, merged[row].name) for flow, row in zip(merged.flows.flow, merged.flows.row, strict=True)] == [
        (0, "put"), (0, "get"), (1, "put"), (1, "get"),
    ]  # fmt: skip
    counted = zip(merged.counters.ts, merged.counters.value, merged.counters.track, strict=True)
    assert [(ts, value, merged.tracks[track].process, merged.tracks[track].unit) for ts, value, track in counted] == [
        (0, 0, "train (rank 0)", "count"),
        (100, 1, "train (rank 1)", "count"),
    ]
    assert [tuple(problem) for problem in merged.problems] == [
        ("cut", 2, "'get' was open at the edge of what was recorded"),
        ("dropped", 4, "one.json: some"),
    ]
    assert merged.origin.metadata == {"one.json": {"lr": 0}, "two.json": {"lr": 1}}
