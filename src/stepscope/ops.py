"""Operators, for authors of frameworks: what a dispatcher calls around its kernels.

    from stepscope import ops

    ops.register_device("NPU", allocated_bytes=npu.memory_allocated)

    def dispatch(name, device, kernel, args, kwargs):
        token = ops.enter(name, device, args, kwargs) if ops.is_enabled() else None
        try:
            return kernel(*args, **kwargs)
        finally:
            if token is not None:
                ops.exit(token)

An operator belongs to the device that it is dispatched to, and is recorded if that device is among the profile's
activities. It is a slice of the category "cpu_op" on the thread that calls. Its "External id" is its number, which
current() tells inside of it: the correlation to hand to device_slice() for work that it has launched.
"""

from stepscope.core import kernels
from stepscope.core.clock import boottime_ns
from stepscope.record.device_slices import device_slice
from stepscope.record.devices import register_device

__all__ = ["current", "device_slice", "enter", "exit", "is_enabled", "now", "register_device"]

is_enabled = kernels.op_enabled
enter = kernels.op_enter
exit = kernels.op_exit  # noqa: A001 - the word that goes with enter
current = kernels.op_current


def now() -> int:
    """The clock of device slices, in ns: CLOCK_BOOTTIME where there is one, as time.clock_gettime_ns reads it."""
    return boottime_ns()
