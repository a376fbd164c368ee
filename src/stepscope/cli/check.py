"""`stepscope check`: what Perfetto makes of a file, and what other programs would choke on."""

import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import click

from stepscope import CheckError
from stepscope.check import LEVELS, PACKET_RULES, Engine, Lint, RefusedError, Report, check, find_engine, lint
from stepscope.cli.opening import opened
from stepscope.cli.reading import limit_option, read_trace, refuse_bomb
from stepscope.cli.trouble import DONE, FINDINGS, TROUBLE, Trouble, printable, say, worded

__all__ = ["command"]

GZIP_MAGIC = b"\x1f\x8b"
PACKET = b"\n"  # field 1 of a Perfetto trace
HEAD_BYTES = 1 << 16
SILENT = "nothing in the trace processor's statistics says why"
MARGIN = " " * 11
LONGEST_REASON = 200


class _Remark(NamedTuple):
    """One thing to say of a file; `level` is one of LEVELS."""

    level: str
    rule: str
    count: int  # type: ignore[assignment] # it hides tuple.count, which nobody asks of a remark
    example: str
    who: str
    why: str
    fix: str


@dataclass
class _Verdict:
    """What is known of a file; `report` is None if the trace processor refused it."""

    path: Path
    report: Report | None
    remarks: list[_Remark] = field(default_factory=list)


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
@limit_option
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], strict: bool, form: str, max_bytes: int | None) -> None:
    """Load each FILE in Perfetto's trace processor, and say what is wrong with it.

    Counts what has arrived, and names each statistic that is not known to be harmless. JSON files are also held to what
    HolisticTraceAnalysis (HTA) and the TensorBoard plugin need: what only they choke on is a warning. The packets of a
    .pftrace are read by stepscope too: what Perfetto drops without a word is named.

    Exit code: 0 without errors; 1 if a file has errors or was refused; 2 if one cannot be read or is no trace.
    """
    engine = find_engine()
    verdicts: list[_Verdict] = []
    ranks: dict[tuple[Path, int], Path] = {}
    trouble = False
    for path in files:
        try:
            refuse_bomb(path, max_bytes)
            verdict = _look_at(path, engine, ranks, max_bytes)
        except (CheckError, Trouble, OSError) as error:
            say(error.message if isinstance(error, Trouble) else worded(error))
            trouble = True
            continue
        verdicts.append(verdict)
        if form == "text":
            click.echo(_as_text(verdict))
    if form == "json":
        click.echo(json.dumps([_as_json(verdict) for verdict in verdicts], indent=2, ensure_ascii=False))
    found = Counter(remark.level for verdict in verdicts for remark in verdict.remarks)
    bad = found["error"] > 0 or (strict and found["warning"] > 0)
    ctx.exit(TROUBLE if trouble else FINDINGS if bad else DONE)


def _look_at(path: Path, engine: Engine, ranks: dict[tuple[Path, int], Path], max_bytes: int | None) -> _Verdict:
    """Load a file, and hold it to the rules of its format.

    Raises:
        CheckError: it is no trace.
        Trouble: more comes out of its compressed packets than max_bytes.
        OSError: it cannot be read.
    """
    with opened(path, "loading") as stream:
        head = _head(stream)
        is_json = head.lstrip()[:1] in {b"{", b"["}
        try:
            report: Report | None = check(path, engine=engine, stream=stream)
            refusal: list[_Remark] = []
        except RefusedError as error:
            if not is_json and head[:1] != PACKET:
                raise
            report = None
            refusal = [_refused(str(error).removeprefix(f"{path}: "))]
    verdict = _Verdict(path, report, refusal)
    if report is not None:
        verdict.remarks += _statistics(report)
    if is_json:
        with opened(path, "linting") as stream:
            linted = lint(stream, path, ranks)
        verdict.remarks += _linted(linted, report)
    elif head[:1] == PACKET:
        verdict.remarks += _read(path, report, max_bytes)
    verdict.remarks.sort(key=lambda remark: LEVELS.index(remark.level))
    return verdict


