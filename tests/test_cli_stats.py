"""`stepscope stats`: the averages of files, as text, Markdown and JSON."""

import json
import os
from pathlib import Path
from types import MappingProxyType

import pytest

from cli_runner import program, stepscope, troubles
from stepscope import Trace, profile, read, record_function, schedule, trace_handler, write
from stepscope.analysis.averages import key_averages
from stepscope.cli.stats import BY, FIGURES, SORTS
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

FIXTURES = Path(__file__).parent.parent / "fixtures" / "traces"
TORCH = FIXTURES / "torch-2.13-mlp.pt.trace.json"


def steps(rank: int = 0, first: int = 0) -> Trace:
    """Two steps of 10 us, each with 4 us of work and, in that, 1 us of waiting; one slice that is cut."""
    builder = TraceBuilder(Origin(pid=7, rank=rank, world_size=2))
    track = builder.thread(7, 8, "main", "p")
    for number in range(2):
        at = number * 20_000
        builder.slice(track, f"ProfilerStep#{first + number}", at, 10_000)
        builder.slice(track, "work", at + 1_000, 4_000)
        builder.slice(track, "wait", at + 2_000, 1_000)
    builder.slice(builder.thread(7, 9, "other", "p"), "wait", 40_000, 3_000, cut=True)
    return builder.build()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(steps(), tmp_path / "run.pftrace")


def rows_of(*arguments: object) -> list[dict[str, object]]:
    result = stepscope("stats", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, object]] = json.loads(result.stdout)["rows"]
    return rows


@pytest.mark.parametrize("ending", [".pftrace", ".json", ".pt.trace.json.gz"])
def test_text_is_the_table_of_the_averages_with_the_problems_below(tmp_path: Path, ending: str) -> None:
    path = write(steps(), tmp_path / f"run{ending}")

    result = stepscope("stats", path)

    expected = key_averages([read(path)]).table("self_cpu_time_total", header=str(path))
    assert (result.exit_code, result.stderr, result.stdout) == (0, "", expected)
    assert expected.splitlines()[1] == str(path)
    assert expected.endswith("\n1 cut: 'wait' was open at the edge of what was recorded\n")


def test_markdown_is_the_same_table(trace: Path) -> None:
    out = stepscope("stats", trace, "--format", "markdown", "--sort", "calls", "--limit", "1", "--steps").stdout

    assert out == key_averages([steps()]).markdown("count", 1, per_step=True)
    assert out.count("\n| ") == 2  # the line below the titles, and one row
    assert "| Calls/step |" in out


def test_json_has_files_problems_and_every_figure_under_torchs_names(trace: Path) -> None:
    document = json.loads(stepscope("stats", trace, "--format", "json", "--steps").stdout)

    assert list(document) == ["files", "by", "self_cpu_time_total", "rows"]
    (problem,) = steps().problems
    assert document["files"] == [
        {
            "file": str(trace),
            "tool": "stepscope",
            "rank": 0,
            "events": 7,
            "steps": [0, 1],
            "problems": [problem._asdict()],
        }
    ]
    assert (document["by"], document["self_cpu_time_total"]) == (["name"], 23.0)
    rows = {row["key"]: row for row in document["rows"]}
    assert [row["key"] for row in document["rows"]] == ["ProfilerStep*", "work", "wait"]
    assert list(rows["work"]) == ["key", "device", *FIGURES, "steps"]
    assert rows["wait"] | {"steps": None} == {
        "key": "wait",
        "device": False,
        "steps": None,
        **dict.fromkeys(FIGURES, 0),
        "count": 3,
        "cpu_time_total": 5.0,
        "self_cpu_time_total": 5.0,
        "cpu_time": 5.0 / 3,
        "cpu_time_min": 1.0,
        "cpu_time_median": 1.0,
        "cpu_time_p95": 2.8,
        "cpu_time_max": 3.0,
    }
    assert rows["wait"]["steps"] == {
        "0": {"count": 1, "cpu_time_total": 1.0},
        "1": {"count": 1, "cpu_time_total": 1.0},
    }


def test_several_files_are_added_up_or_told_apart(tmp_path: Path) -> None:
    paths = [write(steps(rank), tmp_path / f"rank{rank}.pftrace") for rank in (0, 1)]

    together, apart = rows_of(*paths), rows_of(*paths, "--by", "rank", "--by", "thread")

    assert [(row["key"], row["count"]) for row in together] == [("ProfilerStep*", 4), ("work", 4), ("wait", 6)]
    waits = [(row["rank"], row["thread"], row["count"]) for row in apart if row["key"] == "wait"]
    assert sorted(map(str, waits)) == sorted(
        map(str, [(0, "main", 2), (0, "other", 1), (1, "main", 2), (1, "other", 1)])
    )


def test_rows_go_by_step_where_asked(trace: Path) -> None:
    by_step = rows_of(trace, "--by", "step", "--sort", "first")

    assert [(row["key"], row["step"], row["count"]) for row in by_step] == [
        ("ProfilerStep*", 0, 1),
        ("work", 0, 1),
        ("wait", 0, 1),
        ("ProfilerStep*", 1, 1),
        ("work", 1, 1),
        ("wait", 1, 1),
        ("wait", -1, 1),
    ]
    assert "          Step  " in stepscope("stats", trace, "--by", "step").stdout.splitlines()[3]


def test_torchs_own_file_has_torchs_figures() -> None:
    rows = {row["key"]: row for row in rows_of(TORCH, "--by", "step", "--limit", "0") if row["step"] == 2}

    assert rows["aten::addmm"]["count"] == 2
    assert "steps" not in rows["aten::addmm"]
    everything = {row["key"]: row for row in rows_of(TORCH, "--limit", "0")}
    assert everything["aten::addmm"]["count"] == 4


