"""Clocks for exact numbers: one stands still until it is told, one goes on by itself."""


class FakeClock:
    """Counts ns from 0; at(t) sets it, each call reads it."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def at(self, now: int) -> None:
        self.now = now


class Ticking:
    """Counts its readings: each thing that is recorded has its tick."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now
