"""`stepscope convert`: between all formats, files and streams; what is said of bad input."""

import gzip
import json
import os
import pty
from pathlib import Path

import pytest

from cli_runner import program, stepscope, troubles
from stepscope import Trace, read, write
from stepscope.core.clock import Clocks
from stepscope.formats.files import FORMATS
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Origin

FIXTURES = Path(__file__).parent.parent / "fixtures" / "traces"


def recorded() -> Trace:
    """Slices, an instant, arguments, a counter and a flow, on two threads."""
    origin = Origin(base_ns=10**18, clocks=Clocks(10**15, 10**15, 10**18), process="train.py", pid=7, trace_id="A1")
    builder = TraceBuilder(origin)
    main, other = (builder.thread(7, tid, name, "train.py") for tid, name in ((7, "main"), (8, "loader")))
    step = builder.slice(main, "ProfilerStep#4", 0, 90_001)
    builder.slice(main, 'a "quote" and 😀', 1_001, 50_000, args={"k": [1, {"deep": None}]}, cut=True)
    builder.instant(main, "mark", 2_000)
    load = builder.slice(other, "load", 500, 100)
    builder.flow("batch", [step, load])
    builder.count(builder.counter_track(7, "memory", "bytes", "train.py"), 5, 1.5)
    return builder.build()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(recorded(), tmp_path / "in.pftrace")


def test_there_and_back_is_the_same_trace(tmp_path: Path, trace: Path) -> None:
    way = ["a.json", "b.pftrace.gz", "c.pt.trace.json.gz", "d.perfetto-trace"]
    for name in way:
        result = stepscope("convert", trace, tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, "")
        trace = tmp_path / name

    assert read(trace) == recorded()


@pytest.mark.parametrize("form", list(FORMATS))
def test_each_format_is_written_whatever_the_ending_and_the_same_to_stdout(
    tmp_path: Path, trace: Path, form: str
) -> None:
    expected = b"".join(FORMATS[form].encode(recorded()))

    assert stepscope("convert", trace, tmp_path / "out.bin", "--format", form).exit_code == 0
    assert stepscope("convert", trace, tmp_path / f"out{FORMATS[form].suffix}").exit_code == 0
    streamed = stepscope("convert", trace, "-", "--format", form)

    assert (tmp_path / "out.bin").read_bytes() == expected
    assert (tmp_path / f"out{FORMATS[form].suffix}").read_bytes() == expected
    assert (streamed.exit_code, streamed.stdout_bytes) == (0, expected)


def test_stdin_is_read_by_what_is_in_it(tmp_path: Path, trace: Path) -> None:
    for content in (trace.read_bytes(), gzip.compress(trace.read_bytes())):
        assert stepscope("convert", "-", tmp_path / "out.json", stdin=content).exit_code == 0
        assert read(tmp_path / "out.json") == recorded()


@pytest.mark.parametrize("name", ["torch-2.13-mlp.pt.trace.json", "viztracer-1.1.1.json.gz"])
@pytest.mark.parametrize("ending", [".pftrace", ".json", ".folded", ".speedscope.json"])
def test_the_files_of_other_tools_are_converted(tmp_path: Path, name: str, ending: str) -> None:
    result = stepscope("convert", FIXTURES / name, tmp_path / f"out{ending}")

    assert result.exit_code == 0, result.output
    assert (tmp_path / f"out{ending}").stat().st_size > 1000


def test_problems_are_said_on_stderr_and_are_in_the_file(tmp_path: Path, trace: Path) -> None:
    result = stepscope("convert", trace, tmp_path / "out.json")

    (problem,) = recorded().problems
    assert (problem.kind, problem.count) == ("cut", 1)
    assert result.stderr == f"stepscope: {trace}: 1 cut: {problem.example}\n"
    assert read(tmp_path / "out.json").problems == (problem,)