@pytest.mark.parametrize("asked", [*SORTS, *FIGURES])
def test_rows_are_sorted_by_any_figure_largest_first(trace: Path, asked: str) -> None:
    if asked in {"cpu_time_min"}:
        key = asked
    key = SORTS.get(asked, asked)
    figures = [row[key] for row in rows_of(trace, "--sort", asked)]

    assert figures == sorted(figures, reverse=True)  # type: ignore[type-var]


def test_first_keeps_the_order_and_limit_says_how_many(trace: Path) -> None:
    assert [row["key"] for row in rows_of(trace, "--sort", "first")] == ["ProfilerStep*", "work", "wait"]
    assert [row["key"] for row in rows_of(trace, "--sort", "p95", "--limit", "2")] == ["ProfilerStep*", "work"]
    assert len(rows_of(trace, "--limit", "0")) == 3
    assert "work" not in stepscope("stats", trace, "--limit", "1").stdout
    assert "work" in stepscope("stats", trace, "--limit", "0").stdout


def test_spread_and_steps_add_columns(trace: Path) -> None:
    titles = stepscope("stats", trace, "--spread", "--steps").stdout.splitlines()[3].split("  ")

    assert {"Median", "p95", "Max", "Calls/step", "CPU/step", "Step %"} <= {title.strip() for title in titles}


def test_what_rows_cannot_go_by_is_said_once_on_stderr(trace: Path) -> None:
    result = stepscope("stats", trace, "--by", "shape")

    assert result.exit_code == 0
    assert result.stderr == (
        "stepscope: warning: nothing that was recorded has input shapes: rows are not told apart by that.\n"
    )
    assert set(BY) == {"thread", "rank", "step", "shape", "stack"}


def test_a_folder_stands_for_its_newest_trace(tmp_path: Path) -> None:
    with profile(
        schedule=schedule(wait=0, warmup=1, active=1, repeat=2), on_trace_ready=trace_handler(tmp_path)
    ) as prof:
        for number in range(4):
            with record_function(f"call {number}"):
                pass
            prof.step()
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        os.utime(path, ns=(number, number))
    newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for name in ("newer.txt", "newer.folded", "newer.speedscope.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.json").mkdir()

    document = json.loads(stepscope("stats", tmp_path, "--format", "json").stdout)

    assert document["files"][0]["file"] == str(newest)
    assert "call 3" in {row["key"] for row in document["rows"]}


@pytest.mark.parametrize("ending", ["pftrace", "json", "json.gz"])
def test_of_a_folder_a_child_is_read_only_if_there_is_nothing_else(tmp_path: Path, ending: str) -> None:
    of_a_child = {"cycle": 0, "profile_pid": 6}
    for age, (name, session) in enumerate({"child": of_a_child, "own": {"cycle": 0}}.items()):
        trace = TraceBuilder(Origin(pid=7, session=MappingProxyType(session))).build()
        path = write(trace, tmp_path / f"{name}.{ending}")
        os.utime(path, ns=(100 - age, 100 - age))

    def newest() -> str:
        document = json.loads(stepscope("stats", tmp_path, "--format", "json").stdout)
        return Path(document["files"][0]["file"]).name

    assert newest() == f"own.{ending}"
    (tmp_path / f"own.{ending}").unlink()
    assert newest() == f"child.{ending}"


def test_a_folder_without_a_trace_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")

    (message,) = troubles(stepscope("stats", tmp_path))

    assert message.startswith(f"{tmp_path}: there is no trace in this folder.")


def test_stdin_is_a_file_too(trace: Path) -> None:
    result = stepscope("stats", "-", stdin=trace.read_bytes())

    assert result.stdout == key_averages([steps()]).table("self_cpu_time_total", header="-")


def test_bad_files_and_keys_are_one_line_and_exit_code_2(tmp_path: Path, trace: Path) -> None:
    empty, noise, cut = (tmp_path / name for name in ("empty.json", "noise", "cut.json"))
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(1, 256)) * 9)
    cut.write_bytes(write(steps(), tmp_path / "run.json").read_bytes()[:-100])

    for path in (empty, noise, cut):
        (message,) = troubles(stepscope("stats", trace, path))
        assert message.startswith(f"{path}: ")
    assert troubles(stepscope("stats", tmp_path / "absent")) == [f"{tmp_path / 'absent'}: No such file or directory"]
    (message,) = troubles(stepscope("stats", trace, "--sort", "beauty"))
    assert message.startswith("--sort: cannot sort by 'beauty'. Use one of key, count, ")


def test_a_damaged_file_is_averaged_as_far_as_it_is_whole_and_says_so(tmp_path: Path) -> None:
    cut = tmp_path / "cut.json"
    cut.write_bytes(write(steps(), tmp_path / "run.json").read_bytes()[:-100])

    result = stepscope("stats", "--non-strict", cut)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("1 truncated: byte ")


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "\x1b[31mthread"), "\x1b[31mred\r\n", 0, 1000)
    path = write(builder.build(), tmp_path / "\x1b[31m.json")

    for form in ("text", "markdown"):
        out = stepscope("stats", path, "--by", "thread", "--format", form).stdout
        assert "\x1b" not in out
        assert r"x1b[31mred\r\n" in out.replace("\\[", "[").replace("\\\\", "\\")


def test_an_empty_trace_is_an_empty_table(tmp_path: Path) -> None:
    path = write(TraceBuilder().build(), tmp_path / "empty.json")

    assert rows_of(path) == []
    assert stepscope("stats", path).stdout.endswith("\nSelf CPU time total: 0.000us\n")


def test_stats_as_a_user_starts_it(trace: Path) -> None:
    done = program("stats", trace, "--limit", "1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "ProfilerStep*" in done.stdout
