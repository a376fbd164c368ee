"""A program worth profiling that needs nothing but Python.

A small language model learns the source text of the standard library. corpus is its input, loader
the thread that reads ahead, charmodel the mathematics, train the loop a user would write.
Nothing here prints; `stepscope demo` does.
"""
