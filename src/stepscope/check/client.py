"""Perfetto's Python client with our errors: load a file, ask it SQL."""

from collections.abc import Callable
from typing import Any, BinaryIO

from perfetto.trace_processor import TraceProcessor, TraceProcessorException

from stepscope.check.rpc import EngineError, RpcBackend, Transport
from stepscope.model.errors import CheckError

# The client puts this before the engine's own words; our sentence says it already.
_PREFIX = "Failed while parsing trace. Error message: "
_SQL_PREFIX = "Traceback (most recent call last):\n"


class RefusedError(CheckError):
    """The file could be read, but the engine refused it, or died of it."""


class Client(TraceProcessor):  # type: ignore[misc] # perfetto has no types
    """perfetto's TraceProcessor over one engine; what fails is a CheckError naming the file."""

    def __init__(self, connect: Callable[[], Transport], file: str) -> None:
        """Start an engine; nothing is loaded yet.

        Args:
            connect: starts the engine.
            file: what the messages call the file.
        """
        self._connect = connect
        self._file = file
        super().__init__()

    def _create_backend(self, _remote: str | None, _addr: str | None) -> RpcBackend:
        return RpcBackend(self._connect(), self.protos)

    @property
    def engine_version(self) -> str:
        """The engine's version as it tells it, such as "v52.0-6b9586def".

        Raises:
            CheckError: it tells none.
        """
        try:
            status = self._backend.status()
        except EngineError as error:
            raise CheckError(f"{self._file}: the trace processor tells no version: {error}") from error
        return str(status.version_code or status.human_readable_version)

    def load(self, stream: BinaryIO) -> None:
        """Feed a file to the engine, one MiB at a time, and tell it that this was all.

        Raises:
            RefusedError: the engine refused the file, or died of it.
            OSError: the file could not be read to its end.
        """
        try:
            self._parse_trace(stream)
        except EngineError as error:
            raise RefusedError(f"{self._file}: the trace processor died while loading it: {error}") from error
        except TraceProcessorException as error:
            reason = str(error).removeprefix(_PREFIX)
            raise RefusedError(f"{self._file}: the trace processor refused it: {reason}") from error

    def query(self, sql: str) -> Any:
        """Run SQL and return perfetto's iterator of rows, columns as attributes.

        Raises:
            CheckError: the SQL is wrong, or the engine died.
        """
        try:
            return super().query(sql)
        except EngineError as error:
            raise CheckError(f"{self._file}: the trace processor is gone: {error}") from error
        except TraceProcessorException as error:
            reason = str(error).removeprefix(_SQL_PREFIX).strip()
            raise CheckError(f"{self._file}: the query failed: {reason}") from error


def rows(trace_processor: TraceProcessor, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL and return every row as a tuple of int, float, str, bytes or None.

    Columns of equal name stay apart, which perfetto's attributes cannot do. Of a blob, ask for
    hex(column): where numpy is installed, perfetto's client cuts the NULs off its end.

    Raises:
        CheckError: the SQL is wrong, or the engine died.
    """
    return table(trace_processor, sql)[1]


def table(trace_processor: TraceProcessor, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """As `rows`, and before them the names of the columns, as many as a row has values."""
    result = trace_processor.query(sql)
    cells, width = list(result.cells), result.column_count
    names = [str(name) for name in result.column_names]
    return names, [tuple(cells[at : at + width]) for at in range(0, len(cells), width or 1)]
