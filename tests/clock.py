"""A clock that stands still until it is told, for exact numbers."""


class FakeClock:
    """Counts ns from 0; at(t) sets it, each call reads it."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def at(self, now: int) -> None:
        self.now = now
