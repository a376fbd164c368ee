"""Perfetto's batch trace processor: one question to a folder of sessions, as README shows it."""

from pathlib import Path
from typing import Any

import pytest

from stepscope import read
from stepscope.check import open_trace

STEPS = "select name, dur from slice where name glob 'ProfilerStep#*' order by ts"


def test_one_question_to_all_sessions_of_a_folder(
    logs: Any, batch_api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = sorted(logs.of("training").glob("*.pftrace"))

    def open_here(trace: Any, config: object) -> Any:
        """Its trace processor, on the engine that is here: by itself it downloads one."""
        (content,) = trace.resolve()
        path = tmp_path / f"{id(content)}.pftrace"
        path.write_bytes(b"".join(content.trace))
        return open_trace(path)

    monkeypatch.setattr(batch_api, "TraceProcessor", open_here)
    with batch_api.BatchTraceProcessor([str(path) for path in paths]) as sessions:
        frames = sessions.query(STEPS)
        together = sessions.query_and_flatten(STEPS)

    expected = [[(row.name, row.dur) for row in read(path) if row.name.startswith("ProfilerStep#")] for path in paths]
    assert [list(zip(frame["name"], frame["dur"], strict=True)) for frame in frames] == expected
    assert list(together["name"]) == ["ProfilerStep#1", "ProfilerStep#2", "ProfilerStep#4", "ProfilerStep#5"]
