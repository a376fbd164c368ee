"""Function tracing's options: which calls are recorded, and what is refused."""

import inspect
from typing import Any

import pytest

from clock import FakeClock
from stepscope import CallOptions, profile, record_function
from stepscope.core.rows import CALL, CUT
from test_calls import kinds, leaf, traced, twice, whole

HERE = CallOptions(include=("test_calls", "test_call_options"))


def test_calls_may_be_chosen_by_module_or_file() -> None:
    def run() -> None:
        twice()
        inspect.cleandoc("x")

    assert {row.site.partition(":")[0] for row in traced(run, CallOptions(include=["inspect"]))} == {"inspect.py"}
    assert "twice" not in whole(traced(run, CallOptions(exclude=["*/test_calls.py"])))
    assert "cleandoc" in whole(traced(run, CallOptions(exclude=["test_*"])))
    assert "cleandoc" not in whole(traced(run, CallOptions(exclude="insp*")))
    assert {"twice", "cleandoc"} <= set(whole(traced(run, True)))


def test_calls_may_be_limited_in_depth() -> None:
    open_here = sum(row.kind == CUT for row in traced(leaf, HERE))
    trace = traced(lambda: [twice(), leaf()], CallOptions(include="test_call*", max_depth=open_here + 2))

    assert [name for name in whole(trace) if "lambda" not in name and "listcomp" not in name] == ["twice", "leaf"]


def test_short_calls_may_be_forgotten_unless_something_is_in_them(clock: FakeClock) -> None:
    def long() -> None:
        clock.now += 2000

    def short() -> None:
        with record_function("kept"):
            pass

    def run() -> None:
        twice()
        long()
        short()
        clock.now += 1

    trace = traced(run, CallOptions(include="test_call*", min_duration_us=2))
    assert [row.name.rpartition(".")[2] for row in trace if not row.kind & CUT] == ["run", "long", "short", "kept"]


def test_c_functions_may_be_traced() -> None:
    def run() -> None:
        taken: list[int] = []
        taken.append(leaf())
        len(str(sorted([2, 1], key=abs)))
        with pytest.raises(ValueError, match="invalid literal"):
            int("x")

    found = [(row.name, row.cat, row.site) for row in traced(run, CallOptions(include="test_call*", c_functions=True))]
    names = [name for name, cat, site in found if (cat, site) == (CALL, "")]
    assert names[:3] == ["list.append (builtins)", "sorted (builtins)", "len (builtins)"]
    assert not [name for name in whole(traced(run, HERE)) if "(builtins)" in name]


def test_c_functions_that_raise_end() -> None:
    def run() -> None:
        with pytest.raises(TypeError):
            len(5)  # type: ignore[arg-type]
        leaf()

    trace = traced(run, CallOptions(include="test_call*", c_functions=True))
    assert kinds(trace) == {"cut"}
    assert {"len (builtins)", "leaf"} <= set(whole(trace))


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"include": [5]}, TypeError, "include must be patterns of modules or files"),
        ({"exclude": ""}, TypeError, "exclude must be patterns"),
        ({"include": 5}, TypeError, "include must be patterns"),
        ({"max_depth": 0}, ValueError, "max_depth must be an int of at least 1, got 0"),
        ({"max_depth": True}, ValueError, "max_depth must be"),
        ({"max_depth": 1 << 31}, ValueError, "max_depth must be"),
        ({"min_duration_us": -1}, ValueError, "min_duration_us must be a number of microseconds from 0 on"),
        ({"min_duration_us": float("nan")}, ValueError, "min_duration_us"),
        ({"min_duration_us": "5"}, TypeError, "min_duration_us must be a number of microseconds, got '5'"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        CallOptions(**wrong)


def test_with_stack_takes_a_bool_or_options() -> None:
    with pytest.raises(TypeError, match="with_stack must be True, False or a CallOptions, got 'yes'"):
        profile(with_stack="yes")  # type: ignore[arg-type]
    assert profile(with_stack=HERE).with_stack == HERE


def test_options_are_a_value() -> None:
    import pickle

    options = CallOptions(include="a", exclude=("b", "c"), max_depth=3, min_duration_us=1.5, c_functions=True)
    text = "include=('a',), exclude=('b', 'c'), max_depth=3, min_duration_us=1.5, c_functions=True"

    assert repr(options) == f"CallOptions({text})"
    assert options == pickle.loads(pickle.dumps(options)) != HERE  # noqa: S301 - our own
    assert len({options, HERE, CallOptions(include=["test_calls", "test_call_options"])}) == 2
    with pytest.raises(AttributeError, match="cannot be changed"):
        options.max_depth = 5
    with pytest.raises(AttributeError, match="cannot be changed"):
        del options.max_depth
