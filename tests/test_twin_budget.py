"""The Python core's budget adds up: what is free, granted and held makes what was allowed, whatever has given way."""

import random

import pytest

from stepscope.core import twin
from stepscope.core.twin.recorder import STATE, Window
from stepscope.core.twin.records import RECORD_BYTES, size_of


def work(seed: int) -> None:
    """Spans that end in any order, new names, arguments of all sizes, counters and flows."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    open_spans = []
    for number in range(8000):
        pick = dice.randrange(10)
        if pick < 3:
            open_spans.append(twin.record_function(f"name {dice.randrange(3000)}").__enter__())
        elif pick == 3:
            text = "t" * int(dice.expovariate(1 / 500))
            open_spans.append(twin.record_function("x", text=text, some=[1, {"k": 2}]).__enter__())
        elif pick == 4:
            twin.counter("c", {f"series {number}": 1}, "unit")
            twin.flow_step(twin.flow_start("flow"))
            twin.instant("i", n=number, text="t" * dice.choice([1, 10, 100_000]))
        elif open_spans:
            open_spans.pop(dice.choice([-1, -1, -1, 0])).__exit__()
    for span in open_spans:
        span.__exit__()


def granted(window: Window) -> int:
    """The ticks that are left of the last grant."""
    return sum(1 for _ in window.granted)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("allowed", [1, 1000, 20_000, 1 << 18, 1 << 22])
def test_every_byte_is_free_granted_or_held(allowed: int, ring: bool) -> None:
    twin.discard()
    twin.limit(allowed, ring)
    try:
        with twin.record_function("outer", text="w" * 100):
            twin.open_window()
            window = STATE.window
            assert window is not None
            work(allowed)
            held = window.name_bytes
            for buffer in STATE.buffers:
                if buffer.window is window:
                    held += len(buffer.records) // 2 * RECORD_BYTES + sum(map(size_of, buffer.records))
                    held += sum(begun.size_bytes for begun in buffer.all_begun(window))
            assert held + granted(window) * RECORD_BYTES + window.free_bytes == window.allowed_bytes
            assert window.allowed_bytes == allowed - STATE.sealed.size_bytes
    finally:
        twin.discard()
        twin.limit(1 << 30, False)
