"""One row in a process of its own: a peer's hooks cannot disturb another row.

The request comes as JSON on standard input, the answer goes as JSON to what was standard output at the start;
whatever a peer prints goes to standard error.
"""

import dataclasses
import json
import os
import sys
from typing import Any

from bench.table import ROWS
from bench.timing import Plan, Result, interleave

__all__ = ["Answer", "answer_from", "core_in_use"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker says.

    Attributes:
        core: of stepscope, as `core_in_use` tells it.
        results: one for each contender it was asked for.
    """

    core: dict[str, str]
    results: list[Result]


def core_in_use() -> dict[str, str]:
    """What core.info() tells, whatever its fields: name and reason, and the clock once there is a choice of it."""
    from stepscope import core

    info = core.info()
    return {name: str(getattr(info, name)) for name in info._fields}


def answer_from(text: str) -> Answer:
    """Read an answer.

    Raises:
        ValueError: it is not one.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        return Answer(told["core"], [Result(**result) for result in told["results"]])
    except (KeyError, TypeError) as error:
        message = f"a worker answered {text[:80]!r}"
        raise ValueError(message) from error


def _measure(request: dict[str, Any]) -> Answer:
    results: list[Result] = []
    if request["row"]:
        row = next(row for row in ROWS if row.name == request["row"])
        chosen = [row.contender(name) for name in request["contenders"]]
        results = interleave(chosen, Plan(*request["plan"]), row.gauge, warm_up=not row.fresh_process)
    return Answer(core_in_use(), results)


def _main() -> None:
    answer_to = os.dup(1)
    os.dup2(2, 1)
    answer = _measure(json.load(sys.stdin))
    with os.fdopen(answer_to, "w", encoding="utf-8") as pipe:
        json.dump(dataclasses.asdict(answer), pipe)


if __name__ == "__main__":
    _main()
