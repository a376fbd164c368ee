"""What the profiler does when it goes from one action to the next: one table.

Source: the action map of torch.profiler 2.13, which fixtures/torch-2.13/transitions.json holds as torch runs it.
It differs where torch loses a recording or crashes: a recording that the schedule cuts short is kept as a
partial session, and RECORD followed by WARMUP prepares the next one (torch's process dies there).
"""

from enum import Enum

from stepscope.session.schedule import ProfilerAction

__all__ = ["TRANSITIONS", "Op"]


class Op(Enum):
    """One thing the profiler does; the value is the method that does it."""

    WARN = "_warn_incorrect"
    PREPARE = "prepare_trace"
    START = "start_trace"
    STOP = "stop_trace"
    READY = "_trace_ready"
    CUT_SHORT = "_cut_short"  # what the next STOP keeps is partial
    DISCARD = "_discard"  # the next STOP keeps nothing: no step was recorded


_NONE, _WARMUP, _RECORD, _SAVE = ProfilerAction

# (action of the step that ends, action of the step that begins or None at the end of the run) -> what is done.
TRANSITIONS: dict[tuple[ProfilerAction, ProfilerAction | None], tuple[Op, ...]] = {
    (_NONE, _NONE): (),
    (_NONE, _WARMUP): (Op.PREPARE,),
    (_NONE, _RECORD): (Op.PREPARE, Op.START),
    (_NONE, _SAVE): (Op.PREPARE, Op.START),
    (_WARMUP, _NONE): (Op.WARN, Op.START, Op.DISCARD, Op.STOP),
    (_WARMUP, _WARMUP): (),
    (_WARMUP, _RECORD): (Op.START,),
    (_WARMUP, _SAVE): (Op.START,),
    (_RECORD, _NONE): (Op.WARN, Op.CUT_SHORT, Op.STOP),
    (_RECORD, _WARMUP): (Op.WARN, Op.CUT_SHORT, Op.STOP, Op.PREPARE),
    (_RECORD, _RECORD): (),
    (_RECORD, _SAVE): (),
    (_SAVE, _NONE): (Op.STOP, Op.READY),
    (_SAVE, _WARMUP): (Op.STOP, Op.READY, Op.PREPARE),
    (_SAVE, _RECORD): (Op.STOP, Op.READY, Op.PREPARE, Op.START),
    (_SAVE, _SAVE): (Op.STOP, Op.READY, Op.PREPARE, Op.START),
    (_NONE, None): (),
    (_WARMUP, None): (Op.START, Op.DISCARD, Op.STOP),
    (_RECORD, None): (Op.CUT_SHORT, Op.STOP, Op.READY),
    (_SAVE, None): (Op.STOP, Op.READY),
}
