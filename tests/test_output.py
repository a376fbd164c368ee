"""Output: what is written of a file is sent to the disk while the rest is made."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepscope.core import kernels
from stepscope.model.output import DISK_BATCH_BYTES, write_whole

PIECE = b"0123456789abcdef" * (1 << 16)  # 1 MiB
PIECES = 14
PATIENCE_S = 10


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pieces() -> Iterator[bytes]:
    for number in range(PIECES):
        yield bytes([number]) + PIECE


def test_a_large_file_is_sent_part_by_part_and_what_was_not_taken_goes_with_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, int]] = []

    def begin(descriptor: int, start: int, length: int) -> bool:
        assert os.fstat(descriptor).st_size == start + length
        asked.append((start, length))
        return len(asked) != 2

    monkeypatch.setattr(kernels, "begin_to_disk", begin)
    path = write_whole(tmp_path / "file", pieces())

    size = len(PIECE) + 1
    assert size * 3 < DISK_BATCH_BYTES <= size * 4
    assert asked == [(0, 4 * size), (4 * size, 4 * size), (4 * size, 5 * size), (9 * size, 4 * size)]
    assert path.read_bytes() == b"".join(pieces())


def test_a_small_file_is_left_to_fsync(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def begin(descriptor: int, start: int, length: int) -> bool:
        raise AssertionError

    monkeypatch.setattr(kernels, "begin_to_disk", begin)

    assert write_whole(tmp_path / "file", [PIECE]).read_bytes() == PIECE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors are counted in /proc")
def test_what_sends_a_file_to_the_disk_leaves_no_descriptor_open(tmp_path: Path) -> None:
    opened = descriptors()
    for _ in range(5):
        assert write_whole(tmp_path / "file", pieces()).read_bytes() == b"".join(pieces())
    give_up = time.monotonic() + PATIENCE_S  # a thread of the C core may still have one
    while descriptors() > opened and time.monotonic() < give_up:
        time.sleep(0.001)

    assert descriptors() <= opened


def test_what_takes_no_advice_is_no_error() -> None:
    reading, writing = os.pipe()
    try:
        done = [kernels.begin_to_disk(writing, 0, 1 << 20) for _ in range(3)]
    finally:
        os.close(reading)
        os.close(writing)

    assert set(done) <= {True, False}
    with pytest.raises(TypeError):
        kernels.begin_to_disk("file", 0, 1)  # type: ignore[arg-type]
