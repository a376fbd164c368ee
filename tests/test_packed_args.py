"""Arguments that are kept as text are the ones that a parser would have made, whatever is done with them."""

import json
from array import array
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepscope import core, read, write
from stepscope.core import kernels
from stepscope.core.twin.chrome_args import pick_args
from stepscope.core.values import RESERVED_PREFIX, freeze_args
from stepscope.model.packed_args import ArgsPacker, PackedArgs, items_with

RESERVED = RESERVED_PREFIX.encode()


def ranged(texts: list[bytes]) -> tuple[bytes, "array[int]"]:
    """The texts, one behind the other, and what a scanner says of them: the rows are 0, 10, 20..."""
    ranges, at = array("q"), 1
    for number, text in enumerate(texts):
        ranges.extend((10 * number, at, at + len(text)))
        at += len(text) + 1
    return b",".join([b"", *texts, b""]), ranges


def picked_rows(texts: list[bytes]) -> list[int]:
    return [row // 10 for row in kernels.pick_args(*ranged(texts), RESERVED).rows]


PLAIN = [
    '{"k":1}', '{"k":-0.5e-09,"":[true,false]}', '{"k":"é\u2028\U0001f600\x7f"}', '{ "a" : [ [1 , {"b":"c"}], "d" ] }',
    r'{"k":"\"\\\/\b\f\n\r\t\u00e9"}', '{"k":999999999999999999}', '{"k":{"stepscope:cut":true}}', '{"k":1,"k":2}',
    r'{"k":{"\u006b":1}}', '{"k":-0}',
]  # fmt: skip
LOOSE = ['{"k":null}', '{"k":[]}', '{"k":{"a":[1,{ }]}}']
OTHER = [
    '{"stepscope:cut":true}', r'{"\u006b":1}', '{"k":01}', '{"k":1.}', '{"k":.5}', '{"k":1e400}', '{"k":+1}',
    '{"k":1e}', '{"k":1000000000000000000}', '{"k":NaN}', '{"k":tru}', '{"k":[[[[1]]]]}', '{"k":1,}', '{"k":[1,]}',
    '{"k" 1}',
    '{"k":1 "j":2}', '{"k":1}}', '{ }', r'{"k":"\ud83d\ude00"}', r'{"k":"\u0000"}', r'{"k":"\x"}', '{"k":"\n"}',
    '{"k"}', '{1:2}', '[{"k":1}]', "{'k':1}", '{"k":nulls}', '{"k":"', "{",
]  # fmt: skip


def test_which_texts_are_kept_as_they_are() -> None:
    texts = [text.encode() for text in (*PLAIN, *LOOSE, *OTHER)] + [b'{"k":"\xc3"}', b'{"k":"\xed\xa0\x80"}']
    data, ranges = ranged(texts)
    picked = kernels.pick_args(data, ranges, RESERVED)

    kept = len(PLAIN) + len(LOOSE)
    assert picked.text == b"".join(texts[:kept])
    assert list(picked.rows) == [10 * number for number in range(kept)]
    assert list(picked.loose) == [0] * len(PLAIN) + [1] * len(LOOSE)
    assert picked.rest == ranges[3 * kept :]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)
