"""torch's operators, forward, backward and optimizer, without torch.profiler.

    import stepscope.integrations.torch

    stepscope.integrations.torch.install()  # every profile records torch's operators from now on

While a profile records, a TorchDispatchMode is on the thread that has called start() or step(); outside of that torch
runs as ever. The mode sees each operator that reaches a kernel, on the threads of the autograd engine, too: torch hands
modes on to them. What it cannot see:

- operators that are made of others, such as aten::linear and aten::conv2d: their parts are there;
- what kernels call inside, such as aten::empty, and the engine's own frames: an operator of the backward says which
  node it is of instead ("Autograd node", "Sequence number"), and an arrow leads to the node's first operator from the
  operator of the forward whose gradient it is;
- other threads of the program, unless they use on_this_thread(); inside of what torch.compile has compiled.

Under a mode, torch detaches what the backward needs in operators of their own: there are more of aten::detach.
torch.profiler.record_function is recorded as ours is. with_modules=True has operators say in which modules they run.
Memory is not told: torch's allocator of the CPU cannot be asked. Tested with torch 2.13, where an operator takes 4.5 us
more, 3.3 of which are torch's own for a mode, and 10.5 with shapes; under torch.profiler it takes 1.1 and 2.2.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from stepscope.core import kernels
from stepscope.core.inputs import TypeNames, describe_inputs
from stepscope.core.rows import Label
from stepscope.core.values import legal_name, legal_text
from stepscope.integrations.torch_modules import KEY, Modules
from stepscope.record.flops import flops_of
from stepscope.record.sources import Harvest

if TYPE_CHECKING:
    from stepscope.model.build import TraceBuilder

__all__ = ["TorchOperators", "install", "is_installed", "on_this_thread", "uninstall"]

# The category of operators, and what arrows from an operator to its gradient are called; both torch's.
OPERATOR, FLOW = "cpu_op", "fwdbwd"
# What torch's traces call its types: as C++ does.
TYPE_NAMES = TypeNames({
    "float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
    "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char", "uint8": "unsigned char",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
})  # fmt: skip
# What a number is to torch where it stands for a tensor, and what torch counts among numbers.
NUMBER_TYPES = {bool: "bool", int: "long int", float: "double", complex: "c10::complex<double>"}
ENUMERATIONS = frozenset({torch.dtype, torch.layout, torch.memory_format})
# Nodes that only collect gradients have the last number there is: they are nobody's gradient.
LAST_NUMBER = 1 << 63

_current_node: Callable[[], Any] = torch._C._current_autograd_node  # noqa: SLF001 - it has no other name
_last_number: Callable[[], int] = torch._C._autograd._get_sequence_nr  # noqa: SLF001 - the same


class _Signature:
    """What is the same for all calls of an operator."""

    __slots__ = ("defaults", "label", "name", "overload", "takes_tensors")

    def __init__(self, operator: Any) -> None:
        schema = getattr(operator, "_schema", None)  # operators of a higher order have none
        self.name = legal_name(str(operator) if schema is None else schema.name)
        self.label = Label(self.name, OPERATOR)
        self.overload = "" if schema is None else schema.overload_name
        arguments = () if schema is None else schema.arguments
        self.defaults = [(argument.name, argument.default_value) for argument in arguments]
        self.takes_tensors = [str(argument.type) == "Tensor" for argument in arguments]

    def inputs(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """All inputs in the operator's order: torch shows also those that the program has left out."""
        return [*args, *(kwargs.get(name, default) for name, default in self.defaults[len(args) :])]

    def described(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """What torch's traces say of inputs."""
        known = describe_inputs(inputs, None, TYPE_NAMES)
        for place, (value, is_tensor) in enumerate(zip(inputs, self.takes_tensors, strict=False)):
            if type(value) in ENUMERATIONS:
                known["Input type"][place] = "Scalar"
            elif is_tensor and type(value) in NUMBER_TYPES:
                known["Input type"][place] = NUMBER_TYPES[type(value)]
        return known


class TorchOperators:
    """The source of torch's operators: records them while a window is open."""

    recording: "TorchOperators | None" = None

    def __init__(self, options: Mapping[str, Any]) -> None:
        activities = options["activities"]
        self._wanted = activities is None or any(activity.name == "CPU" for activity in activities)
        self._shapes, self._flops = options["record_shapes"], options["with_flops"]
        self._modules = Modules() if options["with_modules"] else None
        self._mode: _Mode | None = None
        self._signatures: dict[Any, _Signature] = {}
        self._users: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._forward: dict[int, int] = {}
        self._backward: dict[int, int] = {}

    def start(self) -> None:
        """As `Source.start`."""
        if self._wanted:
            TorchOperators.recording = self
            self._numbers[threading.get_ident()] = _last_number()
            self._mode = _put_on()
            if self._modules is not None:
                self._modules.start()

    def stop(self) -> Harvest:
        """As `Source.stop`."""
        if TorchOperators.recording is self:
            TorchOperators.recording = None
            if self._modules is not None:
                self._modules.stop()
            _take_off(self._mode)
        return Harvest(add=self._add_arrows)

    def call(self, operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call an operator and record it; what it returns."""
        if operator is _BEGIN_USERS:
            handle = operator(*args, **kwargs)
            self._users[hash(handle)] = kernels.record_function(*args).__enter__()
            return handle
        if operator is _END_USERS:
            span = self._users.pop(hash(args[0]), None)
            if span is not None:
                span.__exit__(None, None, None)
            return operator(*args, **kwargs)
        span = self._begin(operator, args, kwargs)
        try:
            return operator(*args, **kwargs)
        finally:
            span.__exit__(None, None, None)

    def _begin(self, operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        signature = self._signatures.get(operator)
        if signature is None:
            signature = self._signatures[operator] = _Signature(operator)
        number = kernels.op_next()
        known: dict[str, Any] = {"External id": number, **self._place_in_autograd(number)}
        if signature.overload:
            known["Overload name"] = signature.overload
        if self._modules is not None and (hierarchy := self._modules.hierarchy()):
            known[KEY] = legal_text(hierarchy)
        if self._shapes or self._flops:
            inputs = signature.inputs(args, kwargs)
            if self._shapes:
                known.update(signature.described(inputs))
            if self._flops and (flops := flops_of(signature.name, inputs, {})):
                known["flops"] = flops
        return kernels.span_of(signature.label, known, True).__enter__()

    def _place_in_autograd(self, number: int) -> dict[str, Any]:
        """What autograd says of the operator that has this number; arrows are drawn by it later.

        torch makes the node of an operator's gradient right before it calls the kernel: if there is a new node since
        the last operator of the thread, it is this one's.
        """
        node, last, thread = _current_node(), _last_number(), threading.get_ident()
        made = last > self._numbers.get(thread, last)
        self._numbers[thread] = last
        if made:
            self._forward[last - 1] = number
        if node is None:
            return {"Sequence number": last - 1} if made else {}
        told: dict[str, Any] = {"Autograd node": node.name()}
        of = node._sequence_nr()  # noqa: SLF001 - it has no other name
        if of < LAST_NUMBER:
            self._backward.setdefault(of, number)
            told["Sequence number"] = of
        return told

    def _add_arrows(self, builder: "TraceBuilder") -> None:
        rows = builder.rows_by("External id", OPERATOR)
        for of, number in self._backward.items():
            points = rows.get(self._forward.get(of)), rows.get(number)
            if None not in points:
                builder.flow(FLOW, [row for row in points if row is not None])


# -- the mode -----------------------------------------------------------------------------------------------------

_BEGIN_USERS = torch.ops.profiler._record_function_enter_new.default  # noqa: SLF001 - what record_function calls
_END_USERS = torch.ops.profiler._record_function_exit._RecordFunction  # noqa: SLF001 - the same


class _Mode(TorchDispatchMode):  # type: ignore[misc, unused-ignore] # torch is Any here
    """Hands each operator to the source that records, if there is one."""

    # Without these, control flow operators would fail under the mode, compiled functions run as if they were not, and
    # the first operator of all import torch's compiler, which takes seconds.
    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        source = TorchOperators.recording
        if source is None:
            return func(*args, **(kwargs or {}))
        return source.call(func, args, kwargs or {})


# Those that could not be taken off their threads when a window was sealed.
_left: set[_Mode] = set()


def _put_on() -> _Mode | None:
    """Put a mode on the calling thread; None if the program has done so itself."""
    on_thread = [mode for mode in _get_current_dispatch_mode_stack() if isinstance(mode, _Mode)]
    if on_thread:
        return on_thread[0] if on_thread[0] in _left else None
    mode = _Mode()
    mode.__enter__()
    return mode


def _take_off(mode: _Mode | None) -> None:
    """Take a mode off the calling thread.

    Where the program has put another one above it since, or the thread is another one, it stays, records nothing, and
    is used again.
    """
    if mode is None:
        return
    if _get_current_dispatch_mode_stack()[-1:] == [mode]:
        mode.__exit__(None, None, None)
        _left.discard(mode)
    else:
        _left.add(mode)


# -- what a program calls -----------------------------------------------------------------------------------------

_installed = False


def install() -> None:
    """Let every profile record torch's operators, from its next cycle on."""
    global _installed  # noqa: PLW0603 - once in a process
    _installed = True


def uninstall() -> None:
    """Let profiles record none of them, from the next cycle on."""
    global _installed  # noqa: PLW0603 - as above
    _installed = False


def is_installed() -> bool:
    """Whether profiles record torch's operators."""
    return _installed


@contextmanager
def on_this_thread() -> Iterator[None]:
    """See the operators of the calling thread, which need not be the profile's, whenever a profile records."""
    if any(isinstance(mode, _Mode) for mode in _get_current_dispatch_mode_stack()):
        yield
        return
    with _Mode():
        yield
