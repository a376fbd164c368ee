"""Perfetto's UI in Chromium opens our files, and finds in them what we have written."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import UI, the_port
from law import as_engine_shows, as_json_spells
from programs import PROGRAMS
from stepscope import read
from stepscope.check import HARMLESS_STATS, find_engine
from stepscope.model.trace import Trace
from stepscope.viewer import view
from stepscope.viewer.offline import offline_pages
from stepscope.viewer.view import viewing

LOADED = "() => window.app && app.trace && app.trace.engine && !app.isLoadingTrace"
ASK = """async ([sql, names]) => {
    const late = new Promise((_, reject) => setTimeout(() => reject(Error("no answer to " + sql)), 120_000));
    const result = await Promise.race([app.trace.engine.query(sql), late]);
    const spec = {}, rows = [];
    names.forEach((kind, at) => { spec[result.columns()[at]] = kind === "str" ? "str" : 0; });
    for (const row = result.iter(spec); row.valid(); row.next())
        rows.push(result.columns().map((name) => row[name]));
    return rows;
}"""
# Added up in the page. Engine v52 has little stack there: with "group by name" it may run over its own memory, and give
# one name in two groups, or die.
TOTALS = """async () => {
    const result = await app.trace.engine.query("select name, dur from slice");
    const totals = {};
    for (const row = result.iter({name: "str", dur: 0}); row.valid(); row.next()) {
        const total = totals[row.name] ??= [0, 0];
        total[0] += 1;
        total[1] += row.dur;
    }
    return Object.entries(totals);
}"""
STEPS = "select name, ts from slice where name glob 'ProfilerStep#[0-9]*' and name not glob '*[^0-9]'"
ERRORS = "select name, value from stats where severity != 'info' and value > 0"


@pytest.fixture
def page(chromium: Any, perfetto_ui: None) -> Iterator[Any]:
    """An empty page; what fails in it fails the test."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(120_000)
    made = context.new_page()
    wrong: list[str] = []

    def refuse(dialog: Any) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    made.on("dialog", refuse)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    yield made
    context.close()
    # We leave it out on purpose: it would keep the UI for the address of the next trace.
    assert [message for message in wrong if "ServiceWorker" not in message] == []


def ask(page: Any, sql: str, *kinds: str) -> list[tuple[Any, ...]]:
    """Rows from the page's own engine."""
    return [tuple(row) for row in page.evaluate(ASK, [sql, list(kinds)])]


Totals = dict[str, tuple[int, int]]


def in_page(page: Any) -> Totals:
    """Calls and ns of every name in the page."""
    return {name: (calls, dur_ns) for name, (calls, dur_ns) in page.evaluate(TOTALS)}


def steps_in_page(page: Any) -> list[str]:
    """The names of the steps in the page, in order."""
    return [name for name, _ in sorted(ask(page, STEPS, "str", "num"), key=lambda row: row[1])]


def in_trace(*traces: Trace, chrome: bool = False) -> Totals:
    """Calls and ns of every name, as the page should have them."""
    engine = find_engine()
    totals: Totals = {}
    for trace in traces:
        names = [as_engine_shows(as_json_spells(text), engine) if chrome else text for text in trace.strings]
        for name, dur_ns in zip(trace.columns.name, trace.columns.dur, strict=True):
            calls, total_ns = totals.get(names[name], (0, 0))
            totals[names[name]] = calls + 1, total_ns + dur_ns
    return totals


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("ending", [".pftrace", ".pt.trace.json", ".pt.trace.json.gz"])
def test_the_ui_shows_our_slices_and_steps_and_no_byte_leaves_the_machine(
    page: Any, logs: Any, monkeypatch: pytest.MonkeyPatch, ending: str, program: str
) -> None:
    path = logs.newest(program, ending)
    monkeypatch.setattr(view, "PORT", 0)
    answered: set[str] = set()
    page.on("requestfinished", lambda request: answered.add(urlsplit(request.url).netloc))
    trace = read(path)

    with viewing(path, path.name, offline=True) as viewed:
        page.goto(viewed.link)
        page.wait_for_function(LOADED)

    assert in_page(page) == in_trace(trace, chrome=ending != ".pftrace")
    assert steps_in_page(page) == steps_of(trace)
    assert [row for row in ask(page, ERRORS, "str", "num") if row[0] not in HARMLESS_STATS] == []
    keep_picture(page, f"{program}{ending}")
    assert path.name in page.locator(".pf-sidebar").inner_text().replace("\n", "")
    assert answered - {""} == {urlsplit(viewed.link).netloc}


