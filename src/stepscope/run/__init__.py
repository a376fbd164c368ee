"""Profiling a program that nobody edited: `stepscope run` starts `python -m stepscope.run`, which becomes the program."""
