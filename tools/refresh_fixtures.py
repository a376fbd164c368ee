"""Write down what the installed torch.profiler does, for tests that run where torch is not.

    PYTHONPATH=tests python tools/refresh_fixtures.py

One record stands on a line and keys are sorted, so that a diff shows what torch changed. The answers in averages.json
are about the events in events.json: with --record, torch runs a small training for new ones first.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch_averages
import torch_oracle

FIXTURES = Path(__file__).parent.parent / "fixtures" / f"torch-{torch_oracle.VERSION}"

Answer = list[dict[str, Any]] | dict[str, list[str]]

SOURCES: dict[str, Callable[[], Answer]] = {
    "schedules.json": torch_oracle.schedules,
    "transitions.json": torch_oracle.transitions,
    "runs.json": torch_oracle.runs,
    "averages.json": torch_averages.averages,
}


def render(answer: Answer) -> str:
    """The text of a fixture: a list or a mapping, one record a line."""
    if isinstance(answer, dict):
        records = [f"{json.dumps(key)}: {_line(answer[key])}" for key in sorted(answer)]
        return "{\n" + ",\n".join(records) + "\n}\n"
    return "[\n" + ",\n".join(map(_line, answer)) + "\n]\n"


def _line(record: Any) -> str:
    return json.dumps(record, sort_keys=True)


def main() -> int:
    """Write every fixture and say so; 1 where torch cannot be asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, default=FIXTURES, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--record", action="store_true", help="record the events of averages.json anew")
    options = parser.parse_args()
    into: Path = options.into
    reason = torch_oracle.unavailable()
    if reason is not None:
        print(
            f'nothing written: {reason}.\nInstall it with: pip install "torch=={torch_oracle.VERSION}.*"',
            file=sys.stderr,
        )
        return 1
    into.mkdir(parents=True, exist_ok=True)
    sources = {torch_averages.EVENTS.name: torch_averages.record, **SOURCES} if options.record else SOURCES
    for name, ask in sources.items():
        answer = ask()
        path = into / name
        path.write_text(render(answer), encoding="utf-8", newline="\n")
        print(f"{path}: {len(answer)} records, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
