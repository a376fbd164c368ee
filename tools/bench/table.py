"""What is measured, and the limits it is held against: one row a measurement, each in a process of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.averages import AVERAGES
from bench.calls import CALLS, WORKLOAD
from bench.diff import DIFF_ARGS, DIFF_CHANGED, DIFF_GONE, DIFF_SAME, DIFF_SIBLINGS
from bench.exports import EXPORTS, EXPORTS_WITH_ARGS, EXTRA, HELD, STEPS
from bench.options import AFTER_EVERYTHING, BESIDES, MEMORY, PAUSES
from bench.peers import PEERS
from bench.spans import OURS
from bench.timing import EMPTY, AbsentError, Contender, Gauge, elapsed_ns

__all__ = ["ROWS", "Row"]

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def _status_bytes(field_name: str) -> int:
    """A figure of /proc/self/status: VmRSS is what the process holds, VmHWM the most it ever held."""
    if not STATUS.is_file():
        message = f"there is no {STATUS} on this system to read memory from"
        raise AbsentError(message)
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    message = f"{STATUS} has no {field_name}"
    raise AbsentError(message)


def held_bytes() -> Callable[[], int]:
    """The gauge of memory that stays."""
    before = _status_bytes("VmRSS")
    return lambda: _status_bytes("VmRSS") - before


def peak_bytes() -> Callable[[], int]:
    """The gauge of memory that was needed for a while."""
    before = _status_bytes("VmRSS")
    # 5 sets VmHWM back to what is held now; see proc(5). Without it, an earlier peak would hide this one.
    CLEAR_REFS.write_text("5", encoding="ascii")
    return lambda: max(_status_bytes("VmHWM") - before, 0)


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: what --only takes.
        title: what is measured.
        contenders: ours first, then the peers.
        at_most: the limit of ours, in the row's unit; None for no limit.
        cheaper: peer -> how many times cheaper than it ours must be.
        unit: of one operation: ns. A million of them is ms; bytes of a million are MB: the figures are the same.
        gauge: what a sample reads. Memory needs a process for every sample: what one frees the next would reuse.
        environ: the environment it runs in, besides the caller's own.
        needs_clock: it is not measured where the core cannot run on this clock.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    at_most: float | None = None
    cheaper: Mapping[str, float] = field(default_factory=dict)
    unit: str = "ns"
    gauge: Gauge = elapsed_ns
    environ: Mapping[str, str] = field(default_factory=dict)
    needs_clock: str = ""

    @property
    def fresh_process(self) -> bool:
        """Whether each sample has a process of its own."""
        return self.gauge is not elapsed_ns

    def contender(self, name: str) -> Contender:
        """The contender of that name."""
        return next(contender for contender in self.contenders if contender.name == name)


def _spans(kind: str, *more: str) -> tuple[Contender, ...]:
    """The empty loop, which is subtracted, ours, and the peers of the first kind."""
    return (EMPTY, *(OURS[each] for each in (kind, *more)), *PEERS[kind])


BOOTTIME, TSC = {"STEPSCOPE_CLOCK": "boottime"}, {"STEPSCOPE_CLOCK": "tsc"}
# It cannot read the counter: a wish for it that the caller's environment holds is not for these rows.
PYTHON = {"STEPSCOPE_CORE": "python", "STEPSCOPE_CLOCK": "auto"}
TORCH_SPAN, VIZTRACER_SPAN = "torch record_function", "viztracer log_event"
SAVES = ("viztracer save (orjson)", "viztracer save (no orjson)", "torch export .json")
SPAN = 'with record_function("x")'

VIZTRACER_CALLS = ("viztracer", "viztracer (no C functions)")

# The limits say what a thing may cost on one core of about 3 GHz, and how many times cheaper than a peer it must be.
# They are what sketches of the hot paths have shown to be possible; a row without one is there to be known.
ROWS = (
    Row("span", f"{SPAN}, recording", _spans("span"), 75, {TORCH_SPAN: 60, VIZTRACER_SPAN: 20}, environ=BOOTTIME),
    Row(
        "span-tsc",
        f"{SPAN}, recording, time-stamp counter",
        _spans("span"),
        60,
        {TORCH_SPAN: 60, VIZTRACER_SPAN: 20},
        environ=TSC,
        needs_clock="tsc",
    ),
    Row("span-task", f"{SPAN} in an asyncio task, recording", (EMPTY, OURS["task"])),
    Row("idle", f"{SPAN}, nothing recording", _spans("idle", "waiting"), 35, {TORCH_SPAN: 100}),
    Row("idle-after", f"{SPAN}, nothing recording, after everything was", (EMPTY, AFTER_EVERYTHING), 35),
    Row("decorated", "a decorated call, recording, with the call", _spans("decorated"), 60),
    Row("instant", 'instant("x"), recording', _spans("instant"), 30, {"viztracer add_instant": 1}),
    Row("counter", 'counter("x", 1), recording', _spans("counter"), 45, {"viztracer add_counter": 1}),
    Row("args", 'with record_function("x", a=1, b="text"), recording', _spans("args"), 200),
    Row("op", "an operator, recorded: is_enabled(), enter(), exit()", (EMPTY, OURS["op"]), 250),
    *(Row(name, title, (EMPTY, contender)) for name, title, contender in BESIDES),
    Row("op-disabled", "an operator, nothing recording: is_enabled()", (EMPTY, OURS["op-disabled"]), 20),
    Row("pause", "gc.collect(0), its pause recorded or not, with the call", (EMPTY, *PAUSES)),
    Row("memory", "a round of a real program, memory sampled or not", MEMORY),
    Row(
        "call",
        "function tracing: a call, with the call",
        (EMPTY, *CALLS),
        cheaper=dict.fromkeys(VIZTRACER_CALLS, 1 / 0.85),
    ),
    Row(
        "call-workload",
        "function tracing: a round of a real program",
        WORKLOAD,
        cheaper=dict.fromkeys((*VIZTRACER_CALLS, "trace0"), 1),
    ),
    Row(
        "export-pftrace",
        "export a slice, sealed to renamed .pftrace",
        EXPORTS[".pftrace"],
        60,
        dict.fromkeys(SAVES, 25),
    ),
    Row("export-json", "export a slice, sealed to renamed .json", EXPORTS[".json"], 80, dict.fromkeys(SAVES, 20)),
    Row("export-gz", "export a slice, sealed to renamed .json.gz", EXPORTS[".json.gz"], 200),
    Row("export-args", "export a slice with two arguments, sealed to renamed file", EXPORTS_WITH_ARGS),
    Row("held", "memory held, a million spans", HELD, 40, {"torch": 10}, unit="MB", gauge=held_bytes),
    Row("extra", "memory besides, while exporting a million", EXTRA, 64, unit="MB", gauge=peak_bytes),
    Row("step", "step() that ends a cycle of a million spans", STEPS, 2, unit="ms"),
    Row("averages", "key_averages() with percentiles, a slice", AVERAGES, 300, {"torch key_averages": 20}),
    Row("diff", "diff() of two traces that are the same, a slice", DIFF_SAME, 10_000),
    Row("diff-changed", "diff() of two traces with all names changed, a slice", DIFF_CHANGED, 10_000),
    Row("diff-args", "diff() of two traces with all arguments changed, a slice", DIFF_ARGS, 10_000),
    Row("diff-gone", "diff() of two traces of which no name is in both, a slice", DIFF_GONE, 10_000),
    Row("diff-siblings", "diff() of one step whose siblings are all renamed, a slice", DIFF_SIBLINGS, 10_000),
    Row("span-python", f"{SPAN}, recording, Python core", _spans("span"), 600, {TORCH_SPAN: 8}, environ=PYTHON),
    Row(
        "idle-python",
        f"{SPAN}, nothing recording, Python core",
        _spans("idle", "waiting"),
        250,
        {TORCH_SPAN: 15},
        environ=PYTHON,
    ),
)
