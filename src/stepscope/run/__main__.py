"""The process that becomes the program: python -m stepscope.run PLAN PROGRAM [ARGUMENT]..."""

import sys

from stepscope.run.plan import Plan
from stepscope.run.program import Ended, exit_as, module, script
from stepscope.run.sessions import Recorded, say
from stepscope.viewer.view import show


def main(text: str, target: str, *arguments: str) -> None:
    """Run the program and record it.

    Raises:
        SystemExit: the program's exit code.
    """
    plan = Plan.from_text(text)
    try:
        program = (module if plan.module else script)(target, [*arguments])
    except (OSError, SyntaxError) as error:
        say(f"{target} cannot be run: {error}")
        raise SystemExit(2) from None
    recorded = Recorded(plan)
    with recorded:
        ended = Ended(program)
    paths = recorded.paths
    for path in paths:
        say(str(path))
    if not paths:
        say("no session was recorded, so no file was written")
    elif plan.open:
        show(paths[-1], say)
    exit_as(ended)


if __name__ == "__main__":
    main(*sys.argv[1:])
