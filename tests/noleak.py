"""Memory that calls leave behind."""

import gc
import tracemalloc
from collections.abc import Callable

WARM_UP = 20
ROUNDS = 1000
# A call that leaks leaves an object each time, of 16 bytes at least.
MOST_LEFT = 10 * ROUNDS


def left_by(call: Callable[[], object]) -> int:
    """How many bytes ROUNDS of a call hold that one did not; fewer than MOST_LEFT if it does not leak."""
    for _ in range(WARM_UP):
        call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(ROUNDS):
            call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - held
    finally:
        tracemalloc.stop()
