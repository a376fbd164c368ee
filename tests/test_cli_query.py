"""`stepscope query`: what is asked, how rows are printed, and what is said of bad input."""

import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runner import program, stepscope, troubles
from stepscope import write
from stepscope.check import engine_or_none
from stepscope.cli.grid import FORMATS, print_grid
from stepscope.model.build import TraceBuilder

pytestmark = pytest.mark.skipif(
    engine_or_none(download=False) is None,
    reason="there is no trace processor: pip install stepscope[engine]",
)

HOSTILE = 'a,"b"\r\n\x1b[31mred\u2028;é😀'
LONGEST = "select name, dur from slice order by dur desc limit 2"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    builder = TraceBuilder()
    thread = builder.thread(7, 7, "main", "python")
    builder.slice(thread, "outer", 0, 9000)
    builder.slice(thread, HOSTILE, 1000, 500)
    return write(builder.build(), tmp_path / "run.pftrace")


@pytest.mark.parametrize("ending", [".pftrace", ".json", ".json.gz", ".pftrace.gz"])
def test_query_prints_the_rows_of_any_format_under_their_names(tmp_path: Path, ending: str) -> None:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 7, "main"), "outer", 0, 9000)
    path = write(builder.build(), tmp_path / f"run{ending}")

    result = stepscope("query", path, "select name, dur, null as n from slice")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "name    dur  n\n-----  ----  ----\nouter  9000  NULL\n"


def test_a_plain_table_has_a_line_for_each_row_and_no_control_characters(trace: Path) -> None:
    lines = stepscope("query", trace, LONGEST).stdout.split("\n")

    assert len(lines) == 2 + 2 + 1
    assert lines[3].startswith(r'a,"b"\r\n\x1b[31mred\u2028;é😀')


def test_csv_is_rfc_4180_and_holds_the_text_as_it_is(trace: Path) -> None:
    out = stepscope("query", trace, "select name, dur, null n from slice order by dur", "--format", "csv").stdout_bytes

    assert out.startswith(b'name,dur,n\r\n"a,""b""\r\n')
    assert list(csv.reader(io.StringIO(out.decode(), newline=""))) == [
        ["name", "dur", "n"],
        [HOSTILE, "500", ""],
        ["outer", "9000", ""],
    ]


def test_json_is_an_array_of_objects_one_a_line(trace: Path) -> None:
    sql = "select name, dur, dur, 0.5 as half, null as n, x'00ff' as blob, 9e999 as much from slice order by dur"
    out = stepscope("query", trace, sql, "--format", "json").stdout

    row = {"dur": 500, "dur_2": 500, "half": 0.5, "n": None, "blob": "00ff", "much": "inf"}
    assert json.loads(out) == [{"name": HOSTILE, **row}, {"name": "outer", **row, "dur": 9000, "dur_2": 9000}]
    assert len(out.split("\n")) == 2 + 2 + 1


@pytest.mark.parametrize(("form", "out"), [("table", "name\n----\n"), ("csv", "name\r\n"), ("json", "[\n]\n")])
def test_no_rows_are_an_answer(trace: Path, form: str, out: str) -> None:
    result = stepscope("query", trace, "select name from slice limit 0", "--format", form)

    assert (result.exit_code, result.stdout_bytes.decode()) == (0, out)


@pytest.mark.parametrize(("form", "out"), [("table", ""), ("csv", ""), ("json", "[\n]\n")])
def test_a_statement_without_a_result_prints_none(trace: Path, form: str, out: str) -> None:
    result = stepscope("query", trace, "create table mine as select 1 as one", "--format", form)

    assert (result.exit_code, result.stdout) == (0, out)


def test_several_statements_print_the_last_ones_rows(trace: Path) -> None:
    sql = "create table long as select * from slice where dur > 1000; select name from long;"

    assert stepscope("query", trace, sql).stdout == "name\n-----\nouter\n"


def test_sql_comes_from_stdin_or_from_a_file(trace: Path, tmp_path: Path) -> None:
    question = tmp_path / "question.sql"
    question.write_text("-- a remark\nselect 'é' as one;\n", encoding="utf-8")

    assert stepscope("query", trace, "-", stdin="select 'é' as one").stdout == "one\n---\né\n"
    assert stepscope("query", trace, "-f", question).stdout == "one\n---\né\n"