def _head(stream: io.BufferedReader) -> bytes:
    """The first bytes, decompressed."""
    head = stream.peek(HEAD_BYTES)
    if head[:2] != GZIP_MAGIC:
        return head
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _refused(reason: str) -> _Remark:
    line = " ".join(reason.split())  # it may quote the rest of the file
    shown = line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}..."
    return _Remark("error", "refused", 1, shown, "Perfetto", "it shows nothing of the file", "")


def _statistics(report: Report) -> Iterator[_Remark]:
    for name in report.problems:
        sentence = " ".join(report.descriptions.get(name, "").split()).split(". ")[0]
        why = sentence or "the trace processor counts it as a problem"
        yield _Remark("error", name, report.stats[name], "", "Perfetto", why, "")


def _linted(linted: Lint, report: Report | None) -> Iterator[_Remark]:
    """What lint found, and what the trace processor lost without a word."""
    for rule, count, example in linted.findings:
        yield _Remark(rule.level, rule.name, count, example, rule.who, rule.why, rule.fix)
    if report is not None and not linted.facts.damage:
        yield from _lost(linted.facts.slices, report)


def _read(path: Path, report: Report | None, max_bytes: int | None) -> Iterator[_Remark]:
    """What was found while a file of packets was read, and what the trace processor lost without a word."""
    trace = read_trace(path, non_strict=True, max_bytes=max_bytes)
    found = [(PACKET_RULES[each.kind], each) for each in trace.problems if each.kind in PACKET_RULES]
    for rule, problem in found:
        yield _Remark(rule.level, rule.name, problem.count, problem.example, "Perfetto", rule.why, rule.fix)
    if report is not None and all(rule.level != "error" for rule, _ in found):
        yield from _lost(len(trace), report)


def _lost(slices: int, report: Report) -> Iterator[_Remark]:
    """Slices that are in a file, and neither in the trace processor nor in its statistics."""
    explained = sum(report.stats[name] for name in report.problems)
    lost = slices - report.slices - explained
    if lost > 0:
        example = f"{slices} events should be slices, {report.slices} are"
        yield _Remark("error", "lost", lost, example, "Perfetto", SILENT, "")


def _as_text(verdict: _Verdict) -> str:
    lines = [f"{verdict.path}: {_counts(verdict.report)}"]
    for remark in verdict.remarks:
        times = f" x{remark.count}" if remark.count > 1 else ""
        example = f": {remark.example}" if remark.example else ""
        lines.append(f"  {remark.level:7}  {remark.rule}{times}{example}")
        lines.append(f"{MARGIN}{remark.who}: {remark.why}")
        if remark.fix:
            lines.append(f"{MARGIN}Fix: {remark.fix}")
    return "\n".join(map(printable, lines))


def _counts(report: Report | None) -> str:
    if report is None:
        return "not loaded"
    places = f"{_many(report.threads, 'thread')} of {_many(report.processes, 'process', 'es')}"
    more = [_many(report.counters, "counter")] * (report.counters > 0) + [_many(report.flows, "flow")] * (
        report.flows > 0
    )
    return ", ".join([f"{_many(report.slices, 'slice')} on {places}", *more])


def _many(count: int, what: str, plural: str = "s") -> str:
    return f"{count} {what}{'' if count == 1 else plural}"


def _as_json(verdict: _Verdict) -> dict[str, Any]:
    report = verdict.report
    counted = ("slices", "threads", "processes", "counters", "flows")
    return {
        "file": str(verdict.path),
        "loaded": report is not None,
        "engine": report.engine.version if report else None,
        "counts": {name: getattr(report, name) for name in counted} if report else None,
        "stats": report.stats if report else None,
        "findings": [remark._asdict() for remark in verdict.remarks],
    }
