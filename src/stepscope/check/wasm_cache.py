"""The compiled engine: WebAssembly to machine code once, then the copy from a private folder.

Compiling takes seconds and loading the copy milliseconds. The copy is code that this process will
run, so nobody else may be able to write it: a folder or file that others could change is not used.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import wasmtime

from stepscope.model.errors import StepscopeWarning

# wasmtime's default of 512 KiB is less than deep SQL needs; above 2 MiB it aborts the process.
MAX_WASM_STACK = 2 << 20
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@functools.cache
def load_module(wasm: Path) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The engine at a path, ready to instantiate; read or compiled once per process.

    Raises:
        OSError: the file cannot be read.
        wasmtime.WasmtimeError: it is no WebAssembly.
    """
    config = wasmtime.Config()
    config.max_wasm_stack = MAX_WASM_STACK
    engine = wasmtime.Engine(config)
    code = wasm.read_bytes()
    copy = cache_folder() / f"{_fingerprint(code)}.cwasm"
    danger = _make_private(copy.parent) or why_unsafe(copy)
    if not danger:
        # Not there yet, or made for another CPU, which wasmtime refuses: it is made anew.
        with contextlib.suppress(OSError, wasmtime.WasmtimeError):
            return engine, wasmtime.Module.deserialize_file(engine, str(copy))
    module = wasmtime.Module(engine, code)
    if not danger:
        danger = _store(copy, bytes(module.serialize()))
    if danger:
        warnings.warn(
            "the compiled trace processor is not kept, so each process compiles it for seconds: "
            f"{danger}. Set XDG_CACHE_HOME to a folder of your own.",
            StepscopeWarning,
            stacklevel=2,
        )
    return engine, module


def cache_folder() -> Path:
    """Where compiled copies are kept: $XDG_CACHE_HOME/stepscope, or ~/.cache/stepscope."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    return (named if named.is_absolute() else Path.home() / ".cache") / "stepscope"


def _make_private(folder: Path) -> str:
    """Make the folder if it is not there; returns why it cannot be used, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return str(error)
    return why_unsafe(folder)


def why_unsafe(path: Path) -> str:
    """Why a folder or file cannot be trusted to hold code, or "" if it can or is not there yet."""
    if sys.platform == "win32":
        return ""  # The folder lies in the user's profile, which Windows keeps from others.
    if not os.path.lexists(path):
        return ""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a symbolic link"
    if found.st_uid != os.getuid():
        return f"{path} belongs to user {found.st_uid}, not to user {os.getuid()}"
    if found.st_mode & WRITABLE_BY_OTHERS:
        return f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _fingerprint(code: bytes) -> str:
    made_by = f"{importlib.metadata.version('wasmtime')} {MAX_WASM_STACK}"
    return hashlib.sha256(made_by.encode() + code).hexdigest()[:16]


def _store(copy: Path, compiled: bytes) -> str:
    """Write the copy whole or not at all; returns why it could not be written, or ""."""
    scratch = None
    try:
        with tempfile.NamedTemporaryFile(dir=copy.parent, delete=False) as file:
            scratch = Path(file.name)
            file.write(compiled)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(copy)
    except OSError as error:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
        return str(error)
    return ""
