"""What the WebAssembly engine asks of its surroundings: memory, a clock, a place to complain.

It was built by emscripten for a browser, and imports some forty C functions. Those that a trace
processor needs are methods of Host; every other one answers "not implemented here" and is noted.
"""

import collections
import contextlib
import ctypes
import functools
import struct
import time
import weakref
from typing import Any

import wasmtime

from stepscope.check.rpc import EngineError

PAGE = 1 << 16
MAX_HEAP = (4 << 30) - PAGE
GROWTH_LIMIT = 96 << 20  # as emscripten grows: a fifth more each time, and never more than this
U32 = 0xFFFFFFFF  # wasm hands over addresses as signed 32-bit integers
ENOSYS = 52
LONGEST_TEXT = 4096
LAST_WORDS = 40

# The wasm import -> the method of Host that answers it.
IMPORTS = {
    "_abort_js": "abort",
    "__assert_fail": "assert_fail",
    "emscripten_err": "complain",
    "fd_write": "write",
    "emscripten_resize_heap": "resize_heap",
    "emscripten_get_heap_max": "heap_max",
    "emscripten_get_now": "monotonic_ms",
    "emscripten_date_now": "wall_ms",
    "clock_time_get": "clock",
    "_gmtime_js": "calendar",
    "_localtime_js": "calendar",
    "_tzset_js": "time_zone",
    "environ_sizes_get": "environment_sizes",
    "environ_get": "environment",
}


class Host:
    """The surroundings of one engine: its memory, its replies, what it wrote to standard error."""

    memory: wasmtime.Memory  # set by the instance, which cannot exist before its imports

    def __init__(self, store: wasmtime.Store) -> None:
        self.store = store
        self.replies: list[bytes] = []
        self.said: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)

    def imports(self, module: wasmtime.Module) -> list[wasmtime.Func]:
        """A host function for each import of the module, in its order."""
        return [wasmtime.Func(self.store, each.type, self._answer_to(each)) for each in module.imports]

    def reply_function(self) -> wasmtime.Func:
        """The host function to which the engine hands each reply: (address, size)."""
        i32 = wasmtime.ValType.i32
        kind = wasmtime.FuncType([i32(), i32()], [])
        return wasmtime.Func(self.store, kind, functools.partial(Host.reply, weakref.proxy(self)))

    def _answer_to(self, wanted: wasmtime.ImportType) -> functools.partial[Any]:
        # wasmtime keeps host functions until the store is gone, and they would keep the store: with
        # bound methods each instance held 14 MB and 4 GB of address space for ever.
        me = weakref.proxy(self)
        if wanted.name in IMPORTS:
            return functools.partial(getattr(Host, IMPORTS[wanted.name]), me)
        return functools.partial(Host.not_here, me, name=wanted.name, status=-ENOSYS if wanted.type.results else None)

    # The engine's memory

    def _address(self, at: int, size: int) -> int:
        at, size = at & U32, size & U32
        if at + size > self.memory.data_len(self.store):
            raise EngineError(f"it pointed outside its memory: {size} bytes at {at:#x}")
        return ctypes.addressof(self.memory.data_ptr(self.store).contents) + at

    def get(self, at: int, size: int) -> bytes:
        """Copy bytes out of the engine's memory."""
        return ctypes.string_at(self._address(at, size), size & U32)

    def put(self, at: int, data: bytes) -> None:
        """Copy bytes into the engine's memory."""
        ctypes.memmove(self._address(at, len(data)), data, len(data))

    def text(self, at: int) -> str:
        """A NUL-terminated string in the engine's memory."""
        room: int = self.memory.data_len(self.store) - (at & U32)
        return self.get(at, min(room, LONGEST_TEXT)).split(b"\0")[0].decode("utf-8", "replace")

    # Replies, complaints, death

    def reply(self, at: int, size: int) -> None:
        """Keep a reply; an empty one, after a fatal error, asks to disconnect."""
        self.replies.append(self.get(at, size))

    def complain(self, text: int) -> None:
        """Keep a line of its standard error."""
        self.said.append(self.text(text) + "\n")

    def write(self, _file: int, vectors: int, count: int, written: int) -> int:
        """POSIX writev to its standard output or error, of (address, size) pairs."""
        pairs = struct.iter_unpack("<II", self.get(vectors, 8 * count))
        data = b"".join(self.get(at, size) for at, size in pairs)
        self.said.append(data.decode("utf-8", "replace"))
        self.put(written, struct.pack("<I", len(data)))
        return 0

    def abort(self) -> None:
        """End it, as C's abort does."""
        raise EngineError("it called abort()")

    def assert_fail(self, condition: int, file: int, line: int, _function: int) -> None:
        """A failed C assert()."""
        raise EngineError(f"assertion failed: {self.text(condition)} at {self.text(file)}:{line}")

    def not_here(self, *arguments: int, name: str, status: int | None) -> int | None:
        """Files, directories, sockets: there are none."""
        self.said.append(f"there is no {name}{arguments} here\n")
        return status

    # Memory growth

    def resize_heap(self, wanted: int) -> int:
        """Grow the memory to at least this many bytes; 1 if it worked."""
        wanted &= U32
        have = self.memory.data_len(self.store)
        goal = min(max(wanted, have + min(have // 5, GROWTH_LIMIT)), MAX_HEAP)
        with contextlib.suppress(wasmtime.WasmtimeError):
            self.memory.grow(self.store, -(-goal // PAGE) - have // PAGE)
        return int(self.memory.data_len(self.store) >= wanted)

    def heap_max(self) -> int:
        """The most it can have, as a signed 32-bit integer."""
        return MAX_HEAP - (1 << 32)

    # Time; every zone is UTC

    def monotonic_ms(self) -> float:
        """A clock that never goes back."""
        return time.monotonic() * 1e3

    def wall_ms(self) -> float:
        """Milliseconds since 1970."""
        return time.time() * 1e3

    def clock(self, which: int, _precision: int, out: int) -> int:
        """Write nanoseconds: of the wall clock for 0, of the monotonic one for all others."""
        self.put(out, struct.pack("<Q", time.monotonic_ns() if which else time.time_ns()))
        return 0

    def calendar(self, seconds: int, out: int) -> None:
        """Fill a struct tm: nine fields, and the offset from UTC."""
        t = time.gmtime(seconds)
        day = (t.tm_mday, t.tm_mon - 1, t.tm_year - 1900, (t.tm_wday + 1) % 7, t.tm_yday - 1)
        self.put(out, struct.pack("<10i", t.tm_sec, t.tm_min, t.tm_hour, *day, 0, 0))

    def time_zone(self, offset: int, has_summer_time: int, winter_name: int, summer_name: int) -> None:
        """Fill C's globals timezone, daylight and tzname."""
        for at in (offset, has_summer_time):
            self.put(at, bytes(4))
        for at in (winter_name, summer_name):
            self.put(at, b"UTC\0")

    # Environment variables: none

    def environment_sizes(self, count: int, size: int) -> int:
        """How many variables there are, and how many bytes they take."""
        self.put(count, bytes(4))
        self.put(size, bytes(4))
        return 0

    def environment(self, _pointers: int, _bytes: int) -> int:
        """Write none of them."""
        return 0
