"""A program that nobody edited, profiled: `stepscope run` starts `python -m stepscope.run`, which becomes it."""
