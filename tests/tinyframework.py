"""A framework of the size of a test: tensors, a dispatcher, autograd, an optimizer, and a device that works by itself.

Its dispatcher calls stepscope around each kernel and nowhere else, as the dispatcher of a real framework does. The
device is made up: kernels are launched on streams, which work them off at times of their own, and memory is counted.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stepscope import ops

FLOAT_BYTES = 4


# -- the device ----------------------------------------------------------------------------------------------------


class Launch(NamedTuple):
    """A kernel on its way through a stream."""

    name: str
    stream: int
    start_ns: int
    end_ns: int
    correlation: int
    kind: str


class Npu:
    """The device: streams that work one kernel after another, a ns for each number, and memory that is counted."""

    def __init__(self) -> None:
        self.allocated: defaultdict[int, int] = defaultdict(int)
        self.free_at: defaultdict[int, int] = defaultdict(int)
        self.launched: list[Launch] = []

    def launch(self, name: str, numbers: int, stream: int = 0, kind: str = "kernel") -> None:
        """Put a kernel behind those that the stream has; it begins no earlier than now."""
        if ops.is_enabled():
            start = max(ops.now() + 1, self.free_at[stream])
            self.free_at[stream] = start + numbers
            self.launched.append(Launch(name, stream, start, start + numbers, ops.current(), kind))

    def memory_allocated(self, index: int) -> int:
        """The bytes that tensors of one device hold."""
        return self.allocated[index]

    def flush(self) -> None:
        """Hand over what has been launched."""
        launched, self.launched = self.launched, []
        for launch in launched:
            name, stream, start_ns, end_ns, correlation, kind = launch
            ops.device_slice(name, "npu:0", stream, start_ns, end_ns, correlation=correlation, kind=kind)


NPU = Npu()


# -- tensors -------------------------------------------------------------------------------------------------------


class Device(NamedTuple):
    """As torch.device."""

    type: str
    index: int = 0  # type: ignore[assignment] # torch's name


class Tensor:
    """Numbers in rows, on a device; with the operator that made it, if gradients go through it."""

    dtype = "float32"

    def __init__(self, numbers: Sequence[float], shape: tuple[int, ...], device: Device) -> None:
        self.numbers, self.shape, self.device = list(numbers), shape, device
        self.grad: Tensor | None = None
        self.made_by: tuple[str, tuple[Tensor, ...]] | None = None
        if device.type == "npu":
            NPU.allocated[device.index] += FLOAT_BYTES * math.prod(shape)

    def __del__(self) -> None:
        if self.device.type == "npu":
            NPU.allocated[self.device.index] -= FLOAT_BYTES * math.prod(self.shape)

    def rows(self) -> list[list[float]]:
        """The numbers of each row."""
        width = self.shape[-1]
        return [self.numbers[at : at + width] for at in range(0, len(self.numbers), width)]


# -- the dispatcher ------------------------------------------------------------------------------------------------

Kernel = Callable[..., Any]
KERNELS: dict[str, Kernel] = {}
BACKWARD = {"mm": "mm_backward", "relu": "relu_backward", "mse": "mse_backward"}


def kernel(function: Kernel) -> Kernel:
    """Register the kernel of the operator that is called as the function."""
    KERNELS[function.__name__] = function
    return function


def dispatch(name: str, *args: Any, **kwargs: Any) -> Any:
    """Run an operator's kernel on the device of its first tensor."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else args[0][0].device
    token = ops.enter(name, device, args, kwargs) if ops.is_enabled() else None
    try:
        made = KERNELS[name](*args, **kwargs)
        if device.type == "npu":
            NPU.launch(f"{name}_kernel", sum(math.prod(tensor.shape) for tensor in tensors))
    finally:
        if token is not None:
            ops.exit(token)
    if name in BACKWARD:
        made.made_by = (BACKWARD[name], tuple(tensors))
    return made


def backward(loss: Tensor) -> None:
    """Give every tensor that the loss was made from its gradient."""
    loss.grad = dispatch("ones", loss)
    todo = [loss]
    while todo:
        made = todo.pop()
        if made.made_by is not None:
            name, inputs = made.made_by
            for tensor, grad in zip(inputs, dispatch(name, made.grad, inputs), strict=True):
                tensor.grad = grad
                todo.append(tensor)


class Sgd:
    """The optimizer; all parameters in one operator."""

    def __init__(self, parameters: list[Tensor], rate: float) -> None:
        self.parameters, self.rate = parameters, rate

    def step(self) -> None:
        """Move the parameters."""
        grads = [tensor.grad for tensor in self.parameters]
        dispatch("sgd_", self.parameters, grads, rate=self.rate)


# -- kernels -------------------------------------------------------------------------------------------------------


def _product(left: list[list[float]], right: list[list[float]]) -> list[float]:
    columns = list(zip(*right, strict=True))
    return [sum(map(float.__mul__, row, column)) for row in left for column in columns]


def _turned(tensor: Tensor) -> list[list[float]]:
    return [list(column) for column in zip(*tensor.rows(), strict=True)]


@kernel
def mm(left: Tensor, right: Tensor) -> Tensor:
    return Tensor(_product(left.rows(), right.rows()), (left.shape[0], right.shape[1]), left.device)


@kernel
def mm_backward(grad: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    left, right = inputs
    to_left = Tensor(_product(grad.rows(), _turned(right)), left.shape, left.device)
    return to_left, Tensor(_product(_turned(left), grad.rows()), right.shape, right.device)


@kernel
def relu(tensor: Tensor) -> Tensor:
    return Tensor([max(number, 0.0) for number in tensor.numbers], tensor.shape, tensor.device)


@kernel
def relu_backward(grad: Tensor, inputs: tuple[Tensor]) -> tuple[Tensor]:
    numbers = [into * (number > 0) for into, number in zip(grad.numbers, inputs[0].numbers, strict=True)]
    return (Tensor(numbers, grad.shape, grad.device),)


@kernel
def mse(found: Tensor, wanted: Tensor) -> Tensor:
    squares = [(one - other) ** 2 for one, other in zip(found.numbers, wanted.numbers, strict=True)]
    return Tensor([sum(squares) / len(squares)], (1,), found.device)


@kernel
def mse_backward(grad: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    found, wanted = inputs
    scale = 2 * grad.numbers[0] / len(found.numbers)
    apart = [scale * (one - other) for one, other in zip(found.numbers, wanted.numbers, strict=True)]
    return Tensor(apart, found.shape, found.device), Tensor([-x for x in apart], found.shape, found.device)


@kernel
def ones(tensor: Tensor) -> Tensor:
    return Tensor([1.0] * len(tensor.numbers), tensor.shape, tensor.device)


@kernel
def sgd_(parameters: list[Tensor], grads: list[Tensor], *, rate: float) -> None:
    for tensor, grad in zip(parameters, grads, strict=True):
        tensor.numbers = [number - rate * by for number, by in zip(tensor.numbers, grad.numbers, strict=True)]
        tensor.grad = None
