"""speedscope itself, from its npm package and in a headless Chromium, shows what is in the files we write for it."""

import functools
import html
import http.server
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from stepscope import Trace, read, write
from stepscope.model.build import TraceBuilder

VERSION = "1.25.0"
TRACES = Path(__file__).parent.parent.parent / "fixtures" / "traces"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What the page may take, by its own clock, which the browser runs as fast as there is work.
PAGE_MS = 20_000

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]
Shown = Callable[[bytes], "Page"]


class Page:
    """The page of a loaded profile, in the sandwich view.

    Attributes:
        title: of the window.
        profiles: name and weight of each.
        symbols: total, self and name of each function of the first profile.
        text: all of it.
    """

    def __init__(self, dom: str) -> None:
        self.title = html.unescape(re.findall("<title>(.*?)</title>", dom)[0])
        found = [list(map(_text, re.findall("<td.*?</td>", row))) for row in re.findall("<tr.*?</tr>", dom)]
        rows = [row for row in found if row]
        self.profiles = [(name, weight) for number, name, weight in rows if number.isdigit()]
        self.symbols = [tuple(row) for row in rows if not row[0].isdigit()]
        self.text = _text(dom)


def _text(element: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", element)).strip()


@pytest.fixture(scope="module")
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built app, which npm brings once, or where pytest keeps no cache each time."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    name = f"speedscope-{VERSION}"
    folder = cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)
    built = folder / "package" / "dist" / "release"
    if not (built / "index.html").exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("there is no npm to bring speedscope")
        packed = subprocess.run(
            [npm, "pack", "--silent", f"speedscope@{VERSION}"], cwd=folder, capture_output=True, text=True, check=False
        )
        if packed.returncode:
            pytest.skip(f"npm brings no speedscope: {packed.stderr.strip()}")
        with tarfile.open(folder / packed.stdout.strip()) as archive:
            archive.extractall(folder, filter="data")
    return built


@pytest.fixture
def shown(app: Path, tmp_path: Path) -> Iterator[Shown]:
    """Opens a file in the app."""
    site = tmp_path / "site"
    shutil.copytree(app, site)
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"

        def show(content: bytes) -> Page:
            (site / "profile.json").write_bytes(content)
            fragment = urlencode({"view": "sandwich", "profileURL": f"{origin}/profile.json"})
            options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}"]
            done = subprocess.run(
                [
                    str(CHROMIUM),
                    *options,
                    f"--virtual-time-budget={PAGE_MS}",
                    "--dump-dom",
                    f"{origin}/index.html#{fragment}",
                ],
                capture_output=True,
                check=True,
                timeout=120,
            )
            return Page(done.stdout.decode())

        yield show
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def encoded(trace: Trace, folder: Path) -> bytes:
    return write(trace, folder / "t.speedscope.json").read_bytes()


def test_slices_have_their_names_totals_and_self_times(shown: Shown, tmp_path: Path) -> None:
    builder = TraceBuilder()
    for tid, name in ((7, "main"), (8, "wörker <b>")):
        thread = builder.thread(7, tid, name, "train")
        builder.slice(thread, 'outer "é" \\ <i>', 0, 9000)
        builder.slice(thread, "inner", 1000, 3000)
        builder.slice(thread, "inner", 5000, 1000, cut=True)
        builder.slice(thread, "nothing", 5000, 0)
    page = shown(encoded(builder.build(), tmp_path))

    assert page.title == "stepscope - speedscope"
    assert page.profiles == [("train / main", "9.00µs"), ("train / wörker <b>", "9.00µs")]
    assert page.symbols == [
        ("9.00µs (100%)", "5.00µs (56%)", 'outer "é" \\ <i>'),
        ("4.00µs (44%)", "4.00µs (44%)", "inner"),
        ("0.00ns (<0.01%)", "0.00ns (<0.01%)", "nothing"),
    ]


@pytest.mark.parametrize("name", ["torch-2.13-mlp-with-stack.pt.trace.json", "viztracer-1.1.1.json.gz"])
def test_traces_of_other_tools_open(shown: Shown, tmp_path: Path, name: str) -> None:
    trace = read(TRACES / name)
    page = shown(encoded(trace, tmp_path))

    assert "Something went wrong" not in page.text
    with_slices = {trace.columns.track[row] for row in range(len(trace)) if trace.columns.dur[row]}
    assert len(with_slices) <= len(page.profiles) <= len(trace.tracks)
    assert page.symbols


def test_a_file_that_speedscope_refuses_would_be_noticed(shown: Shown) -> None:
    closes_what_is_not_open = b"""{
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": "a"}]},
        "profiles": [{"type": "evented", "name": "x", "unit": "nanoseconds", "startValue": 0, "endValue": 9,
            "events": [{"type": "C", "frame": 0, "at": 3}]}]
    }"""

    assert "Something went wrong" in shown(closes_what_is_not_open).text
