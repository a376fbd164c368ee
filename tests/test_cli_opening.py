"""The bar of a large file, and what a command does about signals and streams."""

import io
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
