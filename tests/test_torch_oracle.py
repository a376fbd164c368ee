"""The fixtures are still what torch does: torch is asked again and must say the same."""

import pytest

import torch_oracle
from refresh_fixtures import FIXTURES, SOURCES, render

REASON = torch_oracle.unavailable()

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.mark.parametrize("name", SOURCES)
def test_the_fixture_is_what_torch_does_today(name: str) -> None:
    """Compared as text, line by line: a difference shows its record, and formatting counts too."""
    written = (FIXTURES / name).read_text(encoding="utf-8").splitlines()

    assert render(SOURCES[name]()).splitlines() == written


def test_asking_leaves_torch_as_it_was() -> None:
    """The recorders live in a subclass and a patch: the process's own profiler is untouched."""
    from torch.autograd import profiler as autograd
    from torch.profiler import profile

    before = (autograd.record_function, profile.start_trace, profile.stop_trace)
    torch_oracle.runs()

    assert before == (autograd.record_function, profile.start_trace, profile.stop_trace)
