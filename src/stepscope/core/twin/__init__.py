"""The Python core: every kernel, readable and complete by itself."""

from stepscope.core.twin.align import align_common, align_few, align_rest, align_unique
from stepscope.core.twin.besides import measure_cpu, note_stacks
from stepscope.core.twin.calls import mute_thread, start_calls, stop_calls
from stepscope.core.twin.calls_hooks import call_hooks, call_profiler, profile_threads, unprofile_threads
from stepscope.core.twin.cells import median_times, place_ids, suspect_paths
from stepscope.core.twin.chrome import chrome_rows
from stepscope.core.twin.chrome_args import pick_args
from stepscope.core.twin.chrome_read import ChromeScanner, json_value_end
from stepscope.core.twin.counters import chrome_counters, perfetto_counters
from stepscope.core.twin.disk import begin_to_disk
from stepscope.core.twin.encode_args import encode_chrome_args, encode_perfetto_args
from stepscope.core.twin.fold import fold_rows
from stepscope.core.twin.group import group_rows, sum_groups
from stepscope.core.twin.ids import distinct_ids, invert_order, map_ids
from stepscope.core.twin.labels import hash_args, hash_texts
from stepscope.core.twin.levels import pair_levels
from stepscope.core.twin.nest import nest_rows
from stepscope.core.twin.ops import op_current, op_enabled, op_enter, op_exit, op_next, use_ops
from stepscope.core.twin.pair import pair
from stepscope.core.twin.pairs import number_pairs
from stepscope.core.twin.path_numbers import PathNumbers
from stepscope.core.twin.paths import time_paths
from stepscope.core.twin.perfetto import perfetto_rows
from stepscope.core.twin.perfetto_pair import pair_events
from stepscope.core.twin.perfetto_read import TrackEventScanner
from stepscope.core.twin.points import counter, flow_end, flow_start, flow_step, instant, instant_of
from stepscope.core.twin.records import SealedWindow
from stepscope.core.twin.settle import order_ties, renumber_rows, settle_rows
from stepscope.core.twin.settle_counters import settle_counters
from stepscope.core.twin.settle_flows import settle_flows
from stepscope.core.twin.span import Span, record_function, span_of
from stepscope.core.twin.trees import hash_trees
from stepscope.core.twin.turns import enter_task, lane_here, leave_task
from stepscope.core.twin.walk import walk_alike
from stepscope.core.twin.window import (
    CLOCK,
    discard,
    limit,
    now,
    open_window,
    seal,
    thread_id,
    tsc_in_use,
    use_ticks,
    use_tsc,
)

__all__ = [
    "CLOCK",
    "ChromeScanner",
    "PathNumbers",
    "SealedWindow",
    "Span",
    "align_common",
    "align_few",
    "align_rest",
    "align_unique",
    "TrackEventScanner",
    "begin_to_disk",
    "call_hooks",
    "call_profiler",
    "chrome_counters",
    "chrome_rows",
    "counter",
    "discard",
    "distinct_ids",
    "encode_chrome_args",
    "encode_perfetto_args",
    "enter_task",
    "flow_end",
    "flow_start",
    "flow_step",
    "fold_rows",
    "group_rows",
    "hash_args",
    "hash_texts",
    "hash_trees",
    "instant",
    "instant_of",
    "invert_order",
    "json_value_end",
    "lane_here",
    "leave_task",
    "limit",
    "map_ids",
    "measure_cpu",
    "median_times",
    "mute_thread",
    "nest_rows",
    "note_stacks",
    "now",
    "number_pairs",
    "open_window",
    "op_current",
    "op_enabled",
    "op_enter",
    "op_exit",
    "op_next",
    "order_ties",
    "pair",
    "pair_events",
    "pair_levels",
    "perfetto_counters",
    "perfetto_rows",
    "pick_args",
    "place_ids",
    "profile_threads",
    "record_function",
    "renumber_rows",
    "seal",
    "settle_counters",
    "settle_flows",
    "settle_rows",
    "span_of",
    "start_calls",
    "stop_calls",
    "sum_groups",
    "suspect_paths",
    "thread_id",
    "time_paths",
    "tsc_in_use",
    "unprofile_threads",
    "use_ops",
    "use_ticks",
    "use_tsc",
    "walk_alike",
]
