"""`stepscope diff`: what it reads, what it prints and writes, its rules and its exit codes."""

import json
import os
import pty
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_runner import program, stepscope, troubles
from forest import Node, Program, node
from stepscope import (
    DiffError,
    FormatError,
    diff,
    overlay,
    profile,
    read,
    record_function,
    schedule,
    trace_handler,
    write,
)
from stepscope.analysis.diff import KINDS, NAME_RULES, Rules
from stepscope.cli import diff_rules
from stepscope.cli.diff_rules import KEYS, TABLE
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

SOURCE = Path(diff_rules.__file__).resolve().parents[2]
STEP = (node("load"), node("forward", node("conv"), node("relu")), node("backward", node("grad")))
CLIP = node("clip", node("norm"))
BASE = Program(dict.fromkeys(range(6), STEP))
HEAD = Program(dict.fromkeys(range(6), (*STEP, CLIP)))
FORMS = ("text", "markdown", "json", "html")
FINDING = "added: 0 -> 1 calls, in all 6 steps"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that has nothing above it that has rules."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))  # which may have been relative
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(BASE.trace(), tmp_path / "base.json")


@pytest.fixture
def head(tmp_path: Path) -> Path:
    return write(HEAD.trace(pid=9, tid=77, start_us=123), tmp_path / "head.pftrace.gz")


def written(tmp_path: Path, name: str, *inside: Node, **more: Any) -> Path:
    return write(replace(BASE, steps=dict.fromkeys(range(6), inside or STEP), **more).trace(), tmp_path / name)


def slowed(own_us: float) -> tuple[Node, ...]:
    return (node("load"), node("forward", node("conv", own_us=own_us), node("relu")), STEP[2])


def kinds_of(*arguments: object) -> Mapping[str, int]:
    """How many findings of each kind there are; the exit code is theirs."""
    result = stepscope("diff", "--format", "json", *arguments)
    counts: Mapping[str, int] = json.loads(result.stdout)["counts"]
    assert result.exit_code == (1 if counts else 0), result.output
    return counts


def test_the_same_program_is_the_same_in_another_format_under_other_ids(base: Path, tmp_path: Path) -> None:
    other = write(BASE.trace(pid=9, tid=77, start_us=9_999), tmp_path / "head.pftrace.gz")

    result = stepscope("diff", base, other)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "same (6 steps, times of 7 paths compared)\n"


def test_a_difference_is_exit_code_1_and_the_tree_that_shows_it(base: Path, head: Path) -> None:
    result = stepscope("diff", base, head)

    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == diff(read(base), read(head)).text(width=100)
    lines = result.stdout.splitlines()
    assert lines[0] == "different: 1 added (6 steps, times of 7 paths compared)"
    assert any("+ clip" in line and FINDING in line for line in lines)
    assert "norm" not in result.stdout


