"""The table of transitions against torch 2.13's, as fixtures/torch-2.13 holds it."""

import json
from itertools import product
from pathlib import Path

import pytest

from stepscope import ProfilerAction
from stepscope.session.transitions import TRANSITIONS, Op

GOLDEN = Path(__file__).parent.parent / "fixtures" / "torch-2.13" / "transitions.json"
TORCH: dict[str, list[str]] = json.loads(GOLDEN.read_text())
TORCHS_NAMES = {Op.PREPARE: "prepare_trace", Op.START: "start_trace", Op.STOP: "stop_trace", Op.READY: "trace_ready"}
PAIRS = list(product(ProfilerAction, (*ProfilerAction, None)))


def label(pair: tuple[ProfilerAction, ProfilerAction | None]) -> str:
    return f"{pair[0].name}->{pair[1].name if pair[1] else None}"


def test_the_table_has_every_pair() -> None:
    assert set(TRANSITIONS) == set(PAIRS)
    assert set(TORCH) == set(map(label, PAIRS))


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_a_transition_does_what_torch_does(pair: tuple[ProfilerAction, ProfilerAction | None]) -> None:
    torchs = [step for step in TORCH[label(pair)] if not step.startswith("warn")]
    if label(pair) == "RECORD->WARMUP":
        # torch prepares nothing here, and the next recording takes the process down.
        torchs.append("prepare_trace")

    assert [TORCHS_NAMES[op] for op in TRANSITIONS[pair] if op in TORCHS_NAMES] == torchs


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_a_transition_warns_where_torch_does(pair: tuple[ProfilerAction, ProfilerAction | None]) -> None:
    torchs = any(step.startswith("warn") for step in TORCH[label(pair)])

    assert (Op.WARN in TRANSITIONS[pair]) == torchs


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_what_becomes_of_a_recording_is_said_before_it_stops(
    pair: tuple[ProfilerAction, ProfilerAction | None],
) -> None:
    ops = TRANSITIONS[pair]
    fates = [op for op in ops if op in (Op.CUT_SHORT, Op.DISCARD)]
    if Op.STOP not in ops or (Op.READY in ops and pair[0] is ProfilerAction.RECORD_AND_SAVE):
        assert fates == []
    else:
        (fate,) = fates
        assert ops.index(fate) < ops.index(Op.STOP)
