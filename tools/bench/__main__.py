"""`python tools/bench`, and `python -m bench` where tools is on the path."""

import sys
from pathlib import Path


def _main() -> int:
    # A folder that is run stands on the path itself; its parent must, for `bench` to be a package in every process.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from bench.run import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