def keep_picture(page: Any, name: str) -> None:
    """Save what is on the screen, all tracks unfolded, to the folder STEPSCOPE_PICTURES, if there is one."""
    if folder := os.environ.get("STEPSCOPE_PICTURES"):
        page.evaluate("app.commands.runCommand('dev.perfetto.ExpandAllGroups')")
        page.wait_for_timeout(2000)
        page.screenshot(path=f"{folder}/{name}.png")


def steps_of(trace: Trace) -> list[str]:
    """The names of the profiler's steps, in order."""
    steps = {number for number, text in enumerate(trace.strings) if re.fullmatch(r"ProfilerStep#\d+", text)}
    assert steps
    return [trace.strings[name] for name in trace.columns.name if name in steps]


def serving(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-m", "stepscope", "open", *map(str, arguments), "--print-url"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pose(context: Any, origin: str) -> None:
    """Let a site be what the wheel carries of ui.perfetto.dev, wherever it is said to be."""
    pages = offline_pages()

    def answer(route: Any) -> None:
        content = pages.get("/" + route.request.url.removeprefix(origin + "/").partition("?")[0])
        if content is None:
            route.fulfill(status=404)
        else:
            with content.open() as file:
                route.fulfill(body=file.read(), content_type=content.type)

    context.route("**/*", lambda route: route.abort())
    context.route("http://127.0.0.1:9001/**", lambda route: route.continue_())
    context.route(f"{origin}/**", answer)


def test_the_page_at_the_uis_origin_opens_what_the_command_serves(page: Any, logs: Any) -> None:
    folder = logs.of("training")
    pose(page.context, UI)
    allow_loopback(page.context, UI)

    with the_port(), serving(folder) as process:
        assert process.stdout is not None
        page.goto(process.stdout.readline().strip())
        page.wait_for_function(LOADED)
        _, err = process.communicate(timeout=30)

    trace = read(logs.newest("training", ".pftrace"))
    assert (process.returncode, err) == (0, "")
    assert in_page(page) == in_trace(trace)


def test_several_files_are_one_trace_in_the_page(page: Any, logs: Any) -> None:
    files = sorted(logs.of("training").glob("*.pftrace"))

    with the_port(), serving(*files, "--offline") as process:
        assert process.stdout is not None
        page.goto(process.stdout.readline().strip())
        page.wait_for_function(LOADED)
        process.terminate()

    assert len(files) == 2
    assert in_page(page) == in_trace(*map(read, files))
    assert steps_in_page(page) == [f"ProfilerStep#{number}" for number in (1, 2, 4, 5)]


def test_a_page_of_another_origin_gets_nothing(page: Any, logs: Any) -> None:
    other = "https://ui.perfetto.dev.example.com"
    page.context.route(f"{other}/**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    allow_loopback(page.context, other)
    page.goto(f"{other}/")
    fetching = "address => fetch(address).then(answer => answer.text()).catch(error => String(error))"

    with the_port(), serving(logs.newest("training", ".pftrace"), "--timeout", "5") as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip().partition("url=")[2]
        answer = page.evaluate(fetching, address)
        opaque = page.evaluate(fetching.replace("address)", "address, {mode: 'no-cors'})"), address)
        _, err = process.communicate(timeout=30)

    assert answer == "TypeError: Failed to fetch"
    assert opaque == ""
    assert process.returncode == 2
    assert "no browser has fetched it in 5 s" in err


def allow_loopback(context: Any, origin: str) -> None:
    """Click Allow when the browser asks whether this site may reach into this machine."""
    context.grant_permissions(["local-network-access"], origin=origin)
