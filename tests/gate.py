"""A gate that holds up the writer thread, and the smallest profile that gives it something to do."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from stepscope import ProfilerAction, Trace, profile
from stepscope.formats import files
from stepscope.session.writer import THREAD_NAME

TIMEOUT_S = 60  # a test that would hang fails instead


class Gate:
    """Holds up whoever comes through, until told; knows which threads came."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.entered = threading.Event()
        self.came: list[str] = []

    def pass_through(self) -> None:
        self.came.append(threading.current_thread().name)
        self.entered.set()
        assert self.permits.acquire(timeout=TIMEOUT_S)

    def wait_for_one(self) -> None:
        assert self.entered.wait(TIMEOUT_S)

    def open(self, times: int = 1000) -> None:
        self.permits.release(times)


def every_step_a_cycle(handler: Callable[[profile], Any], **options: Any) -> profile:
    return profile(schedule=lambda _: ProfilerAction.RECORD_AND_SAVE, on_trace_ready=handler, **options)


def writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def replace_encoder(monkeypatch: pytest.MonkeyPatch, encode: Callable[[Trace], Iterator[bytes]]) -> None:
    """Encode Perfetto's format with this, for handlers that are made from now on."""
    monkeypatch.setitem(files.FORMATS, "perfetto", replace(files.FORMATS["perfetto"], encode=encode))
