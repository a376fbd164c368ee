"""Encoding ahead: a thread of the C core encodes the next chunk while the caller has the one before."""

import os
import subprocess
import sys
import threading
import time
import warnings
from array import array
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stepscope.core import twin
from stepscope.core.protobuf import TrackSequence
from stepscope.core.rows import Columns

native = pytest.importorskip("stepscope._native", reason="the C core is not built")

ROWS, TRACKS, TEXTS = 120_000, 3, 7
PATIENCE_S = 10
FULL = 1 << 20  # a chunk's size, less what the next row did not fit into


@cache
def columns() -> Columns:
    """A ladder of slices that nest on each of the tracks, five deep; several chunks of each format."""
    rows = range(ROWS)
    return Columns(
        array("q", (row * 10 for row in rows)),
        array("q", ((14 - row // TRACKS % 5 * 3) * 10 for row in rows)),
        array("I", (row % TEXTS for row in rows)),
        array("I", bytes(4 * ROWS)),
        array("I", bytes(4 * ROWS)),
        array("I", (row % TRACKS for row in rows)),
        array("B", bytes(ROWS)),
    )


TEXT = [b'"name %d"' % number for number in range(TEXTS)]


def chrome(core: Any) -> Iterator[bytes]:
    chunks: Iterator[bytes] = core.chrome_rows(columns(), TEXT, [b'"pid":1,"tid":%d' % n for n in range(TRACKS)], {})
    return chunks


def perfetto(core: Any, rows: Columns | None = None) -> Iterator[bytes]:
    sequences = [TrackSequence(2 + track, 0, b"preamble") for track in range(TRACKS)]
    chunks: Iterator[bytes] = core.perfetto_rows(rows or columns(), TEXT, sequences, {}, [b""])
    return chunks


both = pytest.mark.parametrize("encode", [chrome, perfetto])
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
Encode = Callable[[Any], Iterator[bytes]]


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@both
def test_the_chunks_of_a_large_file_are_what_one_thread_makes(encode: Encode) -> None:
    chunks = list(encode(native))

    assert len(chunks) > 2
    assert all(FULL - 1000 < len(chunk) <= FULL for chunk in chunks[:-1])
    assert b"".join(chunks) == b"".join(encode(twin))


@both
def test_a_caller_that_is_slow_and_one_that_does_not_wait_get_the_same(encode: Encode) -> None:
    slow = []
    for chunk in encode(native):
        time.sleep(0.002)
        slow.append(chunk)

    assert slow == list(encode(native))


@both
def test_two_threads_may_ask_for_chunks_in_turn(encode: Encode) -> None:
    expected, chunks, got = list(encode(native)), encode(native), []

    def ask() -> None:
        got.append(next(chunks))

    for _ in expected:
        asker = threading.Thread(target=ask)
        asker.start()
        asker.join()

    assert got == expected


@both
@on_linux
def test_no_thread_is_left_of_an_encoder_that_nobody_asks_any_more(encode: Encode) -> None:
    before = threads()
    for _ in range(20):
        chunks = encode(native)
        next(chunks)
        del chunks

    give_up = time.monotonic() + PATIENCE_S  # the system counts a thread for a moment after it is joined
    while threads() > before and time.monotonic() < give_up:
        time.sleep(0.001)
    assert threads() <= before


@both
@on_linux
def test_a_forked_child_has_no_next_chunk_and_its_parent_has_all(encode: Encode) -> None:
    expected, chunks = list(encode(native)), encode(native)
    got = [next(chunks)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later count threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            next(chunks)
        except RuntimeError as error:
            status = 0 if "the process was forked in the middle of it" in str(error) else 2
            del chunks
        finally:
            os._exit(status)
    got += chunks
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert got == expected


# A thread's stack, whose size is that of the process's when it begins, has no room in what may still be mapped.
SHORT_OF_MEMORY = """
import hashlib, os, resource, sys
STACK, ROOM = 256 << 20, 64 << 20
soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
if soft != STACK:
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))
    os.execv(sys.executable, sys.orig_argv)
sys.path.insert(0, sys.argv[1])
import test_ahead

chunks = test_ahead.{encode}(test_ahead.native)
if {limited}:
    pages = int(open("/proc/self/statm").read().split()[0])
    room = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
digest = hashlib.sha256()
for chunk in chunks:
    digest.update(chunk)
    assert not {limited} or len(list(test_ahead.Path("/proc/self/task").iterdir())) == 1
print(digest.hexdigest())
"""


@on_linux
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer maps more than any limit")
@pytest.mark.parametrize("encode", ["chrome", "perfetto"])
def test_where_no_thread_can_be_started_the_caller_encodes(encode: str) -> None:
    digests = set()
    for limited in (False, True):
        program = SHORT_OF_MEMORY.format(encode=encode, limited=limited)
        command = [sys.executable, "-c", program, str(Path(__file__).parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)

    assert len(digests) == 1


def test_an_error_met_ahead_is_raised_where_its_chunk_would_be() -> None:
    whole, broken = list(perfetto(native)), deepcopy(columns())
    broken.dur[119_975] = 1 << 40  # one of the last on the last track, inside another
    chunks, got = perfetto(native, broken), list[bytes]()
    with pytest.raises(ValueError, match="row 119975 ends after the slice it begins in, on track 2: rows must be"):
        got.extend(chunks)

    assert got == whole[: len(got)]
    assert len(got) == len(whole) - 1
    assert list(chunks) == []
