"""A trace's slices as torch's FunctionEvents: views on the columns, made when asked for.

Source: torch.autograd.profiler_util.FunctionEvent of torch 2.13. Times under torch's names are microseconds. What
torch knows from its engine is read from the arguments that torch's own files bear, such as "Input Dims".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stepscope.analysis.arguments import flat_shapes, flops_in, int_in, list_in
from stepscope.analysis.kinds import DeviceType, key_of
from stepscope.analysis.metadata import metadata_in
from stepscope.analysis.stacks import stack_of
from stepscope.analysis.tree import Amount, Kernel, Tree
from stepscope.analysis.units import Formatted, Interval
from stepscope.core.groups import ROW_ANNOTATION
from stepscope.model.trace import Row, Track

__all__ = ["FunctionEvent"]

_NOTHING = Amount(0, 0)
# Of torch's RecordScope.
FUNCTION, BACKWARD_FUNCTION, USER_SCOPE = 0, 1, 7
# What autograd calls the run of a node.
ENGINE = "autograd::engine::evaluate_function: "
# Kinds of tracks whose slices a thread has run.
OF_THREADS = frozenset({"thread", "lane"})


class FunctionEvent(Formatted):
    """One slice, with torch's attributes; event["name"] reads the same, and dict(event) has those that stand below.

    Attributes:
        id: its row in the trace.
        count, is_legacy: torch's, always the same here.
        node_id, is_remote: torch's, of its RPC. No file says them: -1, and False.
    """

    __slots__ = ("_tree", "id")

    count = 1
    node_id = -1
    is_remote = is_legacy = False

    def __init__(self, tree: Tree, row: int) -> None:
        self._tree = tree
        self.id = row

    @property
    def _row(self) -> Row:
        return self._tree.trace[self.id]

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def trace_name(self) -> str:
        """Its name in the files."""
        trace = self._tree.trace
        return trace.strings[trace.columns.name[self.id]]

    @property
    def name(self) -> str:
        """Its name in averages: as in the files but for steps, which are all "ProfilerStep*"."""
        return key_of(self.trace_name)

    key = name

    @property
    def overload_name(self) -> str:
        """Which overload of an operator it is; "" where nobody said."""
        return str(self.args.get("Overload name", ""))

    @property
    def category(self) -> str:
        """Its category, such as "user_annotation"."""
        trace = self._tree.trace
        return trace.strings[trace.columns.cat[self.id]]

    kind = activity_type = category

    @property
    def is_user_annotation(self) -> bool:
        """Whether the program marked it, by record_function or step()."""
        return bool(self._tree.category_class[self._tree.trace.columns.cat[self.id]] & ROW_ANNOTATION)

    @property
    def scope(self) -> int:
        """As torch's RecordScope has it: 7 for what the program marked, 1 for a gradient, 0 for all else."""
        if self.is_user_annotation:
            return USER_SCOPE
        above = self.cpu_parent
        # Of all operators in the engine's care, also of those that have no forward one: the node, not what it calls.
        return BACKWARD_FUNCTION if above and above.trace_name == ENGINE + self.trace_name else FUNCTION

    @property
    def is_async(self) -> bool:
        """Whether it is of an operation that no thread owns, such as a request or a task."""
        return self.track.kind not in OF_THREADS

    @property
    def is_python_function(self) -> bool:
        """Whether it is a call that was traced."""
        return self.category == "python_function"

    @property
    def args(self) -> Mapping[str, Any]:
        """The arguments given to record_function, or in the file."""
        return self._tree.trace.args.get(self.id, {})

    @property
    def step(self) -> int | None:
        """The number of the step it began in; None outside of steps."""
        place = self._tree.step_of[self.id]
        return self._tree.steps[place - 1].number if place else None

    @property
    def rank(self) -> int:
        """The rank of its process."""
        return self._tree.trace.origin.rank

    # -- where it ran ----------------------------------------------------------------------------------------

    @property
    def track(self) -> Track:
        """Its row on the timeline."""
        trace = self._tree.trace
        return trace.tracks[trace.columns.track[self.id]]

    @property
    def thread(self) -> int:
        """The id of its thread."""
        return self.track.tid

    thread_id = thread

    @property
    def thread_name(self) -> str:
        """The name of its thread."""
        return self.track.name

    @property
    def fwd_thread(self) -> int:
        """The thread of the forward operator that this one is the gradient of, in torch's numbers; 0 for none."""
        return int(self.args.get("Fwd thread id") or 0)

    @property
    def device_type(self) -> DeviceType:
        """Whether the CPU or a device did it."""
        return self._tree.device_at(self.id)

    @property
    def use_device(self) -> str | None:
        """The device of the trace as torch spells it, such as "cuda"; None if it has no work of one."""
        name = self._tree.device_name
        return None if name is None else name.lower()

    @property
    def device_index(self) -> int:
        """Which device did it, or which one it gave work to."""
        return int_in(self.args, "device", 0)

    @property
    def device_resource_id(self) -> int:
        """The device's stream; a thread's id otherwise."""
        stream = self.args.get("stream")
        return stream if isinstance(stream, int) else self.thread

    # -- when ------------------------------------------------------------------------------------------------

    @property
    def start_ns(self) -> int:
        """Its start, in ns since the trace's base."""
        return self._tree.trace.columns.ts[self.id]

    @property
    def duration_ns(self) -> int:
        """Its length, in ns."""
        return self._tree.trace.columns.dur[self.id]

    @property
    def end_ns(self) -> int:
        """Its end, in ns since the trace's base."""
        return self.start_ns + self.duration_ns

    @property
    def time_range(self) -> Interval:
        """Its start and end, in us since the trace's base."""
        return Interval(self.start_ns / 1000, self.end_ns / 1000)

    @property
    def cpu_time_total(self) -> float:
        """Its length, in us; 0 for a device's work."""
        return 0.0 if self._tree.is_device(self.id) else self.duration_ns / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """Its length without its children's, in us; 0 for a device's work."""
        return 0.0 if self._tree.is_device(self.id) else self._tree.folded.own[self.id] / 1000

    @property
    def device_time_total(self) -> float:
        """The work it and its children gave to a device, or its own as such work, in us."""
        return self._tree.device_time.get(self.id, _NOTHING).total / 1000

    @property
    def self_device_time_total(self) -> float:
        """The same without its children's, in us."""
        return self._tree.device_time.get(self.id, _NOTHING).own / 1000

    # -- what it is inside of, and has inside ----------------------------------------------------------------

    @property
    def cpu_parent(self) -> "FunctionEvent | None":
        """The event around it."""
        above = self._tree.folded.above[self.id]
        return None if above < 0 else FunctionEvent(self._tree, above)

    @property
    def cpu_children(self) -> list["FunctionEvent"]:
        """The events directly inside it."""
        return [FunctionEvent(self._tree, row) for row in self._tree.children.get(self.id, ())]

    @property
    def kernels(self) -> list[Kernel]:
        """The work it gave to a device."""
        work = (FunctionEvent(self._tree, row) for row in self._tree.kernels.get(self.id, ()))
        return [Kernel(event.name, event.device_index, event.duration_ns / 1000) for event in work]

    @property
    def stack(self) -> list[str]:
        """The calls around it, innermost first; empty where none was traced."""
        return list(stack_of(self._tree, self.id))

    # -- what else is known of it ----------------------------------------------------------------------------

    @property
    def cpu_memory_usage(self) -> int:
        """Bytes of the CPU's memory allocated during it, less those released."""
        return self._tree.cpu_memory.get(self.id, _NOTHING).total

    @property
    def self_cpu_memory_usage(self) -> int:
        """The same without its children's."""
        return self._tree.cpu_memory.get(self.id, _NOTHING).own

    @property
    def thread_time_total(self) -> float:
        """What its thread has computed meanwhile, in us; 0 where nobody measured it."""
        return self._tree.thread_time.get(self.id, _NOTHING).total / 1000

    @property
    def self_thread_time_total(self) -> float:
        """The same without what its children say."""
        return self._tree.thread_time.get(self.id, _NOTHING).own / 1000

    @property
    def device_memory_usage(self) -> int:
        """Bytes of devices' memory allocated during it, less those released."""
        return self._tree.device_memory.get(self.id, _NOTHING).total

    @property
    def self_device_memory_usage(self) -> int:
        """The same without its children's."""
        return self._tree.device_memory.get(self.id, _NOTHING).own

    @property
    def flops(self) -> int:
        """The floating-point operations it says it made; 0 where it does not say."""
        return flops_in(self.args)

    @property
    def input_shapes(self) -> list[Any]:
        """The shape of each input; [] for one that is no tensor. Empty where nobody said."""
        return flat_shapes(self.args)

    @property
    def structured_input_shapes(self) -> list[Any]:
        """The same, with the shape of each tensor of an input that is a list of tensors."""
        return list_in(self.args, "Input Dims")

    @property
    def structured_input_strides(self) -> list[Any]:
        """The strides of each input."""
        return list_in(self.args, "Input Strides")

    @property
    def input_dtypes(self) -> list[Any]:
        """The type of each input, as text."""
        return list_in(self.args, "Input type")

    @property
    def concrete_inputs(self) -> list[Any]:
        """The value of each input that is no tensor, as text."""
        return list_in(self.args, "Concrete Inputs")

    @property
    def kwinputs(self) -> Mapping[str, Any]:
        """Keyword arguments; empty where nobody said."""
        given = self.args.get("Kwinputs")
        return given if isinstance(given, Mapping) else {}

    @property
    def sequence_nr(self) -> int:
        """What joins a forward operator and its gradient; -1 for neither."""
        return int_in(self.args, "Sequence number", -1)

    @property
    def external_id(self) -> int:
        """What joins an operator and the work it gave to a device; 0 for neither."""
        return int_in(self.args, "External id", 0)

    @property
    def linked_correlation_id(self) -> int:
        """The external id of the operator that gave this work to the device; 0 for all else."""
        return self.external_id if self._tree.is_device(self.id) else 0

    @property
    def flow_id(self) -> int:
        """The number of the first flow through it, counted from 1; 0 for none."""
        flow = self._tree.flow_at(self.id)
        return 0 if flow is None else flow.number + 1

    @property
    def flow_type(self) -> int:
        """1 if a flow goes through it, as from an operator to its gradient; 0 for none."""
        return int(self._tree.flow_at(self.id) is not None)

    @property
    def flow_start(self) -> bool:
        """Whether that flow begins here."""
        flow = self._tree.flow_at(self.id)
        return flow is not None and flow.starts

    @property
    def event_metadata(self) -> Any:
        """What a device says of its work, such as grid and stream: an `EventMetadata`; None where it says nothing."""
        return metadata_in(self.args)

    @property
    def metadata_json(self) -> str:
        """The arguments as JSON; torch's older name for what event_metadata has."""
        import orjson

        return orjson.dumps(dict(self.args)).decode()

    @property
    def python_id(self) -> int:
        """The number of a traced call; -1 for all else."""
        return int_in(self.args, "Python id", -1)

    @property
    def python_parent_id(self) -> int:
        """The number of the traced call around it; -1 for none."""
        return int_in(self.args, "Python parent id", -1)

    @property
    def python_module_id(self) -> int:
        """The number of the module whose call this is; -1 for none."""
        return int_in(self.args, "Python module id", -1)

    # -- as a mapping ----------------------------------------------------------------------------------------

    def keys(self) -> tuple[str, ...]:
        """The names of the facts that dict(event) has."""
        return _FACTS

    def __getitem__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(self, name):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_FACTS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionEvent) and self._tree.trace is other._tree.trace and self.id == other.id

    def __hash__(self) -> int:
        return hash((id(self._tree.trace), self.id))

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent {self.trace_name!r} id={self.id} thread={self.thread} "
            f"start_ns={self.start_ns} duration_ns={self.duration_ns}>"
        )


_FACTS = (
    "name", "kind", "step", "rank", "device_type", "start_ns", "end_ns", "duration_ns", "thread_id", "thread_name",
    "self_cpu_time_total", "cpu_memory_usage", "device_time_total", "input_shapes", "stack", "args",
)  # fmt: skip
