"""What the programs that load Chrome JSON choke on: a table, one row for each thing that can be wrong.

Every row but those of Perfetto's newer versions was seen to happen: HolisticTraceAnalysis 0.5.0 and torch_tb_profiler
0.4.3 loaded a file that is like a good one but for this, and did what `why` says. Perfetto stands for the trace
processor of versions 52 and 58.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stepscope.check.facts import STEP_NAME, Facts, is_number

__all__ = ["EVENT_RULES", "FILE_RULES", "LEVELS", "EventRule", "FileRule"]

# What a finding is worth: an error is seen by everyone, a warning by the programs it names, a note is good to know.
LEVELS = ("error", "warning", "note")

Event = Mapping[str, Any]

TENSORBOARD_NAME = re.compile(r".*\.pt\.trace\.json(\.gz)?")
HTA_NAME = re.compile(r".*(\.json|\.gz)")
# Phases that become slices in Perfetto, and those that it has no use for.
IGNORED_PHASES = frozenset("STFpONDvc(){}")
# Categories of the operators that the TensorBoard plugin builds its tree of.
OPERATORS = frozenset({"cpu_op", "operator", "python", "kernel", "runtime", "python_function"})
DEVICE_WORK = re.compile(r"kernel|gpu|cuda|xpu|hpu|mtia|hip", re.IGNORECASE)
LAST_ID = (1 << 31) - 1
# Below this, a double of us tells every ns from the next.
EXACT_US = float(1 << 43)


class EventRule(NamedTuple):
    """Something that can be wrong with an event.

    Attributes:
        name: what it is called.
        level: one of LEVELS.
        phases: of which phases it can be; "" for all.
        wrong: event -> whether it is.
        who: the programs that choke.
        why: what they do.
        fix: what to do about it.
    """

    name: str
    level: str
    phases: str
    wrong: Callable[[Event], bool]
    who: str
    why: str
    fix: str


class FileRule(NamedTuple):
    """Something that can be wrong with a file; `wrong` says what, or "" if it is not."""

    name: str
    level: str
    wrong: Callable[[Facts], str]
    who: str
    why: str
    fix: str


def _tid_is_no_number(event: Event) -> bool:
    tid = event.get("tid")
    if is_number(tid) or (isinstance(tid, str) and tid.strip().isdigit()):
        return False
    return str(event.get("cat")).lower() in OPERATORS or str(event.get("name")).startswith("ProfilerStep#")


def _id_out_of_range(event: Event) -> bool:
    ids = event.get("tid"), event.get("pid")
    return any(is_number(each) and not 0 <= each <= LAST_ID for each in ids)


def _bad_step_name(event: Event) -> bool:
    name = event.get("name")
    return isinstance(name, str) and name.startswith("ProfilerStep") and STEP_NAME.fullmatch(name) is None


def _hidden_on_a_stream(event: Event) -> bool:
    args, cat = event.get("args"), event.get("cat")
    if not isinstance(args, dict) or not is_number(args.get("stream")):
        return False
    return not (isinstance(cat, str) and DEVICE_WORK.search(cat))


def _text_correlation(event: Event) -> bool:
    args = event.get("args")
    return isinstance(args, dict) and "correlation" in args and not is_number(args["correlation"])


def _args_are_no_object(event: Event) -> bool:
    return "args" in event and not isinstance(event["args"], dict) and str(event.get("cat")).lower() in OPERATORS


def _shorter_than_a_us(event: Event) -> bool:
    ts, dur = event.get("ts"), event.get("dur")
    if not (is_number(ts) and is_number(dur) and 0 <= dur < 1):
        return False
    return math.floor(ts + dur) < math.ceil(ts)


def _loses_ns(event: Event) -> bool:
    ts = event.get("ts")
    return isinstance(ts, float) and is_number(ts) and abs(ts) >= EXACT_US and not float(ts).is_integer()


EVENT_RULES = (
    EventRule(
        "name", "warning", "", lambda event: not isinstance(event.get("name"), str),
        "TensorBoard, HTA", "the plugin drops the whole file (KeyError: 'name'), HTA may too, Perfetto says [No name]",
        "Give every event a name, also flows and metadata.",
    ),
    EventRule(
        "cat", "warning", "X", lambda event: not isinstance(event.get("cat"), str),
        "TensorBoard, HTA", "the plugin drops the whole file ('NoneType' has no 'lower'), HTA drops the event",
        'Give every event a category, such as "user_annotation".',
    ),
    EventRule(
        "dur", "error", "X", lambda event: not is_number(event.get("dur")),
        "Perfetto, TensorBoard, HTA", "Perfetto and HTA drop the event, the plugin may drop the whole file",
        'Give complete events ("X") a number as "dur".',
    ),
    EventRule(
        "ts", "error", "XBEbeniIRCstf", lambda event: not is_number(event.get("ts")),
        "Perfetto, TensorBoard, HTA", "without it Perfetto drops the event; of text HTA and the plugin drop the file",
        'Give every event a number as "ts", in microseconds.',
    ),
    EventRule(
        "ts-precision", "warning", "XBEbeniIRC", _loses_ns,
        "Perfetto, TensorBoard, HTA", "they read it as a double, which from 2**43 us on is coarser than a nanosecond",
        "Count ts from a base, and write that once: stepscope convert IN OUT.pt.trace.json",
    ),
    EventRule(
        "negative-dur", "error", "X", lambda event: is_number(event.get("dur")) and event["dur"] < 0,
        "Perfetto, HTA", "Perfetto takes it for a slice without an end; HTA subtracts it from sums",
        "Write the later time minus the earlier one.",
    ),
    EventRule(
        "tid", "warning", "X", _tid_is_no_number,
        "TensorBoard", "it drops the whole file if an operator or a step has a tid that is no number",
        'Write the native thread id as a number, and the name as a "thread_name" metadata event.',
    ),
    EventRule(
        "id-range", "error", "XBEbeniIC", _id_out_of_range,
        "Perfetto", "ids that are no uint32 become 0: such threads fall onto one, and what overlaps there is lost",
        "Use threading.get_native_id(): ids are from 1 to 2147483647.",
    ),
    EventRule(
        "tid-zero", "warning", "XBE", lambda event: event.get("tid") == 0 and event.get("pid") != 0,
        "Perfetto", "thread 0 is taken for the main thread of its process, and what overlaps there is lost",
        "Use threading.get_native_id(): no thread of a program has the id 0.",
    ),
    EventRule(
        "step-name", "warning", "X", _bad_step_name,
        "HTA, TensorBoard", "HTA refuses the file (no number in it), the plugin too if it begins with ProfilerStep#",
        "Leave names that begin with ProfilerStep to the profiler: they are ProfilerStep# and a number.",
    ),
    EventRule(
        "arg-stream", "warning", "X", _hidden_on_a_stream,
        "HTA", "a number called stream makes the slice GPU work of that stream: it is in no step",
        "Call the argument something else.",
    ),
    EventRule(
        "arg-correlation", "warning", "X", _text_correlation,
        "HTA", "an argument called correlation that is no number stops it (TypeError)",
        "Call the argument something else.",
    ),
    EventRule(
        "args", "warning", "X", _args_are_no_object,
        "TensorBoard", "it drops the whole file ('NoneType' has no 'get')",
        'Write "args" as an object, or leave it out.',
    ),
    EventRule(
        "phase", "warning", "".join(sorted(IGNORED_PHASES)), lambda _: True,
        "Perfetto, TensorBoard, HTA", "none of them has a use for events of this phase, and none says so",
        'Write slices as "X", or as "b" and "e" with an id where they overlap.',
    ),
    EventRule(
        "begin-end", "warning", "B", lambda _: True,
        "TensorBoard, HTA", 'both see complete events ("X") only: these slices are not there',
        "Convert the file: stepscope convert IN OUT.pt.trace.json",
    ),
    EventRule(
        "sub-us", "note", "X", _shorter_than_a_us,
        "HTA", "it rounds such a slice to whole microseconds, which gives it a duration of -1 us",
        "Set HTA_DISABLE_NS_ROUNDING=1 for HTA.",
    ),
)  # fmt: skip


def _odd_devices(facts: Facts) -> str:
    devices = facts.header.get("deviceProperties", [])
    if isinstance(devices, list) and all(isinstance(device, dict) for device in devices):
        return ""
    return f"deviceProperties is {str(devices)[:40]}"


def _rank(facts: Facts) -> str:
    if facts.is_array:
        return ""  # another row's
    said = facts.rank
    if facts.rank_on_line is None:
        return f"there is no space before rank {said}" if said is not None else "there is none"
    if facts.rank_on_line == said:
        return ""
    return f"distributedInfo says {said}, the first line with a rank says {facts.rank_on_line}"


FILE_RULES = (
    FileRule(
        "json", "warning", lambda facts: facts.damage,
        "HTA, TensorBoard", "both refuse what Python's json does not read whole; Perfetto may show a part",
        "Convert what is whole: stepscope convert --non-strict IN OUT.pt.trace.json",
    ),
    FileRule(
        "utf-8", "warning", lambda facts: "" if facts.is_utf8 else "some bytes are not UTF-8",
        "HTA, TensorBoard", "both refuse the file (UnicodeDecodeError)",
        "Convert the file: stepscope convert IN OUT.pt.trace.json",
    ),
    FileRule(
        "control", "warning", lambda facts: "a string holds one as it is" if facts.has_control else "",
        "HTA", "it refuses control characters in strings that are not escaped (JSONDecodeError)",
        "Convert the file: stepscope convert IN OUT.pt.trace.json",
    ),
    FileRule(
        "surrogate", "warning",
        lambda facts: f"the first one is character {facts.surrogate_at}" if facts.surrogate_at >= 0 else "",
        "Perfetto", "from version 58 on it refuses a whole file for an escape such as \\ud83d",
        "Write text as it is: json.dumps(..., ensure_ascii=False).",
    ),
    FileRule(
        "array", "warning", lambda facts: "the outermost value is an array" if facts.is_array else "",
        "HTA, TensorBoard", "both want an object with traceEvents and refuse the file",
        'Write {"traceEvents": [...]}, or convert the file: stepscope convert IN OUT.pt.trace.json',
    ),
    FileRule(
        "events", "error", lambda facts: "" if facts.has_events or facts.damage else "there is no traceEvents",
        "Perfetto, HTA, TensorBoard", "Perfetto shows nothing and says nothing; the others refuse the file",
        "Give a trace: an object with that key, or an array of events.",
    ),
    FileRule(
        "odd-event", "error", lambda facts: facts.odd_event,
        "Perfetto, HTA, TensorBoard", "all refuse a file with an event that is no object",
        "Leave it out.",
    ),
    FileRule(
        "empty", "warning",
        lambda facts: "no event has a time" if facts.has_events and not facts.timed and not facts.damage else "",
        "HTA", "it refuses a trace of nothing (KeyError: 'ts')",
        "Record at least one slice.",
    ),
    FileRule(
        "no-args", "warning",
        lambda facts: "no event has args" if facts.timed and not facts.args and not facts.damage else "",
        "HTA", "it refuses such a file (KeyError: 'stream')",
        'Give one event "args", such as a process_name metadata event.',
    ),
    FileRule(
        "devices", "warning", _odd_devices,
        "TensorBoard", "it takes it for a list of objects and drops the file",
        'Write "deviceProperties": [].',
    ),
    FileRule(
        "rank", "warning", _rank,
        "HTA", "it takes the file for rank 0, and of several of one rank it reads one",
        'Write "distributedInfo": {"rank": 0}, with the space, on a line before the events.',
    ),
    FileRule(
        "same-rank", "warning", lambda facts: f"{facts.twin} has it too" if facts.twin else "",
        "HTA", "of several files of one rank in a folder it reads one",
        "Give HTA a folder for each cycle.",
    ),
    FileRule(
        "steps", "warning", lambda facts: "" if facts.steps or not facts.timed else "no slice is a ProfilerStep#N",
        "HTA, TensorBoard", "HTA cannot compare such traces (ValueError), the plugin shows one step, 0",
        "Call prof.step() at the end of each step.",
    ),
    FileRule(
        "one-step", "note", lambda facts: f"{next(iter(facts.steps))} is alone" if len(facts.steps) == 1 else "",
        "HTA", "it warns of one step, and of several it leaves the last out unless include_last_profiler_step=True",
        "Record two steps or more: schedule(active=2).",
    ),
    FileRule(
        "unknown-end", "warning", lambda facts: facts.unknown_end,
        "Perfetto", "an end without a beginning is dropped, and nothing says so",
        "End on a thread only what has begun there.",
    ),
    FileRule(
        "tensorboard-name", "warning",
        lambda facts: "" if TENSORBOARD_NAME.fullmatch(facts.path.name) else f"{facts.path.name} ends otherwise",
        "TensorBoard", "it lists files that end in .pt.trace.json or .pt.trace.json.gz only",
        "Rename the file.",
    ),
    FileRule(
        "hta-name", "warning",
        lambda facts: "" if HTA_NAME.fullmatch(facts.path.name) else f"{facts.path.name} ends otherwise",
        "HTA", "it lists files that end in .json or .gz only",
        "Rename the file.",
    ),
)  # fmt: skip
