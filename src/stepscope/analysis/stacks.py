"""Stacks: the calls around an event, and flame graphs of them.

A stack is an event's "Call stack" argument, as torch's files have it, or the traced calls around it. Innermost first.
"""

from collections.abc import Iterable, Iterator

from stepscope.analysis.tree import Tree
from stepscope.core.stacks import CALL_STACK
from stepscope.model.packed_args import items_with

__all__ = ["CALL_STACK", "METRICS", "collapsed", "frames_in", "has_stacks", "is_left_out", "stack_of"]

# torch's names; every device is one here.
METRICS = {
    "self_cpu_time_total": "self_cpu_time_total",
    "self_cuda_time_total": "self_device_time_total",
    "self_xpu_time_total": "self_device_time_total",
    "self_privateuse1_time_total": "self_device_time_total",
}
# The frames that torch leaves out: what is around a backward pass, and its own tests.
_LEFT_OUT = (
    ("autograd/__init__", "_make_grads"),
    ("autograd/__init__", "backward"),
    ("torch/tensor", "backward"),
    ("_internal/common_utils", "prof_callable"),
    ("_internal/common_utils", "prof_func_call"),
    ("_internal/common_utils", "prof_meth_call"),
)
_NO_SEPARATORS = str.maketrans(" ;\t\n", "____")


def has_stacks(tree: Tree) -> bool:
    """Whether any event can have a stack."""
    if "python_function" in tree.trace.strings:
        return True
    return any(True for _ in items_with(tree.trace.args, CALL_STACK))


def stack_of(tree: Tree, row: int) -> tuple[str, ...]:
    """The calls around an event, innermost first."""
    said = tree.trace.args.get(row, {}).get(CALL_STACK)
    if isinstance(said, str):
        return frames_in(said)
    columns, strings, stack = tree.trace.columns, tree.trace.strings, []
    around = tree.folded.above[row]
    while around >= 0:
        if strings[columns.cat[around]] == "python_function":
            stack.append(strings[columns.name[around]])
        around = tree.folded.above[around]
    return tuple(frame for frame in stack if not is_left_out(frame))


def frames_in(said: str) -> tuple[str, ...]:
    """The calls of a "Call stack" argument."""
    return tuple(frame for frame in said.split(";") if frame and not is_left_out(frame))


def is_left_out(frame: str) -> bool:
    """Whether torch leaves this call out of stacks."""
    return any(file in frame and function in frame for file, function in _LEFT_OUT)


def collapsed(stacks: Iterable[tuple[list[str], float]]) -> Iterator[bytes]:
    """Lines of "outer;inner microseconds", which flame graph tools read; what took less than 1 us is left out.

    Args:
        stacks: a stack, innermost first, and its us.
    """
    for stack, time_us in stacks:
        if stack and int(time_us) > 0:
            frames = ";".join(frame.translate(_NO_SEPARATORS) for frame in reversed(stack))
            yield f"{frames} {int(time_us)}\n".encode()
