"""The overview of a run: steps, averages, counters, threads, cycles and ranks on one page.

gather takes the figures from the traces, charts draw them, page puts them together.
"""

from stepscope.analysis.overview.page import render_overview

__all__ = ["render_overview"]