def test_diff_as_a_user_starts_it(base: Path, head: Path, tmp_path: Path) -> None:
    assert program("diff", base, base).returncode == 0
    done = program("diff", base, head)
    assert (done.returncode, done.stderr, done.stdout.partition(":")[0]) == (1, "", "different")
    done = program("diff", base, tmp_path / "absent.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"stepscope: {tmp_path / 'absent.json'}: No such file or directory\n"


def test_stdin_is_a_side_but_not_both(base: Path, head: Path) -> None:
    assert stepscope("diff", base, "-", stdin=head.read_bytes()).exit_code == 1
    assert stepscope("diff", "-", head, stdin=head.read_bytes()).exit_code == 0
    result = stepscope("diff", "-", base, "--head-run", "-", stdin=b"")
    assert (result.exit_code, "stdin, which can be read once" in result.stderr) == (2, True)


# What is printed and written


def test_markdown_json_and_html_are_those_of_the_diff(base: Path, head: Path) -> None:
    found = diff(read(base), read(head))
    expected = {"text": found.text(), "markdown": found.markdown(), "json": found.to_json() + "\n"}

    for form, text in {**expected, "html": found.html()}.items():
        result = stepscope("diff", base, head, "--format", form)
        assert (result.exit_code, result.stdout) == (1, text)


def test_json_is_an_object_of_the_documented_form(base: Path, head: Path) -> None:
    document = json.loads(stepscope("diff", base, head, "--format", "json").stdout)

    assert {**document, "findings": [], "unsure": []} == {
        "schema": "stepscope.diff/1",
        "verdict": "different",
        "counts": {"added": 1},
        "runs": {"base": 1, "head": 1},
        "steps": 6,
        "judged": 7,
        "findings": [],
        "unsure": [],
        "limits": [],
        "loosely": [],
    }
    (finding,) = document["findings"]
    assert finding == {
        "kind": "added",
        "what": "slice",
        "where": {
            "process": "train.py",
            "thread": "MainThread",
            "path": ["ProfilerStep#*"],
            "steps": [0, 1, 2, 3, 4, 5],
        },
        "name": "clip",
        "base": 0,
        "head": 1,
        "count": 6,
        "unit": "calls",
    }


def test_the_html_page_is_self_contained(base: Path, head: Path) -> None:
    page = stepscope("diff", base, head, "--format", "html").stdout

    assert page.startswith("<!DOCTYPE html>")
    assert "clip" in page
    assert not re.search(r"https?:|//|<script|<link|<img|<iframe|@import|url\(|\ssrc=|\shref=", page)


def test_output_goes_to_files_in_the_formats_that_their_endings_name(base: Path, head: Path, tmp_path: Path) -> None:
    paths = {
        form: tmp_path / f"out{ending}" for ending, form in zip((".txt", ".md", ".json", ".html"), FORMS, strict=True)
    }
    arguments = [part for path in paths.values() for part in ("-o", path)]

    result = stepscope("diff", base, head, *arguments)

    assert (result.exit_code, result.output) == (1, "")
    for form, path in paths.items():
        assert path.read_text() == stepscope("diff", base, head, "--format", form).stdout
    assert stepscope("diff", base, head, "-o", tmp_path / "any.name", "--format", "json").exit_code == 1
    assert (tmp_path / "any.name").read_bytes() == paths["json"].read_bytes()
    both = stepscope("diff", base, head, "-o", "-", "-o", tmp_path / "too.md")
    assert both.stdout == paths["text"].read_text()
    assert (tmp_path / "too.md").read_bytes() == paths["markdown"].read_bytes()


@pytest.mark.parametrize("ending", [".pftrace", ".json", ".pt.trace.json.gz"])
def test_the_overlay_has_both_traces_and_the_findings(base: Path, head: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"over{ending}"

    result = stepscope("diff", base, head, "--overlay", path)

    assert (result.exit_code, result.stderr) == (1, "")
    sides = read(base), read(head)
    laid = read(path)
    assert laid == overlay(*sides, diff(*sides))
    assert {track.process for track in laid.tracks} == {"base: train.py", "head: train.py", "diff"}
    assert [row.name for row in laid if row.track.process == "diff"] == ["added: clip"] * 6


def test_the_overlay_of_several_runs_shows_one_and_says_which(base: Path, head: Path, tmp_path: Path) -> None:
    result = stepscope("diff", base, head, "--base-run", base, "--overlay", tmp_path / "over.pftrace")

    assert result.stderr == f"stepscope: the overlay shows {base} and {head}\n"


def test_bad_output_is_said_before_anything_is_read(tmp_path: Path) -> None:
    absent = tmp_path / "absent"

    for option, name, part in (
        ("-o", "out.pdf", "the ending names no format. Use one of .txt, .md, .json, .html, or --format."),
        ("--overlay", "out.png", "the ending names no format. Use one of .json, "),
        ("--overlay", "out.folded", "folded has no room for an overlay."),
    ):
        (message,) = troubles(stepscope("diff", absent, absent, option, tmp_path / name))
        assert message.startswith(f"{tmp_path / name}: {part}")


def test_what_cannot_be_written_is_one_line(base: Path, head: Path, tmp_path: Path) -> None:
    for option, name in (("-o", "out.md"), ("--overlay", "out.json")):
        path = tmp_path / "no" / name
        (message,) = troubles(stepscope("diff", base, head, option, path))
        assert message.startswith(f"{path}: the file cannot be written: No such file")


def on_a_terminal(*arguments: object, **environment: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    program(*arguments, stdout=theirs, stderr=theirs, capture_output=False,
            env={**settings, "TERM": "xterm", "COLUMNS": "80", **environment})  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # Linux's word for the end of a terminal
        pass
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def test_colour_is_for_terminals_that_want_it(base: Path, head: Path) -> None:
    found = diff(read(base), read(head))

    assert on_a_terminal("diff", base, head) == found.text(color=True, width=80)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert on_a_terminal("diff", base, head, **environment) == found.text(width=80)
    assert json.loads(on_a_terminal("diff", base, head, "--format", "json"))["verdict"] == "different"
    assert "\x1b[" in found.text(color=True)
    assert "\x1b" not in stepscope("diff", base, head).stdout


def test_hostile_names_do_not_reach_the_terminal(base: Path, tmp_path: Path) -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "\x1b[31mthread"), "\x1b[31mred\r\n", 0, 1000, cut=True)
    builder.problem("\x1b[32mkind", 1, "\x1b[33mexample")
    path = write(builder.build(), tmp_path / "hostile.json")

    for form in ("text", "markdown", "html"):
        assert "\x1b" not in stepscope("diff", base, path, "--format", form).stdout


# What is read


def record(folder: Path, *names: str, cycles: int) -> None:
    """Run a program that does these things in each of two steps a cycle, and let a handler write to the folder."""
    with profile(
        schedule=schedule(wait=0, warmup=1, active=2, repeat=cycles),
        on_trace_ready=trace_handler(folder, background=False),
    ) as prof:
        for _ in range(3 * cycles):
            for name in names:
                with record_function(name):
                    pass
            prof.step()


def stored(folder: Path, name: str, pid: int, *inside: Node, rank: int = 0, base_ns: int = 10**18) -> Path:
    """A cycle of the run of that pid, as a file."""
    made = Program(dict.fromkeys(range(3), inside or STEP)).trace(pid=pid, base_ns=base_ns)
    builder = TraceBuilder(Origin(base_ns=base_ns, pid=pid, rank=rank, host="here", trace_id=f"{name} {pid} {rank}"))
    track = builder.thread(pid, pid, "MainThread", "train.py")
    for row in made:
        builder.slice(track, row.name, row.ts, row.dur, cat=row.cat, args=row.args)
    folder.mkdir(exist_ok=True)
    return write(builder.build(), folder / name)


def runs_of(*arguments: object) -> tuple[int, int]:
    runs = json.loads(stepscope("diff", "--format", "json", "--no-timings", *arguments).stdout)["runs"]
    return runs["base"], runs["head"]


def test_a_folder_is_each_of_its_cycles_once(tmp_path: Path) -> None:
    for name, more in (("base", ()), ("same", ()), ("head", ("clip",))):
        record(tmp_path / name, "load", "forward", *more, cycles=2)
        assert len(list((tmp_path / name).iterdir())) == 4

    base, same, head = (tmp_path / name for name in ("base", "same", "head"))

    assert runs_of(base, same) == (2, 2)
    assert kinds_of(base, same, "--no-timings") == {}
    assert kinds_of(base, head, "--no-timings") == {"added": 1}
    assert stepscope("diff", base, same).stderr == ""


def test_a_copy_of_a_cycle_is_that_cycle_and_what_is_no_trace_is_left_alone(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    path = stored(folder, "a.pftrace", 7)
    write(read(path), folder / "converted.json.gz")
    (folder / "notes.txt").write_text("none")
    (folder / "flame.folded").write_text("none")
    (folder / "folder.json").mkdir()

    assert runs_of(folder, base) == (1, 1)
    # Without an id nobody knows that two files are one.
    shutil.copy(base, folder / "b.json")
    shutil.copy(base, folder / "c.json")
    assert runs_of(folder, base) == (3, 1)


def test_ranks_are_compared_with_their_like(tmp_path: Path) -> None:
    for rank in (0, 1):
        stored(tmp_path / "base", f"rank{rank}.json", 7 + rank, rank=rank)
        stored(tmp_path / "head", f"rank{rank}.json", 9 - rank, *(STEP if rank else (*STEP, CLIP)), rank=rank)

    document = json.loads(stepscope("diff", tmp_path / "base", tmp_path / "head", "--format", "json").stdout)

    assert document["runs"] == {"base": 2, "head": 2}
    assert [(one["name"], one["where"]["process"]) for one in document["findings"]] == [("clip", "train.py (rank 0)")]


def test_several_runs_in_a_folder_are_samples_or_the_newest_count(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    stored(folder, "old.json", 7, *STEP, CLIP, base_ns=10**18)
    stored(folder, "middle.json", 8, base_ns=10**18 + 1)
    stored(folder, "new.json", 9, base_ns=10**18 + 2)
    only = stored(tmp_path / "one", "new.json", 9, base_ns=10**18 + 2)

    result = stepscope("diff", only, folder)
    assert result.exit_code == 1
    assert result.stderr == (f"stepscope: {folder}: 3 runs are read as repeated samples; --newest 1 takes the last\n")
    for newest, code in ((1, 0), (2, 0), (3, 1), (9, 1)):
        result = stepscope("diff", only, folder, "--newest", newest)
        assert (result.exit_code, result.stderr) == (code, "")
        assert runs_of(only, folder, "--newest", newest) == (1, min(newest, 3))
    # What base does in any of its runs is known.
    clip = stored(tmp_path / "clip", "new.json", 9, *STEP, CLIP)
    assert kinds_of(folder, clip) == {}


def test_more_runs_make_times_certain(tmp_path: Path) -> None:
    bases = [stored(tmp_path / "runs", f"base{at}.json", at + 1, *slowed(100 + at)) for at in range(3)]
    heads = [stored(tmp_path / "runs", f"head{at}.json", at + 9, *slowed(210 + at)) for at in range(3)]

    few = json.loads(stepscope("diff", bases[0], heads[0], "--format", "json").stdout)
    assert (few["counts"], [one["name"] for one in few["unsure"]]) == ({}, ["conv"])

    more = [part for base in bases[1:] for part in ("--base-run", base)]
    more += [part for head in heads[1:] for part in ("--head-run", head)]
    assert runs_of(bases[0], heads[0], *more) == (3, 3)
    assert kinds_of(bases[0], heads[0], *more) == {"slower": 1}


def test_diff_reads_folders_as_the_command_does(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    stored(folder, "old.json", 7, *STEP, CLIP, base_ns=10**18)
    stored(folder, "new.json", 9, base_ns=10**18 + 2)
    one = stored(tmp_path / "other", "one.pftrace", 3)

    for newest, runs in ((None, 2), (1, 1)):
        options = ("--newest", newest) if newest else ()
        found = diff(one, folder, newest=newest)
        assert found.to_json() + "\n" == stepscope("diff", one, folder, "--format", "json", *options).stdout
        assert found.runs == (1, runs)
        assert diff([str(one), one], [folder, one], newest=newest).runs == (2, runs + 1)
    assert overlay(one, folder, found) == overlay(read(one), read(folder / "new.json"), found)


def test_diff_says_which_folder_has_no_trace_and_how_many_runs_can_be_asked_for(base: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"{re.escape(str(tmp_path / 'work'))}: there is no trace in this folder"):
        diff(base, tmp_path / "work")
    for newest in (0, True, 1.5):
        with pytest.raises(DiffError, match="newest must be a number of runs, 1 or more, got"):
            diff(base, base, newest=newest)  # type: ignore[arg-type]


def test_a_folder_without_a_trace_is_trouble(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()

    for sides in ((folder, base), (base, folder)):
        (message,) = troubles(stepscope("diff", *sides))
        assert message.startswith(f"{folder}: there is no trace in this folder.")


def test_bad_files_are_one_line_and_damaged_ones_can_be_compared_as_far_as_they_go(base: Path, tmp_path: Path) -> None:
    empty, noise, cut = (tmp_path / name for name in ("empty.json", "noise", "cut.json"))
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(1, 256)) * 9)
    cut.write_bytes(base.read_bytes()[:-100])

    for path in (empty, noise, cut, tmp_path / "absent"):
        for sides in ((path, base), (base, path)):
            (message,) = troubles(stepscope("diff", *sides))
            assert message.startswith(f"{path}: ")
    (message,) = troubles(stepscope("diff", base, cut))
    assert "--non-strict" in message
    result = stepscope("diff", base, cut, "--non-strict")
    assert "as far as can be known" in result.stdout.splitlines()[0]
    assert "head: 1 truncated (byte " in result.stdout


# Rules


def test_fail_on_names_the_kinds_that_are_exit_code_1(base: Path, head: Path) -> None:
    for asked, code in (
        ("added", 1),
        ("slower, added", 1),
        ("removed,slower", 0),
        ("none", 0),
        (",".join(kind for kind in KINDS if kind != "added"), 0),
    ):
        result = stepscope("diff", base, head, "--fail-on", asked)
        assert (result.exit_code, result.stdout.partition(" (")[0]) == (code, "different: 1 added")


@pytest.mark.parametrize("asked", ["adde", "added,slow", "", "none,added"])
def test_an_unknown_kind_is_trouble_that_names_the_known(base: Path, head: Path, asked: str) -> None:
    (message,) = troubles(stepscope("diff", base, head, "--fail-on", asked))

    wrong = next(part for part in asked.split(",") if part not in KINDS)
    assert message == (
        f"--fail-on: there is no kind of finding {wrong!r}. Kinds are {', '.join(KINDS)}; or none for none of them."
    )


def test_patterns_leave_findings_out_or_are_the_only_ones(base: Path, tmp_path: Path) -> None:
    head = written(tmp_path, "two.json", *STEP, CLIP, node("log"))

    assert kinds_of(base, head) == {"added": 2}
    assert kinds_of(base, head, "--ignore", "cl?p") == {"added": 1}
    assert kinds_of(base, head, "--ignore", "cl*", "--ignore", "[kl]og") == {}
    assert kinds_of(base, head, "--ignore", "ProfilerStep*") == {}
    assert kinds_of(base, head, "--only", "log") == {"added": 1}
    assert kinds_of(base, head, "--only", "log", "--only", "clip") == {"added": 2}
    assert kinds_of(base, head, "--only", "forward") == {}


def test_times_are_judged_by_the_thresholds_or_not_at_all(tmp_path: Path) -> None:
    base, head = written(tmp_path, "base.json", *slowed(200)), written(tmp_path, "head.json", *slowed(300))

    assert kinds_of(base, head) == {"slower": 1}
    assert kinds_of(head, base) == {"faster": 1}
    for arguments in (
        ("--no-timings",),
        ("--ratio", "1.6"),
        ("--step-us", "101"),
        ("--ratio", "1.5", "--step-us", "1e3"),
        ("--alpha", "1e-9"),
    ):
        assert kinds_of(base, head, *arguments) == {}, arguments
    assert kinds_of(base, head, "--ratio", "1.4", "--step-us", "99", "--alpha", "0.005", "--timings") == {"slower": 1}


def test_outliers_are_judged_by_their_thresholds(tmp_path: Path) -> None:
    steps = dict.fromkeys(range(20), slowed(100))
    base = write(Program(steps).trace(), tmp_path / "base.json")
    head = write(Program({**steps, 7: slowed(5000)}).trace(), tmp_path / "head.json")

    assert kinds_of(base, head) == {"outlier": 1}
    assert kinds_of(base, head, "--outlier-ratio", "51") == {}
    assert kinds_of(base, head, "--outlier-us", "5000") == {}


def test_order_arguments_categories_and_counters_have_their_options(tmp_path: Path) -> None:
    base = written(tmp_path, "base.json", node("a"), node("b", args={"n": 1, "id": 5}), counters={"memory": [1, 2]})

    def head(*inside: Node, values: tuple[float, ...] = (1, 2)) -> Path:
        return written(tmp_path, "head.json", *inside, counters={"memory": values})

    path = head(node("b", args={"n": 1, "id": 5}), node("a"))
    assert kinds_of(base, path) == {"reordered": 1}
    assert kinds_of(base, path, "--order", "ignore") == {}

    path = head(node("a"), node("b", args={"n": 1, "id": 6}))
    assert kinds_of(base, path) == {"args": 1}
    assert kinds_of(base, path, "--no-args") == kinds_of(base, path, "--ignore-arg", "i*") == {}
    assert kinds_of(base, path, "--args", "--ignore-arg", "n") == {"args": 1}

    path = head(node("a"), node("b", args={"n": 1, "id": 5, "Ev Idx": 3}))
    assert kinds_of(base, path) == kinds_of(base, path, "--ignore-arg", "n") == {}

    path = head(node("a"), node("b", args={"n": 1, "id": 5}, cat="other"))
    assert kinds_of(base, path) == {"category": 1}
    assert kinds_of(base, path, "--no-categories") == {}

    path = head(node("a"), node("b", args={"n": 1, "id": 5}), values=(1, 2.4))
    assert kinds_of(base, path) == {"counter": 1}
    assert kinds_of(base, path, "--counter-tolerance", "0.5") == {}


def test_names_are_compared_as_rules_leave_them(base: Path, tmp_path: Path) -> None:
    one = written(tmp_path, "one.json", *STEP, node("shard 17 at 0x7f00aa"))
    other = written(tmp_path, "other.json", *STEP, node("shard 23 at 0x7f00bb"))

    assert kinds_of(one, other) == {"renamed": 1}
    assert kinds_of(one, other, "--name-rule", r"shard \d+", r"shard *") == {}
    both = ("--name-rule", r"shard \d+", r"shard *", "--without-name-rule", "address")
    assert kinds_of(one, other, *both) == {"renamed": 1}


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("--ratio", "0.5"), "--ratio: ratio must be a number from 1 to "),
        (("--ratio", "nan"), "--ratio: ratio must be a number"),
        (("--alpha", "0.6"), "--alpha: alpha must be a number from 1e-09 to 0.5, got 0.6."),
        (("--step-us", "-1"), "--step-us: step_us must be"),
        (("--outlier-ratio", "0"), "--outlier-ratio: outlier_ratio must be"),
        (("--outlier-us", "-1"), "--outlier-us: outlier_us must be"),
        (("--counter-tolerance", "-0.1"), "--counter-tolerance: counter_tolerance must be"),
        (("--without-name-rule", "adress"), "--without-name-rule: without_names has 'adress', but there is no such"),
        (("--name-rule", "(", ""), "--name-rule: the rule '(': '(' cannot be used: "),
        (("--name-rule", "a", r"\2"), "--name-rule: the rule 'a': 'a' cannot be used: "),
        (("--name-rule", "a", r"\g<b>"), "--name-rule: "),
        (("--name-rule", "a{1,99999999999999}", ""), "--name-rule: "),
    ],
)
def test_a_bad_rule_is_one_line_that_names_its_option(base: Path, arguments: tuple[str, ...], start: str) -> None:
    (message,) = troubles(stepscope("diff", base, base, *arguments))

    assert message.startswith(start)