def test_wrong_sql_is_trouble_in_the_engines_words(trace: Path) -> None:
    result = stepscope("query", trace, "select nme from slice")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"stepscope: {trace}: the query failed: ")
    assert "no such column: nme" in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_files_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    empty, noise, cut = (tmp_path / name for name in ("empty.json", "noise.bin", "cut.json.gz"))
    empty.write_bytes(b"")
    noise.write_bytes(bytes(range(1, 256)) * 9)
    cut.write_bytes(b"\x1f\x8b\x08\x00\x00\x00")
    absent = tmp_path / "absent.json"

    assert troubles(stepscope("query", absent, "select 1")) == [f"{absent}: No such file or directory"]
    assert troubles(stepscope("query", tmp_path, "select 1")) == [f"{tmp_path}: Is a directory"]
    assert troubles(stepscope("query", empty, "select 1")) == [f"{empty}: the file is empty"]
    for path in (noise, cut):
        (message,) = troubles(stepscope("query", path, "select 1"))
        assert message.startswith(f"{path}: the trace processor refused it: ")


def test_bad_sql_files_are_trouble(trace: Path, tmp_path: Path) -> None:
    binary, blank, absent = (tmp_path / name for name in ("binary.sql", "blank.sql", "absent.sql"))
    binary.write_bytes(b"\xff\xfe")
    blank.write_text(" \n")

    assert troubles(stepscope("query", trace, "-f", absent)) == [f"{absent}: No such file or directory"]
    assert troubles(stepscope("query", trace, "-f", blank)) == [f"{blank}: there is no SQL in it"]
    assert troubles(stepscope("query", trace, "-", stdin="")) == ["stdin: there is no SQL in it"]
    assert troubles(stepscope("query", trace, "-f", binary))[0].startswith(f"{binary}: the SQL is not UTF-8")


def test_sql_is_given_once(trace: Path, tmp_path: Path) -> None:
    for arguments in ([], ["select 1", "-f", tmp_path / "a.sql"]):
        result = stepscope("query", trace, *arguments)
        assert (result.exit_code, "Give the SQL as an argument" in result.stderr) == (2, True)


def test_a_name_of_a_file_cannot_colour_the_terminal(tmp_path: Path) -> None:
    (message,) = troubles(stepscope("query", tmp_path / "\x1b[31mred", "select 1"))

    assert r"\x1b[31mred: No such file" in message


def test_a_pipe_that_closes_early_is_quiet(trace: Path) -> None:
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) select i from n"
    with subprocess.Popen(
        [sys.executable, "-m", "stepscope", "query", str(trace), sql, "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"i\r\n"
        running.stdout.close()
        said = running.stderr.read()

    assert (running.returncode, said) == (141, b"")


def test_on_a_terminal_a_table_is_drawn(trace: Path) -> None:
    ours, theirs = pty.openpty()
    done = program("query", trace, LONGEST, stdout=theirs, capture_output=False)
    os.close(theirs)
    out = b""
    while chunk := _read(ours):
        out += chunk
    os.close(ours)

    assert done.returncode == 0
    assert "─" in out.decode()
    assert "outer" in out.decode()
    assert "2 rows" in out.decode()
    assert b"\x1b[31m" not in out  # the trace's own


def _read(number: int) -> bytes:
    try:
        return os.read(number, 1 << 16)
    except OSError:  # what Linux says at the end of a terminal
        return b""


def test_a_terminal_gets_a_plain_table_of_many_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepscope.cli.grid.DRAWN_ROWS", 2)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    print_grid("table", ["i"], [(1,), (2,), (3,)])

    assert capsys.readouterr().out == "i\n-\n1\n2\n3\n"


def test_help_says_what_the_formats_are() -> None:
    out = " ".join(stepscope("query", "--help").stdout.split())

    assert all(f"{name}:" in out for name in FORMATS)


def test_a_file_that_is_made_to_fill_the_memory_is_trouble(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b"[" + b" " * 5_000_000 + b"]"))

    (message,) = troubles(stepscope("query", "--max-bytes", 4_000_000, bomb, "select 1"))

    assert message.startswith(f"{bomb}: byte 4000000: more than 4000000 bytes come out of this gzip file. ")
    assert message.endswith("pass a larger --max-bytes.")
