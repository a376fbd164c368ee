"""The WebAssembly engine in this process: one instance is one trace processor.

exchange(bytes) -> window in its memory -> trace_processor_on_rpc_request -> Host.reply -> bytes
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wasmtime

from stepscope.check.rpc import EngineError
from stepscope.check.wasm_cache import load_module
from stepscope.check.wasm_host import Host

WINDOW = 8 << 20  # the request buffer it allocates; larger requests go through it in parts
# v52 was linked with a stack of 64 KiB, and deep SQL grows out of it into the heap.
STACK = 4 << 20
CLOSED = "it was closed"


class WasmTransport:
    """One trace processor inside this process. Not for use from two threads at once."""

    def __init__(self, path: Path) -> None:
        """Instantiate the engine; its code is compiled once per machine, loaded once per process.

        Raises:
            EngineError: the file is no trace processor, or there is no memory for it.
        """
        self._dead = ""
        try:
            engine, module = load_module(path)
            self._store = wasmtime.Store(engine)
            self._host = Host(self._store)
            instance = wasmtime.Instance(self._store, module, self._host.imports(module))
            self._start(instance.exports(self._store))
        except (OSError, KeyError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise EngineError(f"{path} could not be started: {error}") from error

    def _start(self, exports: Mapping[str, Any]) -> None:
        store = self._store
        self._host.memory = exports["memory"]
        self._on_request = exports["trace_processor_on_rpc_request"]
        exports["emscripten_stack_init"](store)
        exports["__wasm_call_ctors"](store)
        stack = exports["emscripten_builtin_memalign"](store, 16, STACK)
        exports["_emscripten_stack_restore"](store, stack + STACK)
        slot = exports["__indirect_function_table"].grow(store, 1, self._host.reply_function())
        self._window = exports["trace_processor_rpc_init"](store, slot, WINDOW)

    def exchange(self, request: bytes) -> bytes:
        """Send one framed request and return the framed replies.

        Raises:
            EngineError: it trapped, aborted, or was closed. It then answers nothing any more.
        """
        if self._dead:
            raise EngineError(self._dead)
        host = self._host
        host.replies.clear()
        try:
            for at in range(0, len(request), WINDOW):
                part = request[at : at + WINDOW]
                host.put(self._window, part)
                self._on_request(self._store, len(part))
        except (wasmtime.Trap, wasmtime.WasmtimeError, EngineError) as error:
            # After a trap its memory is in no known state.
            self._dead = f"{str(error).strip()}\n{''.join(host.said)}".strip()
            raise EngineError(self._dead) from error
        return b"".join(host.replies)

    def close(self) -> None:
        """Give its memory back; a second call does nothing."""
        if self._dead != CLOSED:
            self._dead = CLOSED
            self._store.close()
