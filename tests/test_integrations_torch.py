"""torch's operators in our traces, beside torch.profiler's own trace of the same step."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import row_named
from stepscope import ProfilerActivity, Trace, profile, read, record_function, schedule, write
from stepscope.model.trace import Row

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch.utils._python_dispatch import (  # noqa: E402 - skipped without torch
    TorchDispatchMode,
    _get_current_dispatch_mode_stack,
)

from stepscope.integrations import torch as integration  # noqa: E402 - the same

SAID = ("Input Dims", "Input type", "Input Strides")
Step = Callable[[], float]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    integration.install()
    yield
    integration.uninstall()
    while _get_current_dispatch_mode_stack():
        _get_current_dispatch_mode_stack()[-1].__exit__(None, None, None)


def make_step() -> Step:
    """A training step of a net with a convolution; the same numbers each time it is made."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    batch, labels = torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))

    def step() -> float:
        optimizer.zero_grad()
        with torch.profiler.record_function("forward"):
            loss = torch.nn.functional.cross_entropy(net(batch), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def operators(trace: Trace) -> list[Row]:
    return [row for row in trace if row.cat == "cpu_op"]


def said(args: Any) -> tuple[str, ...]:
    """Shapes, types and strides as both traces have them: ours say "[]" for an empty list, and nothing of none."""
    lists = [args.get(key) or ["[]"] * len(args.get("Input Dims", ())) for key in SAID]
    return tuple(json.dumps(["[]" if item == [] else item for item in values]) for values in lists)


def recorded_by_torch(step: Step, tmp_path: Path) -> list[tuple[str, ...]]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as prof:
        step()
    path = tmp_path / "torch.json"
    prof.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    return [(event["name"], *said(event["args"])) for event in events if event.get("cat") == "cpu_op"]


def test_a_training_step_is_what_torchs_own_profiler_says_it_is(tmp_path: Path) -> None:
    """Every operator that reaches a kernel, as often, with the same shapes, types and strides; and no other ones.

    But aten::detach, of which autograd makes more under a mode. What only torch.profiler sees has other names.
    """
    step = make_step()
    for _ in range(2):
        step()
    with profile(record_shapes=True) as prof:
        step()
        assert not torch.autograd._profiler_enabled()  # noqa: SLF001 - it has no other name
    integration.uninstall()
    theirs = Counter(recorded_by_torch(step, tmp_path))

    ours = Counter((row.name, *said(row.args)) for row in operators(prof.trace) if row.name != "aten::detach")
    names = {name for name, *_ in ours}
    assert (len(names), sum(ours.values())) == (17, 34)
    assert ours == Counter({key: count for key, count in theirs.items() if key[0] in names})


def test_forward_backward_and_optimizer_are_where_they_belong(tmp_path: Path) -> None:
    step = make_step()
    step()
    with profile(with_flops=True) as prof:
        step()

    trace = prof.trace
    forward, optimizer = row_named(trace, "forward"), row_named(trace, "Optimizer.step#SGD.step")
    assert (forward.cat, optimizer.cat) == ("user_annotation", "user_annotation")

    def inside(row: Row, of: Row) -> bool:
        return of.ts <= row.ts and row.ts + row.dur <= of.ts + of.dur

    parts = [
        [row.name for row in operators(trace) if inside(row, forward) and row.name != "aten::detach"],
        [row.args["Autograd node"] for row in operators(trace) if "Autograd node" in row.args],
        [row.name for row in operators(trace) if inside(row, optimizer)],
    ]
    assert parts[0] == [
        "aten::convolution", "aten::relu", "aten::view", "aten::t", "aten::addmm", "aten::_log_softmax",
        "aten::nll_loss_forward",
    ]  # fmt: skip
    nodes = ["NllLoss", "LogSoftmax", "Addmm", "T", "View", "Relu", "Convolution"]
    backward = [f"{node}Backward0" for node in nodes]
    assert [node for node in dict.fromkeys(parts[1]) if "Accumulate" not in node] == backward
    assert parts[2] == ["aten::mul_", "aten::add_", "aten::add_"] * 4
    flops = {row.key: row.flops for row in prof.key_averages() if row.flops}
    # torch counts that of the convolution at aten::conv2d.
    assert flops == {"aten::convolution": 110592, "aten::addmm": 40960, "aten::mm": 81920}
    for suffix in (".json", ".pftrace"):
        assert read(write(trace, tmp_path / f"step{suffix}")) == trace


def test_an_arrow_leads_from_each_operator_to_its_gradient() -> None:
    step = make_step()
    step()
    with profile() as prof:
        step()

    trace, arrows = prof.trace, dict[int, list[Row]]()
    for flow, row in zip(trace.flows.flow, trace.flows.row, strict=True):
        arrows.setdefault(flow, []).append(trace[row])
    assert {trace.strings[name] for name in trace.flows.name} == {"fwdbwd"}
    assert [(first.name, last.args["Autograd node"]) for first, last in arrows.values()] == [
        ("aten::convolution", "ConvolutionBackward0"),
        ("aten::relu", "ReluBackward0"),
        ("aten::view", "ViewBackward0"),
        ("aten::t", "TBackward0"),
        ("aten::addmm", "AddmmBackward0"),
        ("aten::_log_softmax", "LogSoftmaxBackward0"),
        ("aten::nll_loss_forward", "NllLossBackward0"),
    ]
    assert all(first.args["Sequence number"] == last.args["Sequence number"] for first, last in arrows.values())


def test_torch_runs_as_ever_where_nothing_is_recorded_and_computes_the_same_where_it_is() -> None:
    plain, recorded = make_step(), make_step()
    losses = [plain() for _ in range(5)]
    modes, ours = [], []
    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=1)) as prof:
        for _ in range(5):
            modes.append(len(_get_current_dispatch_mode_stack()))
            ours.append(recorded())
            prof.step()

    assert ours == losses
    assert modes == [0, 0, 1, 1, 0]
    assert _get_current_dispatch_mode_stack() == []
    events = prof.events()
    assert {event.step for event in events if event.category == "cpu_op"} == {2, 3}


