"""The source of operators: what a profile asks for of those that a framework's dispatcher records."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from stepscope.core import kernels
from stepscope.core.inputs import describe_inputs
from stepscope.core.rows import Label
from stepscope.core.values import legal_name
from stepscope.model.devices import CPU, Device
from stepscope.model.trace import Problem
from stepscope.record.device_slices import BUDGET_PART, OPERATOR, DeviceSlices
from stepscope.record.devices import Registration, device_from, registered
from stepscope.record.flops import flops_of
from stepscope.record.op_memory import OpMemory
from stepscope.record.sources import Harvest

__all__ = ["Operators"]


class Operators:
    """Records operators of the wanted devices, and what those devices do, while a window is open."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        activities = options["activities"]
        self._wanted = None if activities is None else frozenset(activity.name for activity in activities)
        self._shapes, self._flops = options["record_shapes"], options["with_flops"]
        self._memory = OpMemory() if options["profile_memory"] else None
        ring = options["buffer_policy"] == "ring"
        self._slices = DeviceSlices(self._wanted, options["buffer_bytes"] // BUDGET_PART, ring)

    def start(self) -> None:
        """As `Source.start`."""
        self._pid = os.getpid()
        self._slices.open()
        asked = self._shapes or self._flops or self._memory is not None
        kernels.use_ops(self._resolve, self._begin if asked else None)

    def stop(self) -> Harvest:
        """As `Source.stop`; devices hand over what they have done."""
        kernels.use_ops(None, None)
        problems = () if self._memory is None else self._memory.close()
        mine = registered() if os.getpid() == self._pid else ()  # in a forked child devices are the parent's
        kept_from = [problem for known in mine if (problem := _flush(known)) is not None]
        self._slices.seal()
        return Harvest((*problems, *kept_from, *self._slices.problems()), self._slices.add)

    def _resolve(self, device: Any) -> str | None:
        found = device_from(device)
        if self._wanted is not None and found.kind.activity not in self._wanted:
            return None
        return "" if found.kind is CPU else found.text

    def _begin(self, name: str, device: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None, number: int) -> Any:
        """Begin an operator with all that is asked for; its token."""
        known: dict[str, Any] = {"External id": number}
        if device:
            known["Device"] = device
        if self._shapes:
            known.update(describe_inputs(args, kwargs))
        if self._flops and (flops := flops_of(name, args, kwargs or {})):
            known["flops"] = flops
        label = Label(legal_name(name), OPERATOR)
        if self._memory is None:
            return kernels.span_of(label, known, True).__enter__()
        return _Measured(self._memory, device_from(device or None), label, known)


def _flush(known: Registration) -> Problem | None:
    """Let devices hand over what they have done; what kept them from it."""
    try:
        if known.flush is not None:
            known.flush()
    except Exception as error:  # noqa: BLE001 - the framework's code may raise anything
        what = f"the flush of {known.kind.name} raised {type(error).__name__}: {error}"
        return Problem("source", 1, what)
    return None


class _Measured:
    """The token of an operator whose memory is measured."""

    __slots__ = ("_before", "_device", "_memory", "_span")

    def __init__(self, memory: OpMemory, device: Device, label: Label, known: dict[str, Any]) -> None:
        self._memory, self._device = memory, device
        self._before = memory.tell(device)
        self._span = kernels.span_of(label, known, True).__enter__()
        memory.leave_out(device)

    def exit(self) -> None:
        """The operator ends."""
        before, after = self._before, self._memory.tell(self._device)
        if after is None or before is None:
            self._span.__exit__(None, None, None)
        else:
            told = {"Allocated before": before, "Allocated after": after, "Allocated delta": after - before}
            self._span.finish(told)
        self._memory.leave_out(self._device)