def test_a_damaged_file_is_trouble_unless_what_is_whole_will_do(tmp_path: Path) -> None:
    whole, cut, out = write(recorded(), tmp_path / "in.json"), tmp_path / "cut.json", tmp_path / "out.pftrace"
    cut.write_bytes(whole.read_bytes()[:-150])

    (message,) = troubles(stepscope("convert", cut, out))
    assert message.startswith(f"{cut}: byte ")
    assert "--non-strict" in message
    assert "strict=False" not in message
    assert not out.exists()

    result = stepscope("convert", "--non-strict", cut, out)
    assert result.exit_code == 0
    assert "1 truncated: byte " in result.stderr
    assert 0 < len(read(out)) < len(recorded())
    assert "truncated" in {problem.kind for problem in read(out).problems}


def test_bad_input_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    empty, noise, cut, other = (tmp_path / name for name in ("empty.json", "noise", "cut.json.gz", "other.json"))
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(1, 256)) * 9)
    cut.write_bytes(gzip.compress(write(recorded(), tmp_path / "in.json").read_bytes())[:-20])
    other.write_text('{"a": 1}')
    out = tmp_path / "out.pftrace"

    for path in (empty, noise, cut, other):
        (message,) = troubles(stepscope("convert", path, out))
        assert message.startswith(f"{path}: "), message
    assert troubles(stepscope("convert", tmp_path / "absent", out)) == [
        f"{tmp_path / 'absent'}: No such file or directory"
    ]
    assert troubles(stepscope("convert", tmp_path, out)) == [f"{tmp_path}: Is a directory"]
    assert troubles(stepscope("convert", "-", out, stdin=b""))[0].startswith("stdin: ")
    assert not out.exists()


def test_bad_output_is_one_line(tmp_path: Path) -> None:
    (message,) = troubles(stepscope("convert", tmp_path / "absent", tmp_path / "out.txt"))
    assert message.startswith(f"{tmp_path / 'out.txt'}: the ending names no format. Use one of .json, ")
    plain = TraceBuilder()
    plain.slice(plain.thread(7, 7, "main"), "x", 0, 1)
    quiet = write(plain.build(), tmp_path / "quiet.json")
    (message,) = troubles(stepscope("convert", quiet, tmp_path / "no" / "folder.json"))
    assert message.startswith(f"{tmp_path / 'no' / 'folder.json'}: the file cannot be written: No such file")
    (message,) = troubles(stepscope("convert", quiet, tmp_path, "--format", "chrome"))
    assert message.startswith(f"{tmp_path}: the file cannot be written: Is a directory")


def test_stdout_wants_a_format_and_no_terminal_for_bytes(trace: Path) -> None:
    result = stepscope("convert", trace, "-")
    assert (result.exit_code, "say with --format" in result.stderr) == (2, True)

    ours, theirs = pty.openpty()
    done = program("convert", trace, "-", "--format", "perfetto", stdout=theirs, stderr=-1, capture_output=False)
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, "OUT is a terminal" in done.stderr) == (2, True)


def test_what_may_come_out_of_a_small_file_has_a_limit(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b'{"traceEvents": [' + b" " * 1_000_000 + b"]}"))

    (message,) = troubles(stepscope("convert", bomb, tmp_path / "out.json", "--max-bytes", "10000"))

    assert message.startswith(f"{bomb}: byte 10000: ")
    assert "--max-bytes" in message


def test_help_names_every_format_and_its_endings() -> None:
    out = " ".join(stepscope("convert", "--help").stdout.split())

    for form in FORMATS.values():
        assert f"{form.name} ({' '.join(form.suffixes)})" in out


def test_a_converted_file_can_replace_the_one_it_came_from(tmp_path: Path) -> None:
    path = write(recorded(), tmp_path / "in.json")

    assert stepscope("convert", path, path, "--format", "speedscope").exit_code == 0
    assert json.loads(path.read_bytes())["profiles"]