def test_an_operator_that_raises_ends_and_the_error_is_torchs() -> None:
    with profile() as prof:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            torch.ones(2, 3) @ torch.ones(2, 3)
        torch.ones(1)

    assert [(row.name, row.kind) for row in operators(prof.trace)][-2:] == [("aten::mm", 0), ("aten::ones", 0)]


def test_operators_of_other_threads_are_seen_where_they_ask_for_it() -> None:
    one = torch.ones(1)

    def work(*, seen: bool) -> None:
        if seen:
            with integration.on_this_thread():
                one.exp()
        else:
            one.sin()

    with profile() as prof:
        for seen in (True, False):
            thread = threading.Thread(target=work, kwargs={"seen": seen}, name=f"seen {seen}")
            thread.start()
            thread.join()
        with integration.on_this_thread():  # seen already
            one.cos()
    with integration.on_this_thread():
        with profile() as inside:
            one.tan()
        one.sinh()
        with profile() as again:
            one.cosh()

    assert [(row.name, row.track.name) for row in operators(prof.trace)] == [
        ("aten::exp", "seen True"),
        ("aten::cos", "MainThread"),
    ]
    assert [row.name for row in (*inside.trace, *again.trace)] == ["aten::tan", "aten::cosh"]
    assert _get_current_dispatch_mode_stack() == []


def test_a_mode_of_the_program_works_on_inside_and_outside_of_ours() -> None:
    class Log(TorchDispatchMode):  # type: ignore[misc, unused-ignore] # torch is Any here
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    seen: list[str] = []
    one, prof, log = torch.ones(1), profile(), Log()
    with Log():
        prof.start()
        one.exp()
        log.__enter__()
        one.sin()
        prof.stop()  # ours cannot be taken off below the other one: it stays, and records nothing
        one.cos()
        log.__exit__(None, None, None)
        one.tan()
        with profile() as again:
            one.sinh()
        assert len(_get_current_dispatch_mode_stack()) == 1

    assert seen == [f"aten.{name}.default" for name in ("exp", "sin", "sin", "cos", "cos", "tan", "sinh")]
    assert [row.name for row in operators(prof.trace)] == ["aten::exp", "aten::sin"]
    assert [row.name for row in operators(again.trace)] == ["aten::sinh"]


def test_only_profiles_that_want_the_cpu_record_and_only_where_it_is_installed() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as wanted:
        torch.ones(1)
    with pytest.warns(UserWarning, match="CUDA"), profile(activities=[ProfilerActivity.CUDA]) as other:
        torch.ones(1)
    integration.uninstall()
    with profile() as none:
        torch.ones(1)

    assert [row.name for row in wanted.trace] == ["aten::ones"]
    assert len(other.trace) == len(none.trace) == 0


def test_spans_of_both_profilers_nest_with_operators() -> None:
    with profile() as prof, record_function("ours"):
        outer = torch.profiler.record_function("outer")
        inner = torch.profiler.record_function("inner")
        outer.__enter__()
        inner.__enter__()
        torch.ones(1)
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)

    parents = {event.name: event.cpu_parent.name for event in prof.events() if event.cpu_parent}
    assert parents["aten::ones"] == "inner"
    assert (parents["inner"], parents["outer"]) == ("outer", "ours")


def test_what_torch_compiles_and_control_flow_run_as_ever() -> None:
    def function(tensor: Any) -> Any:
        return torch.cond(tensor.sum() > 0, torch.sin, torch.cos, (tensor,))

    compiled, one = torch.compile(function, backend="eager"), torch.ones(3)
    with profile() as prof:
        assert torch.equal(compiled(one), one.sin())
        assert torch.equal(function(-one), (-one).cos())

    assert "cond" in {row.name for row in operators(prof.trace)}


