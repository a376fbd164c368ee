"""Golden traces: what a trace did, as text that a reviewer can read in a diff.

    stepscope golden trace 1
    thread MainThread
      step 0-2
        forward(batch_size=32)
          linear x4
        instant "cache miss"(key="a")
    thread ThreadPoolExecutor-*_*
      fetch x12
    thread loader free
      read(mode="rb")
        parse x2
    counter queue [count]
    flow batch x3 through fetch in ThreadPoolExecutor-*_*, forward in MainThread

Call trees with counts and arguments; no times, ids, paths of this machine, or values of counters unless they are asked
for. Siblings that follow one another and are equal are one line with a count, and so are equal steps. Threads, lanes
and processes go by their role: digits in a name are `*`, and what runs on threads of one such role, or on lanes, is
sorted, because which of them runs it and when is chance. What a flow passes is sorted too.

Of a thread that runs free of the steps it is chance how many of its calls fell into the window. There is a line for
each kind of call, with the arguments that all calls have and what whole ones do, without a count: it stands for three
calls or more. Of calls of which too few are whole it says `cut`, and nothing of what they do.
"""

from stepscope.analysis.golden.fold import MAX_LINES, to_golden
from stepscope.analysis.golden.free import without_free
from stepscope.analysis.golden.parse import MAX_ROWS, from_golden
from stepscope.analysis.golden.text import HEADER

__all__ = ["HEADER", "MAX_LINES", "MAX_ROWS", "from_golden", "to_golden", "without_free"]
