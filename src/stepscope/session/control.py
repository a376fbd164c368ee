"""The control file: how a profile tells the processes that its own one has started when to record.

    parent  publish: lock byte g + 1 | write state g + 1 into slot (g + 1) % 2 | unlock byte g
    child   wait:    lock byte g, shared: sleeps in the kernel until the parent has gone on | unlock | read

The locks are POSIX record locks. A process that dies loses its own, so that a child whose parent is killed wakes up and
finds nothing new; a forked child has none; and waiting costs nothing. The parent never waits.

    slot    crc32 of the rest (4 bytes) | its size (4) | JSON of the generation and the state
"""

import contextlib
import errno
import json
import os
import zlib
from tempfile import mkstemp
from typing import Any, NamedTuple

from stepscope.core.clock import Clocks
from stepscope.model.errors import LifecycleError

try:
    import fcntl
except ImportError:  # no POSIX locks here
    fcntl = None  # type: ignore[assignment]

__all__ = ["Closed", "ControlFile", "Descriptor", "Follower", "Opened", "Run", "State", "open_to_follow"]

SLOT_BYTES = 1 << 16
HEAD_BYTES = 8
# Both slots are being written only if the parent publishes twice while a child reads.
MAX_READS = 100


class Run(NamedTuple):
    """A started profile, as its children need to know it.

    Attributes:
        number: no other run of this control file has it.
        pid, process: the profile's process.
        options: of a Recording, pickled, in base 64.
        handler: what `TraceHandler.described` gives.
    """

    number: int
    pid: int
    process: str
    options: str
    handler: dict[str, Any]


class Opened(NamedTuple):
    """The cycle that is being recorded.

    Attributes:
        window: a number that no other cycle of this control file has.
        cycle, first_step, trace_id: as in the parent's own trace.
        base_ns, clocks: of the parent's origin; the clocks are those of the whole machine.
    """

    window: int
    cycle: int
    first_step: int
    trace_id: str
    base_ns: int
    clocks: Clocks


class Closed(NamedTuple):
    """The cycle that was recorded last, and what becomes of it: the value of its Fate."""

    window: int
    last_step: int
    fate: str


class State(NamedTuple):
    """What the parent does now; None where there is no such thing."""

    run: Run | None = None
    opened: Opened | None = None
    closed: Closed | None = None


class Descriptor:
    """An open file that is told from another one which has got its number, as when a daemon closes all it has.

    Attributes:
        number: the descriptor.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._is = self._identity()

    def checked(self) -> int:
        """The number.

        Raises:
            OSError: somebody has closed it.
        """
        if self._identity() != self._is:
            raise OSError(errno.EBADF, "its control file was closed by the program")
        return self.number

    def close(self) -> None:
        """Close it, unless somebody has."""
        with contextlib.suppress(OSError):
            os.close(self.checked())

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self.number)
        return status.st_dev, status.st_ino


class ControlFile:
    """The parent's end. One file serves all profiles of a process, one after the other.

    Attributes:
        path: for children that inherit no descriptor.
        runs: how many there were.
        file: it, open.

    Raises:
        LifecycleError: this platform has no POSIX locks, or no file can be made.
    """

    def __init__(self) -> None:
        if fcntl is None:
            message = "children= needs POSIX record locks, which this platform does not have. Leave it out."
            raise LifecycleError(message)
        self.runs = 0
        self._pid = os.getpid()
        self._generation = 0
        try:
            number, self.path = mkstemp(prefix="stepscope-", suffix=".control")
            self.file = Descriptor(number)
            self._lock(0)
            self._write(_packed(0, State()))
        except OSError as error:
            message = f"children= needs a temporary file with locks: {error}. Set TMPDIR to another folder."
            raise LifecycleError(message) from error

    def publish(self, state: State) -> None:
        """Let the children know.

        Raises:
            LifecycleError: the state is too long.
            OSError: the program has closed the file.
        """
        content = _packed(self._generation + 1, state)
        self._lock(self._generation + 1)
        self._generation += 1
        self._write(content)
        fcntl.lockf(self.file.checked(), fcntl.LOCK_UN, 1, self._generation - 1)

    def _lock(self, byte: int) -> None:
        # Nobody waits for a byte that the parent has not told of: this does not wait either.
        fcntl.lockf(self.file.checked(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)

    def _write(self, content: bytes) -> None:
        os.pwrite(self.file.checked(), content, self._generation % 2 * SLOT_BYTES)

    def remove(self) -> None:
        """At the process's end: children that wait are told by the locks."""
        if self._pid == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # noqa: PTH108 - a path that is text everywhere else
            self.file.close()


def open_to_follow(path: str) -> Descriptor:
    """Open a control file to read it.

    Raises:
        FileNotFoundError: its process has ended.
        OSError: it cannot be opened, or is somebody else's.
    """
    file = Descriptor(os.open(path, os.O_RDONLY | os.O_NOFOLLOW))
    if os.fstat(file.number).st_uid != os.geteuid():  # what is in it will be believed
        file.close()
        raise PermissionError(errno.EPERM, f"{path} belongs to another user")
    return file


class Follower:
    """A child's end.

    Args:
        file: the control file.
    """

    def __init__(self, file: Descriptor) -> None:
        self._file = file
        self.generation = -1

    def read(self) -> State | None:
        """The state, if it is newer than the one before; None if it is not."""
        generation, run, opened, closed = self._latest()
        if generation <= self.generation:
            return None
        self.generation = generation
        if opened is not None:
            opened["clocks"] = Clocks(*opened["clocks"])
        return State(
            None if run is None else Run(**run),
            None if opened is None else Opened(**opened),
            None if closed is None else Closed(**closed),
        )

    def wait(self) -> State | None:
        """Wait for the next state; None if the parent is gone.

        Raises:
            OSError: somebody has closed the descriptor.
        """
        fcntl.lockf(self._file.checked(), fcntl.LOCK_SH, 1, self.generation)
        fcntl.lockf(self._file.checked(), fcntl.LOCK_UN, 1, self.generation)
        return self.read()

    def _latest(self) -> list[Any]:
        for _ in range(MAX_READS):
            slots = [_unpacked(os.pread(self._file.checked(), SLOT_BYTES, at)) for at in (0, SLOT_BYTES)]
            if found := [slot for slot in slots if slot is not None]:
                return max(found, key=lambda slot: int(slot[0]))
        return [-1, None, None, None]


def _packed(generation: int, state: State) -> bytes:
    text = json.dumps([generation, *(None if part is None else part._asdict() for part in state)]).encode()
    if len(text) > SLOT_BYTES - HEAD_BYTES:
        message = f"children= has {len(text)} bytes to tell them. Use a shorter name of the folder, worker or trace id."
        raise LifecycleError(message)
    rest = len(text).to_bytes(4, "little") + text
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def _unpacked(content: bytes) -> list[Any] | None:
    """What a slot holds; None while it is being written, and before it ever was."""
    size = int.from_bytes(content[4:HEAD_BYTES], "little")
    rest = content[4 : HEAD_BYTES + size]
    if len(content) < HEAD_BYTES or zlib.crc32(rest) != int.from_bytes(content[:4], "little"):
        return None
    slot: list[Any] = json.loads(rest[4:])
    return slot