texts = st.builds(
    lambda args, ascii_, indent: json.dumps(args, ensure_ascii=ascii_, indent=indent).encode("utf-8", "surrogatepass"),
    st.dictionaries(st.text(max_size=3), values, min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([None, 1]),
)
spoilt = st.builds(
    lambda text, at, byte: text[: at % len(text)] + byte + text[at % len(text) + len(byte) * (at % 2) :],
    texts,
    st.integers(0, 99),
    st.sampled_from([bytes([byte]) for byte in b'{}[]",:0eE+-.\\u \n\x00\x7f\x80\xe9\xff'] + [b""]),
)


@pytest.mark.skipif(core.info().name != "c", reason="compares both cores")
@given(st.lists(st.one_of(texts, spoilt), max_size=5))
def test_both_cores_keep_the_same(given_texts: list[bytes]) -> None:
    data, ranges = ranged(given_texts)

    assert kernels.pick_args(data, ranges, RESERVED) == pick_args(data, ranges, RESERVED)


@given(st.lists(texts, max_size=5))
def test_what_is_kept_is_what_a_parser_would_have_made(given_texts: list[bytes]) -> None:
    packer = ArgsPacker()
    data, ranges = ranged(given_texts)
    picked = kernels.pick_args(data, ranges, RESERVED)
    packer.extend(picked)

    assert packer.pack() == {row: freeze_args(json.loads(given_texts[row // 10])) for row in picked.rows}


@pytest.mark.skipif(core.info().name != "c", reason="of the C core's own checks")
@pytest.mark.parametrize(
    ("ranges", "error"),
    [([0, 0], ValueError), ([0, 0, 9], IndexError), ([0, -1, 2], IndexError), ([-1, 0, 2], IndexError),
     ([0, 2, 2], IndexError), ([1 << 32, 0, 2], IndexError)],
)  # fmt: skip
def test_ranges_that_are_none_are_refused(ranges: list[int], error: type[Exception]) -> None:
    with pytest.raises(error):
        kernels.pick_args(b'{"k":1}', array("q", ranges), RESERVED)


def packed() -> PackedArgs:
    """Rows 0, 2 and 3 are packed, 1 and 4 are not."""
    packer = ArgsPacker()
    for rows in ([0, 2], [3]):
        data, ranges = ranged([b'{"row":%d,"k":null}' % row for row in rows])
        ranges[::3] = array("q", rows)
        packer.extend(kernels.pick_args(data, ranges, RESERVED))
    packer.others.update({4: {"row": 4}, 1: {"row": 1, "k": "None"}})
    return packer.pack()


def dict_of(row: int) -> dict[str, Any]:
    return {"row": row, "k": "None"} if row < 4 else {"row": row}


def test_packed_arguments_are_a_mapping_in_order_of_rows() -> None:
    args = packed()

    assert list(args) == [row for row, _ in args.items()] == [0, 1, 2, 3, 4]
    assert args == {row: dict_of(row) for row in range(5)}
    assert MappingProxyType({row: dict_of(row) for row in range(5)}) == args
    assert [len(args), 2 in args, 4 in args, 5 in args, -1 in args] == [5, True, True, False, False]
    assert args.get(9, "none") == "none"
    assert args[2]["k"] == "None"
    with pytest.raises(TypeError):
        args[2]["k"] = 1  # type: ignore[index]
    with pytest.raises(KeyError):
        args[-1]


def test_rows_that_move_take_their_arguments_along() -> None:
    order = array("I", [4, 3, 9, 0, 1, 2, 5, 6, 7, 8])
    moved = packed().placed(order)

    assert [(row, args["row"]) for row, args in moved.items()] == [(0, 4), (1, 3), (3, 0), (4, 1), (5, 2)]


def test_the_rows_that_have_a_key_are_found_without_parsing_the_others() -> None:
    args = packed()

    assert [row for row, _ in items_with(args, "k")] == [0, 1, 2, 3]
    assert [row for row, _ in items_with(args, "row")] == [0, 1, 2, 3, 4]
    assert list(items_with(args, "ro")) == []
    assert [row for row, _ in items_with(MappingProxyType(dict(args)), "k")] == [0, 1, 2, 3]


def test_a_key_that_is_a_value_or_further_inside_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    each: list[dict[str, Any]] = [{"a": "flops"}, {"a": {"flops": 1}}, {"flops": 7}, {'"': 1}]
    events = [
        {"ph": "X", "name": "x", "cat": "c", "ts": 9 - ts, "dur": 1, "pid": 1, "tid": 1, "args": args}
        for ts, args in enumerate(each)
    ]
    path.write_text(json.dumps([{"ph": "M", "name": "x", "pid": 1}, *events]))
    trace = read(path)

    assert list(items_with(trace.args, "flops")) == [(1, {"flops": 7})]
    assert list(items_with(trace.args, '"')) == [(0, {'"': 1})]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
@pytest.mark.parametrize("phase", ["X", "B"])
def test_arguments_stay_with_their_rows_whatever_stands_between(tmp_path: Path, order: list[int], phase: str) -> None:
    path = tmp_path / "t.json"
    events: list[dict[str, Any]] = [
        {"ph": "X", "name": "a", "ts": 5, "dur": 1, "pid": 1, "tid": 1, "args": {"n": 5, "none": None}},
        {"ph": phase, "name": "b", "ts": 2, "dur": 1, "pid": 1, "tid": 2, "args": {"n": 2, "big": 1 << 70}},
        {"ph": "X", "name": "c", "ts": 3, "dur": 1, "pid": 1, "tid": 1, "args": {"n": 3}},
    ]
    path.write_text(json.dumps([events[number] for number in order]))
    trace = read(path)

    assert [(row.ts // 1000, row.args["n"]) for row in trace] == [(2, 2), (3, 3), (5, 5)]
    assert trace[2].args == {"n": 5, "none": "None"}
    for name in ("u.json", "u.pftrace"):
        write(trace, tmp_path / name)
        assert read(tmp_path / name) == trace