def test_operators_on_the_threads_of_the_autograd_engine_are_seen() -> None:
    """A backward inside a backward goes on there from the sixtieth on, even without a device."""

    class Nested(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore] # torch is Any here
        @staticmethod
        def forward(ctx: Any, one: Any, depth: int) -> Any:
            ctx.depth = depth
            return one * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            if ctx.depth:
                with torch.enable_grad():
                    Nested.apply(grad.detach().requires_grad_(), ctx.depth - 1).sum().backward()
            return grad.exp(), None

    with profile() as prof:
        Nested.apply(torch.ones(1, requires_grad=True), 70).sum().backward()

    threads = Counter(row.track.tid for row in operators(prof.trace) if row.name == "aten::exp")
    assert sum(threads.values()) == 71
    assert len(threads) == 2
    assert set(threads) > {threading.get_native_id()}


# -- modules -----------------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore] # torch is Any here
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        self.head = torch.nn.Sequential(torch.nn.ReLU())

    def forward(self, batch: Any, *, fails: bool = False) -> Any:
        for layer in self.layers:
            batch = layer(batch)
        if fails:
            torch.nn.Linear(3, 3)(batch)
        return self.head(batch) * 2


def hierarchies(trace: Trace) -> list[tuple[str, str]]:
    """Operators that compute, and what they say of modules."""
    names = ("aten::addmm", "aten::relu", "aten::mul")
    return [(row.name, row.args.get("Module Hierarchy", "")) for row in operators(trace) if row.name in names]


FORWARD = [
    ("aten::addmm", "TOP(Net)::forward.layers.0(Linear)::forward"),
    ("aten::addmm", "TOP(Net)::forward.layers.1(Linear)::forward"),
    ("aten::relu", "TOP(Net)::forward.head(Sequential)::forward.0(ReLU)::forward"),
    ("aten::mul", "TOP(Net)::forward"),
]


def test_operators_say_in_which_modules_they_run() -> None:
    net, batch = Net(), torch.ones(2, 4)
    with profile(with_modules=True) as prof:
        net(batch).sum().backward()
        batch.mul(3)

    found = hierarchies(prof.trace)
    assert found[:4] == FORWARD
    assert {hierarchy for _, hierarchy in found[4:]} == {""}


def test_a_forward_that_fails_leaves_its_modules() -> None:
    net, batch = Net(), torch.ones(2, 4)
    with profile(with_modules=True) as prof:
        with pytest.raises(RuntimeError, match="shapes"):
            net(batch, fails=True)
        batch.mul(3)
        net(batch)

    assert [pair for pair in hierarchies(prof.trace) if "()" not in pair[1]][-5:] == [("aten::mul", ""), *FORWARD]


def test_modules_of_each_thread_are_its_own() -> None:
    net, batch, inside = Net(), torch.ones(2, 4), threading.Event()

    def other() -> None:
        with integration.on_this_thread():
            inside.wait()
            net.layers[0](batch)

    def meanwhile(*_: Any) -> None:
        inside.set()
        thread.join()

    thread = threading.Thread(target=other)
    with profile(with_modules=True) as prof:
        thread.start()
        handle = net.head.register_forward_pre_hook(meanwhile)
        net(batch)
        handle.remove()

    assert ("aten::addmm", "TOP(Linear)::forward") in hierarchies(prof.trace)
    assert [pair for pair in hierarchies(prof.trace) if pair[1] != "TOP(Linear)::forward"] == FORWARD


def test_modules_have_no_hooks_unless_they_are_asked_for_and_recorded() -> None:
    from torch.nn.modules import module

    def hooks() -> int:
        return len(module._global_forward_hooks) + len(module._global_forward_pre_hooks)  # noqa: SLF001

    with profile():
        assert hooks() == 0
    with profile(with_modules=True, schedule=schedule(wait=1, warmup=1, active=1)) as prof:
        seen = []
        for _ in range(3):
            seen.append(hooks())
            prof.step()
    assert (seen, hooks()) == ([0, 0, 2], 0)


@pytest.mark.filterwarnings("ignore:Using `torch.compile.module.` when there are global hooks:UserWarning")
def test_what_is_compiled_runs_as_ever_and_is_one_module() -> None:
    batch = torch.ones(2, 4)
    net = torch.compile(Net(), backend="eager", fullgraph=True)
    expected = net(batch)
    with profile(with_modules=True) as prof:
        assert torch.equal(net(batch), expected)

    assert torch.equal(net(batch), expected)
    found = hierarchies(prof.trace)
    assert [name for name, _ in found] == [name for name, _ in FORWARD]
    assert {hierarchy for _, hierarchy in found} == {"TOP(OptimizedModule)::forward"}