def test_every_rule_has_an_option_and_a_key() -> None:
    out = stepscope("diff", "--help").stdout

    assert set(KEYS) == {*vars(Rules()), "fail_on"}
    for name in KEYS:
        option = {"ignore_args": "ignore-arg", "names": "name-rule", "without_names": "without-name-rule"}.get(
            name, name
        )
        assert f"--{option.replace('_', '-')} " in out
    flat = " ".join(out.split())
    assert all(kind in flat for kind in KINDS)
    # Defaults are stated in words; here they are held to the rules.
    rules = Rules()
    for figure in (
        rules.ratio,
        rules.step_us,
        rules.alpha,
        rules.outlier_ratio,
        rules.outlier_us,
        rules.counter_tolerance,
    ):
        assert re.search(rf"; {figure:g}( is 10 %)?\.", flat), figure


# The table of pyproject.toml


def project(folder: Path, table: str, name: str = "pyproject.toml") -> Path:
    path = folder / name
    path.write_text(f"[project]\nname = 'x'\n\n[{TABLE}]\n{table}\n")
    return path


def test_rules_are_those_of_the_nearest_pyproject(
    base: Path, head: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(nowhere, 'ignore = ["clip"]')
    inside = nowhere / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert kinds_of(base, head) == {}

    (inside.parent / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert kinds_of(base, head) == {"added": 1}


def test_every_key_of_the_table_counts(base: Path, head: Path, nowhere: Path, tmp_path: Path) -> None:
    sides = written(tmp_path, "200.json", *slowed(200)), written(tmp_path, "300.json", *slowed(300))
    for table in ("timings = false", "ratio = 1.6", "step_us = 101", "alpha = 1e-9", 'only = ["load"]'):
        project(nowhere, table)
        assert kinds_of(*sides) == {}, table
    ordered = written(tmp_path, "ordered.json", STEP[1], STEP[0], STEP[2])
    project(nowhere, 'order = "ignore"')
    assert kinds_of(base, ordered) == {}
    shards = [written(tmp_path, f"{at}.json", *STEP, node(f"shard {at}")) for at in (1, 2)]
    for names in (r'[["\\d", "*"]]', r"""[{pattern = '\d', replacement = '*', of = "slice", name = "shard"}]"""):
        project(nowhere, f"names = {names}")
        assert kinds_of(*shards) == {}
    project(nowhere, 'names = [{pattern = "[0-9]", replacement = "*", of = "thread"}]')
    assert kinds_of(*shards) == {"renamed": 1}
    for fail_on, code in (('["removed"]', 0), ('"removed, slower"', 0), ("[]", 0), ('"none"', 0), ('["added"]', 1)):
        project(nowhere, f"fail_on = {fail_on}")
        assert stepscope("diff", base, head).exit_code == code


def test_an_option_takes_the_place_of_its_key_but_adds_names_and_arguments(
    base: Path, head: Path, nowhere: Path, tmp_path: Path
) -> None:
    project(
        nowhere, 'ignore = ["clip"]\nfail_on = ["removed"]\ntimings = false\nignore_args = ["a"]\nnames = [["x", "y"]]'
    )
    assert kinds_of(base, head) == {}
    result = stepscope("diff", base, head, "--ignore", "none", "--fail-on", "added", "--timings")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        1,
        "different: 1 added (6 steps, times of 7 paths compared)",
    )

    one = written(tmp_path, "one.json", node("x1", args={"a": 1, "b": 1}))
    other = written(tmp_path, "other.json", node("y2", args={"a": 2, "b": 2}))
    assert stepscope("diff", one, other, "--fail-on", ",".join(KINDS)).exit_code == 1
    assert kinds_of(one, other, "--ignore-arg", "b", "--name-rule", "[12]", "*") == {}


def test_a_file_of_rules_can_be_named(base: Path, head: Path, nowhere: Path, tmp_path: Path) -> None:
    project(nowhere, 'order = "any"')
    assert stepscope("diff", base, head).exit_code == 2
    assert kinds_of(base, head, "--config", project(tmp_path, 'ignore = ["clip"]', "rules.toml")) == {}
    assert kinds_of(base, head, "--config", os.devnull) == {"added": 1}
    absent = tmp_path / "absent.toml"
    assert troubles(stepscope("diff", base, head, "--config", absent)) == [f"{absent}: No such file or directory"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("ratios = 2", f"[{TABLE}] has no key 'ratios'. Keys are {', '.join(KEYS)}."),
        ("ratio = 0.5", f"[{TABLE}] ratio: ratio must be a number from 1 to 1e+15, got 0.5."),
        ('ratio = "2"', f"[{TABLE}] ratio: ratio must be a number"),
        ("ratio = nan", f"[{TABLE}] ratio: ratio must be a number"),
        ("ratio = 1979-05-27", f"[{TABLE}] ratio: ratio must be a number"),
        ("timings = 1", f"[{TABLE}] timings: timings must be true or false, got 1."),
        ('order = "any"', f'[{TABLE}] order: order must be "keep" or "ignore", got'),
        ('ignore = "clip"', f"[{TABLE}] ignore: ignore must be a list, got 'clip'. Write ['clip']."),
        ("only = [1]", f"[{TABLE}] only: only must be a list of text, got 1 in it."),
        ('names = [["("]]', f"[{TABLE}] names: names has ['(']."),
        ('names = [["(", ""]]', f"[{TABLE}] names: the rule '(': '(' cannot be used: "),
        ('names = [{pattern = "a"}]', f"[{TABLE}] names: a rule is {{'pattern': 'a'}}. It needs pattern and"),
        ("names = [{pattern = 1}]", f"[{TABLE}] names: a rule has pattern = 1. It can have name, pattern,"),
        ('names = [{patern = "a"}]', f"[{TABLE}] names: a rule has patern = 'a'. It can have name, pattern,"),
        ("names = 3", f"[{TABLE}] names: names must be a list, got 3."),
        ('names = [{pattern = "a", replacement = "", of = "b"}]', f"[{TABLE}] names: the rule 'a' is of 'b'. It"),
        ('without_names = ["a"]', f"[{TABLE}] without_names: without_names has 'a', but there is no such rule."),
        ('fail_on = ["add"]', f"[{TABLE}] fail_on: there is no kind of finding 'add'. Kinds are new, missing, added,"),
        ("fail_on = [[]]", f"[{TABLE}] fail_on: there is no kind of finding []."),
        ("fail_on = 3", f"[{TABLE}] fail_on: must be a list of kinds of findings, got 3."),
        ("ratio = ", "this is no TOML: "),
        ("[tool.stepscope.diff]", "this is no TOML: "),
    ],
)
def test_a_bad_table_is_one_line_that_names_file_key_and_what_can_be(
    base: Path, nowhere: Path, table: str, says: str
) -> None:
    path = project(nowhere, table)

    (message,) = troubles(stepscope("diff", base, base))

    assert message.startswith(f"{path}: {says}")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "this is no TOML: "),
        (b"a = " + b"[" * 5000, "this is no TOML: "),
        (b"[tool]\nstepscope = 3", f"tool.stepscope must be a table, got 3. Write [{TABLE}] above its keys."),
        (b"[[tool.stepscope.diff]]\nratio = 2", "tool.stepscope.diff must be a table, got [{'ratio': 2}]."),
        (b"tool = true", "tool must be a table, got True."),
    ],
)
def test_a_file_without_such_a_table_is_said_to_be(base: Path, nowhere: Path, content: bytes, says: str) -> None:
    (nowhere / "pyproject.toml").write_bytes(content)

    (message,) = troubles(stepscope("diff", base, base))

    assert message.startswith(f"{nowhere / 'pyproject.toml'}: {says}")


def test_the_default_rules_are_listed_as_a_table_that_can_be_used(base: Path, head: Path, nowhere: Path) -> None:
    out = stepscope("diff", "--list-rules").stdout

    assert out.startswith(f"[{TABLE}]\norder = ")
    assert all(f'name = "{rule.name}", pattern = ' in out for rule in NAME_RULES)
    assert "# A thread without steps of its own keeps pace if" in out
    (nowhere / "pyproject.toml").write_text(out)
    assert kinds_of(base, head) == {"added": 1}
    # The rules for names are comments, each of which can be used as it stands.
    rules = [line.removeprefix("# ") for line in out.splitlines() if line.startswith("# {")]
    assert len(rules) == len(NAME_RULES)
    project(nowhere, f"names = [{', '.join(rules)}]\nwithout_names = {json.dumps([rule.name for rule in NAME_RULES])}")
    assert kinds_of(base, head) == {"added": 1}


def test_traces_of_other_tools_are_compared_too() -> None:
    torch = Path(__file__).parent.parent / "fixtures" / "traces" / "torch-2.13-mlp.pt.trace.json"

    assert kinds_of(torch, torch) == {}
