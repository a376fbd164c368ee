"""`stepscope demo`: train the demo's model, show what the profiler saw, load the files back.

The training is stepscope.demo; this file watches it and prints.
"""

import platform
from collections import deque
from collections.abc import Sequence
from math import log
from pathlib import Path
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stepscope import CheckError, ProfilerAction
from stepscope.check import Engine, check, engine_or_none
from stepscope.demo.corpus import Corpus, read_corpus
from stepscope.demo.train import Recipe, Result, Step, train

__all__ = ["command"]

HOW_TO_OPEN = """\
To look at the last one in https://ui.perfetto.dev, which reads it in your browser and uploads nothing:
    stepscope open """


@click.command("demo")
@click.option(
    "--log",
    "log_dir",
    default="log",
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    help="Folder for the trace files; it is made where it is missing.",
)
@click.pass_context
def command(ctx: click.Context, log_dir: Path) -> None:
    """Profile a real training run that needs no data: a few seconds.

    A small next-character model in plain Python learns the source text of the standard library it
    runs on. Two cycles of steps are recorded, each as Chrome JSON and as Perfetto protobuf.
    """
    # No width: tables and paths keep their lines, the terminal breaks what does not fit.
    console = Console(highlight=False, markup=False, soft_wrap=True)
    engine = engine_or_none(download=False)
    recipe = Recipe()
    corpus = read_corpus()
    console.print(_opening(corpus, recipe))
    with _Watch(console, recipe) as watch:
        result = train(corpus, log_dir, recipe, watch.on_step)
    console.print(_outcome(corpus, recipe, result))
    passed = _load_back(console, engine, result.paths)
    console.print(f"\n{HOW_TO_OPEN}{log_dir}")
    ctx.exit(0 if passed else 1)


def _opening(corpus: Corpus, recipe: Recipe) -> str:
    return (
        "A next-character model in plain Python learns the standard library of "
        f"{platform.python_implementation()} {platform.python_version()}:\n"
        f"{len(corpus.documents)} modules, {corpus.characters:,} characters, "
        f"{recipe.steps} steps, {recipe.cycles * recipe.active} of them recorded."
    )


def _outcome(corpus: Corpus, recipe: Recipe, result: Result) -> str:
    return (
        f"loss {result.first_loss:.3f} in the first tenth, {result.last_loss:.3f} in the last "
        f"({log(corpus.vocabulary):.3f} is a blind guess)\n\n"
        f"Averages over {recipe.cycles} cycles of {recipe.active} recorded steps\n"
        f"{result.averages.rstrip()}\n"
    )


def _load_back(console: Console, engine: Engine | None, paths: Sequence[Path]) -> bool:
    """Print each file and what the trace processor says of it; whether all passed."""
    passed = True
    for path in paths:
        size_kb = path.stat().st_size / 1000
        console.print(f"{path}  {size_kb:.1f} kB")
        if engine is None:
            continue
        try:
            report = check(path, engine=engine)
        except CheckError as error:
            console.print(f"    not loaded: {error}")
            passed = False
            continue
        problems = len(report.problems)
        console.print(
            f"    loaded by the trace processor ({engine.name} {engine.version}): "
            f"{report.slices} slices, {problems} problem{'' if problems == 1 else 's'}"
        )
        for problem in report.problems:
            console.print(f"    {problem}")
        passed = passed and report.ok
    if engine is None:
        console.print(
            "Not loaded back: there is no trace processor here. `pip install 'stepscope[engine]'` brings one."
        )
    return passed


class _Watch:
    """Progress: on a terminal a bar, elsewhere a line now and then, and a line for each cycle.

    It prints between cycles only: a recorded step would show the time it takes.
    """

    DRAW_EVERY = 5
    LINE_EVERY = 50
    # A single batch may be easy or hard: what is shown is the mean over so many.
    SMOOTH = 30

    def __init__(self, console: Console, recipe: Recipe) -> None:
        self.console = console
        self.recipe = recipe
        self.losses: deque[float] = deque(maxlen=self.SMOOTH)
        self.recorded: list[int] = []
        self.cycle = 0
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self.task = self.bar.add_task("training", total=recipe.steps, loss="")

    def __enter__(self) -> "_Watch":
        if self.console.is_interactive:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.console.is_interactive:
            self.bar.stop()
        self._tell_cycle()

    def on_step(self, step: Step) -> None:
        """Take note of a step; draw where that disturbs nothing."""
        quiet = step.action is ProfilerAction.NONE
        if quiet:
            self._tell_cycle()
        self.losses.append(step.loss)
        if step.action in {ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE}:
            self.recorded.append(step.number)
        done = step.number + 1
        if not quiet:
            return
        if self.console.is_interactive:
            if done % self.DRAW_EVERY == 0:
                self.bar.update(self.task, completed=done, loss=self._loss(), refresh=True)
        elif done % self.LINE_EVERY == 0:
            self._tell(done, "")

    def _tell_cycle(self) -> None:
        """Say which steps the last cycle recorded, once it is over."""
        if self.recorded:
            first, last = self.recorded[0], self.recorded[-1]
            self._tell(last + 1, f"  cycle {self.cycle}: steps {first} to {last} are recorded")
            self.cycle += 1
            self.recorded.clear()

    def _tell(self, done: int, more: str) -> None:
        steps = self.recipe.steps
        self.console.print(f"step {done:{len(str(steps))}}/{steps}  loss {self._loss()}{more}")

    def _loss(self) -> str:
        return f"{sum(self.losses) / len(self.losses):.3f}"
