"""The `trace_golden` fixture: what a test recorded, compared with the golden trace beside the test."""

import os
import shlex
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from stepscope import ExportError, FormatError, Trace, read, write
from stepscope.analysis.golden import from_golden
from stepscope.model.output import make_folder, write_whole
from stepscope.pytest_plugin.compare import Terms, difference, text_difference
from stepscope.pytest_plugin.ledger import note, shown_path
from stepscope.pytest_plugin.place import ENDINGS, TEXT_ENDING, folder_of, home_of, safe_name, stem_of
from stepscope.pytest_plugin.recorder import YieldingProfile, recorded_trace
from stepscope.session.recording import Recording

__all__ = ["TraceGolden"]

KEPT = "stepscope-failed"


class TraceGolden:
    """Records, and compares what was recorded with a golden.

        def test_training_step(trace_golden):
            with trace_golden.record():
                train_one_step()

    A test that does no check() is checked when it ends. If the code under test starts a profile of its own, that one
    records, and its trace is compared; if it starts several, that of the first.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._config = item.config
        self._profiles: list[YieldingProfile] = []
        self._unchecked: list[YieldingProfile] = []
        self._checked: set[Path] = set()
        self._goes_on = False

    def record(self, **options: Any) -> YieldingProfile:
        """A profile to use as a context manager; options as of `stepscope.profile`."""
        made = YieldingProfile(**options)
        self._profiles.append(made)
        self._unchecked.append(made)
        return made

    def check(
        self,
        trace: Trace | Recording | None = None,
        *,
        name: str | None = None,
        golden: str | os.PathLike[str] | None = None,
        counter_values: bool = False,
        **rules: Any,
    ) -> None:
        """Compare with the golden; fails the test if there is none, or a difference.

        Args:
            trace: what to compare, or a profile whose cycle it is; by default what record() recorded last.
            name: tells several goldens of one test apart.
            golden: a trace file, relative to the test's module, to compare with; by default the golden beside the
                test, which is a .golden, or a trace file of the same name if there is one.
            counter_values: compare the values of counters too.
            rules: as of `stepscope.diff`. Times are compared only with timings=True, and only with a trace file.

        Raises:
            DiffError: there is no such rule.
            AnalysisError: the trace is too large for a text.
        """
        __tracebackhide__ = True
        source = self._last() if trace is None else trace
        if source in self._unchecked:
            self._unchecked.remove(source)  # type: ignore[arg-type] # it is in the list
        actual = recorded_trace(source, "trace_golden.check(session.trace, name=f'cycle{session.cycle}')")
        path = self._path(name, golden)
        if path in self._checked:
            pytest.fail(
                f"{self._shown(path)} is checked twice. Give the second check a name: check(name='...').", pytrace=False
            )
        self._checked.add(path)
        note(self._item, "used", str(path))
        terms = Terms({"timings": False, **rules}, counter_values)
        text = self._text(actual, path, terms)
        status, found = self._judge(path, actual, text, terms)
        if status and self._config.getoption("--trace-update"):
            self._write(path, actual, text)
            note(self._item, status, str(path))
        elif status:
            kept = f"{self._keep(actual)}\n" if status == "changed" else ""
            pytest.fail(f"{found.rstrip()}\n\n{kept}{self._advice()}", pytrace=False)

    def finish(self, *, at_teardown: bool = False) -> None:
        """The test has ended: what was recorded and not checked is checked now.

        Args:
            at_teardown: its fixtures have ended too. What one of them records goes on until then.
        """
        __tracebackhide__ = True
        if at_teardown != self._goes_on:
            return
        self._goes_on = not at_teardown and Recording.active() in self._unchecked
        if self._goes_on:
            return
        if not self._profiles and not self._checked:
            pytest.fail(
                "the test asks for trace_golden and records nothing: use `with trace_golden.record():`, or "
                "trace_golden.check(trace).",
                pytrace=False,
            )
        if len(self._unchecked) > 1:
            pytest.fail(
                f"{len(self._unchecked)} recordings were not checked. Call check(name='...') behind each.",
                pytrace=False,
            )
        if self._unchecked:
            self.check(self._unchecked[0])

    # -- how -----------------------------------------------------------------------------------------------------

    def _last(self) -> YieldingProfile:
        __tracebackhide__ = True
        if not self._profiles:
            pytest.fail("nothing was recorded: use `with trace_golden.record():`, or check(trace).", pytrace=False)
        return self._profiles[-1]

    def _path(self, name: str | None, golden: str | os.PathLike[str] | None) -> Path:
        """The golden's file, whether it is there or not."""
        __tracebackhide__ = True
        if golden is not None:
            path = self._item.path.parent / golden
            if not path.name.endswith(ENDINGS):
                endings = ", ".join(ENDINGS)
                pytest.fail(f"golden={str(golden)!r}: the ending says no format. Use one of {endings}.", pytrace=False)
            return path
        stem = home_of(self._item.path) / stem_of(self._item)
        if name is not None:
            stem = stem.with_name(f"{stem.name}.{safe_name(name)}")
        there = [path for path in (stem.with_name(stem.name + ending) for ending in ENDINGS) if path.exists()]
        if len(there) > 1:
            names = ", ".join(path.name for path in there)
            pytest.fail(
                f"{self._shown(stem.parent)} has several goldens for one check: {names}. Keep one.", pytrace=False
            )
        return there[0] if there else stem.with_name(stem.name + TEXT_ENDING)

    def _text(self, actual: Trace, path: Path, terms: Terms) -> str | None:
        """What the golden should be, if it is a text; None if it is a trace file."""
        __tracebackhide__ = True
        if not path.name.endswith(TEXT_ENDING):
            return None
        if terms.rules["timings"]:
            pytest.fail(
                f"{self._shown(path)} is text and has no times. Leave out timings=True, or use a trace file as the "
                "golden: check(golden='base.pftrace', timings=True).",
                pytrace=False,
            )
        return terms.text_of(actual)

    def _judge(self, path: Path, actual: Trace, text: str | None, terms: Terms) -> tuple[str, str]:
        """Compare with a golden.

        Returns:
            "", "written" or "changed", which is what updating does to the golden; and why, in words.
        """
        try:
            if text is None:
                found = difference(read(path), actual, terms)
            else:
                found = text_difference(from_golden(_read_text(path), self._shown(path)), text, terms)
        except FileNotFoundError:
            would_be = f"It would be:\n\n{text}" if text else ""
            return "written", f"there is no golden {self._shown(path)} for this test yet. {would_be}"
        except (OSError, FormatError) as error:
            return "changed", f"the golden cannot be read. {error}"
        if not found:
            return "", ""
        return "changed", f"{self._item.name} differs from its golden {self._shown(path)}\n\n{found}"

    def _write(self, path: Path, actual: Trace, text: str | None) -> None:
        __tracebackhide__ = True
        try:
            make_folder(path.parent)
            if text is None:
                write(actual, path)
            else:
                write_whole(path, [text.encode()])
        except ExportError as error:
            reason = str(error)
        else:
            return
        pytest.fail(f"the golden cannot be written. {reason}", pytrace=False)

    def _keep(self, actual: Trace) -> str:
        """Write the trace where a person finds it; says where, or why not."""
        module = folder_of(self._item)  # modules in two folders may have one name
        name = f"{stem_of(self._item)}.{len(self._checked)}.pftrace"
        reasons = []
        for folder in (self._cache_folder, lambda: Path(gettempdir()) / KEPT):
            try:
                path = write(actual, make_folder(folder() / module) / name)
            except OSError as error:  # noqa: PERF203 - two at most; a read-only checkout, for example
                reasons.append(str(error))
            else:
                return f"What was recorded is in {self._shown(path)}; open it in https://ui.perfetto.dev."
        return f"What was recorded could not be kept. {reasons[-1]}"

    def _cache_folder(self) -> Path:
        """Pytest's cache, which git ignores; raises OSError if there is none."""
        cache = getattr(self._config, "cache", None)
        if cache is None:
            message = "pytest's cache is off"
            raise OSError(message)
        return Path(cache.mkdir(KEPT))

    def _advice(self) -> str:
        return (
            f"If this is as it should be, run   pytest --trace-update {shlex.quote(self._item.nodeid)}   and review it."
        )

    def _shown(self, path: Path) -> str:
        return shown_path(path, self._config)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"{path.name}: byte {error.start} is not UTF-8. Write the golden anew with pytest --trace-update."
        raise FormatError(message) from error
