"""The benchmark: what a span, an export and a step cost, beside every peer that is installed.

python tools/bench [--only NAME ...] [--quick] [--json FILE]

table     what is measured, by whom, and the limits          timing    one sample after another, A B C A B C
spans     the same few lines written for us and each peer    exports   files, step(), memory
verify    our output, asked of the trace processor           verdict   figures held against the limits
worker    one row in a process of its own                    run       all rows, one after another
report    the table of figures, and JSON                     machine   what it ran on
"""
