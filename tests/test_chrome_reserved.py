"""What HTA and TensorBoard keep for themselves: how a user's is spelled in Chrome JSON, and that it comes back."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepscope import read, write
from stepscope.model.build import TraceBuilder
from stepscope.model.trace import Trace


def made(name: str = "u", cat: str = "user_annotation", **args: Any) -> Trace:
    builder = TraceBuilder()
    builder.slice(builder.thread(7, 70, "main", "train"), name, 0, 5, cat=cat, args=args["args"] if args else None)
    return builder.build()


def written(trace: Trace, folder: Path) -> dict[str, Any]:
    """The slice in the file; reading gives back the very trace."""
    path = write(trace, folder / "t.json")
    assert read(path) == trace
    (event,) = [event for event in json.loads(path.read_bytes())["traceEvents"] if event["ph"] == "X"]
    return dict(event)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("ProfilerStep#7", "ProfilerStep#7"),
        ("ProfilerStep#abc", "user:ProfilerStep#abc"),
        ("ProfilerStep", "user:ProfilerStep"),
        ("ProfilerStep #7", "user:ProfilerStep #7"),
        ("ProfilerStep#\u0667", "user:ProfilerStep#\u0667"),
        ("ProfilerStep#" + "1" * 19, "user:ProfilerStep#" + "1" * 19),
        ("user:ProfilerStep#7", "user:user:ProfilerStep#7"),
        ("user:x", "user:x"),
        ("my ProfilerStep", "my ProfilerStep"),
    ],
)
def test_a_name_that_loaders_take_for_a_step_is_set_apart(tmp_path: Path, name: str, spelled: str) -> None:
    assert written(made(name), tmp_path)["name"] == spelled


@pytest.mark.parametrize(
    ("category", "args", "spelled"),
    [
        ("user_annotation", {"stream": 7, "x": 1}, {"user:stream": 7, "x": 1}),
        ("cpu_op", {"correlation": "x"}, {"user:correlation": "x"}),
        ("user_annotation", {"stream": 1, "user:stream": 2}, {"user:stream": 1, "user:user:stream": 2}),
        ("kernel", {"stream": 7, "correlation": 8}, {"stream": 7, "correlation": 8}),
        ("cuda_runtime", {"correlation": 8, "user:stream": 9}, {"correlation": 8, "user:user:stream": 9}),
        ("user_annotation", {"streams": 7, "a": {"stream": 7}}, {"streams": 7, "a": {"stream": 7}}),
    ],
)
def test_an_argument_that_is_a_devices_is_set_apart_in_all_else(
    tmp_path: Path, category: str, args: dict[str, Any], spelled: dict[str, Any]
) -> None:
    assert written(made(cat=category, args=args), tmp_path)["args"] == spelled


def test_flows_and_slices_that_are_no_plain_event_come_back_too(tmp_path: Path) -> None:
    builder = TraceBuilder()
    thread = builder.thread(7, 70, "main", "train")
    rows = [builder.slice(thread, "ProfilerStep", ts, 0, args={"stream": ts, "user:stream": [1]}) for ts in (0, 5)]
    builder.instant(thread, "user:ProfilerStep", 7, args={"correlation": 1})
    builder.flow("ProfilerStep#x", rows)
    trace = builder.build()

    path = write(trace, tmp_path / "t.json.gz")

    assert read(path) == trace


def test_in_a_file_of_another_tool_nothing_is_read_otherwise(tmp_path: Path) -> None:
    event = {"ph": "X", "name": "user:ProfilerStep", "cat": "x", "ts": 0, "dur": 1, "pid": 7, "tid": 7}
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"traceEvents": [{**event, "args": {"user:stream": 1}}]}))

    (row,) = read(path)

    assert (row.name, row.args) == ("user:ProfilerStep", {"user:stream": 1})
