"""The bar of a large file, and what a command does about signals and streams."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runner import stepscope
from stepscope import cli
from stepscope.cli import opening
from stepscope.cli.opening import opened


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From here on stderr is one; pytest changes it between a fixture and its test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(sys.stderr, Terminal)
    return sys.stderr


def read_in_pieces(path: Path) -> bytes:
    with opened(path, "reading") as file:
        head = file.peek(1)
        return head[:0] + b"".join(iter(lambda: file.read(1000), b""))


def test_a_large_file_has_a_bar_on_a_terminal_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr(opening, "LARGE_BYTES", 50_000)
    content = bytes(range(250)) * 400
    path = tmp_path / "large\x1b.json"
    path.write_bytes(content)

    assert read_in_pieces(path) == content
    assert r"reading large\x1b.json" in terminal.getvalue()
    assert "100.0/100.0 kB" in terminal.getvalue()


def test_a_small_file_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    path = tmp_path / "small.json"
    path.write_bytes(b"{}")

    assert read_in_pieces(path) == b"{}"
    assert terminal.getvalue() == ""


def test_elsewhere_than_on_a_terminal_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "LARGE_BYTES", 1)
    path = tmp_path / "large.json"
    path.write_bytes(b"{}")

    assert read_in_pieces(path) == b"{}"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("large", [0, 1 << 40])
def test_what_cannot_be_opened_is_an_error_before_any_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(opening, "LARGE_BYTES", large)
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            read_in_pieces(path)


def written_in_pieces(rows: int) -> bytes:
    return b"".join(opening.watched(iter([b"abc"] * 5), Path("out\x1b.json"), rows))


def test_a_large_file_has_a_bar_while_it_is_written_though_nobody_knows_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_a_terminal(monkeypatch)

    assert written_in_pieces(opening.LARGE_ROWS) == b"abc" * 5
    assert r"writing out\x1b.json" in terminal.getvalue()
    assert "15/? bytes" in terminal.getvalue()


def test_a_small_file_or_one_elsewhere_has_none_while_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert written_in_pieces(opening.LARGE_ROWS) == b"abc" * 5
    assert capsys.readouterr() == ("", "")

    terminal = on_a_terminal(monkeypatch)
    assert written_in_pieces(opening.LARGE_ROWS - 1) == b"abc" * 5
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("out", ["out.json", "-"])
def test_convert_shows_a_bar_while_it_reads_and_while_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    path = tmp_path / "in.json"
    path.write_text('[{"ph": "X", "name": "x", "cat": "c", "ts": 1, "dur": 2, "pid": 3, "tid": 4}]')
    master, terminal = os.openpty()
    code = (
        "import sys; from stepscope.cli import main, opening; opening.LARGE_BYTES = opening.LARGE_ROWS = 1; "
        "main(sys.argv[1:])"
    )
    target = "-" if out == "-" else str(tmp_path / out)
    result = subprocess.run(
        [sys.executable, "-c", code, "convert", str(path), target, "--format", "chrome"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        check=True,
    )
    os.close(terminal)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)

    assert "reading in.json" in shown
    assert f"writing {'stdout' if out == '-' else out}" in shown
    content = result.stdout if out == "-" else (tmp_path / out).read_bytes()
    assert content.startswith(b'{\n"schemaVersion"')


def test_ctrl_c_ends_a_command_as_it_ends_any_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stepscope.cli.demo.read_corpus", interrupt)

    result = stepscope("demo")

    assert (result.exit_code, result.output) == (130, "")


def test_commands_are_rows_with_a_help_of_their_own() -> None:
    for name in cli.COMMANDS:
        result = stepscope(name, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: stepscope {name} [OPTIONS]")


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("<&-", 2, "stepscope: stdin: byte 0: the file ends in the trace."),
        (">&-", 2, "stepscope: stdout: it is closed"),
        ("2>&-", 2, ""),
        ("<&- >&- 2>&-", 2, ""),
    ],
)
def test_streams_that_are_closed_are_no_traceback(redirection: str, code: int, said: str) -> None:
    shell = f'exec "$0" -W error -m stepscope stats - {redirection}'
    result = subprocess.run(["/bin/sh", "-c", shell, sys.executable], input=b"", capture_output=True, check=False)

    assert (result.returncode, result.stdout) == (code, b"")
    assert result.stderr.decode().startswith(said)
    assert b"Traceback" not in result.stderr
