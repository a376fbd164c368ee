"""`python -m stepscope` is the command line."""

from stepscope.cli import main

if __name__ == "__main__":
    main(prog_name="stepscope")
