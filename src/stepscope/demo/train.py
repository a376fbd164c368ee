"""The program a user of this package would write: a training loop with a profiler around it.

Reads no command line and prints nothing; who calls it may watch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from stepscope import ProfilerAction, profile, record_function, schedule, trace_handler
from stepscope.demo.charmodel import Adam, CharModel, Shape
from stepscope.demo.corpus import Corpus
from stepscope.demo.loader import Loader

__all__ = ["Recipe", "Result", "Step", "train"]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and which of its steps are recorded.

    A cycle is wait steps that pass by, warmup steps, and active steps, which are recorded.
    """

    wait: int = 145
    warmup: int = 2
    active: int = 3
    cycles: int = 2
    examples: int = 32
    rate: float = 0.02
    seed: int = 1

    @property
    def steps(self) -> int:
        """The length of the training: exactly the cycles."""
        return self.cycles * (self.wait + self.warmup + self.active)


@dataclass(frozen=True)
class Step:
    """One finished step: its number from 0, what the profiler did meanwhile, the loss it found."""

    number: int
    action: ProfilerAction
    loss: float


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    losses: of each step.
    averages: the table over the recorded steps of all cycles.
    paths: the files that were written, in the order of writing.
    """

    losses: tuple[float, ...]
    averages: str
    paths: tuple[Path, ...]

    @property
    def first_loss(self) -> float:
        """Mean over the first tenth of the steps: a single batch may be easy or hard."""
        return self._mean(self.losses[: self._tenth])

    @property
    def last_loss(self) -> float:
        """Mean over the last tenth of the steps."""
        return self._mean(self.losses[-self._tenth :])

    @property
    def _tenth(self) -> int:
        return max(1, len(self.losses) // 10)

    @staticmethod
    def _mean(losses: tuple[float, ...]) -> float:
        return sum(losses) / len(losses)


def _unwatched(_step: Step) -> None:
    """What train() reports to where nobody asked."""


def train(
    corpus: Corpus,
    log_dir: Path,
    recipe: Recipe = Recipe(),
    on_step: Callable[[Step], None] = _unwatched,
) -> Result:
    """Train a model on the corpus and record each cycle into log_dir, once per format.

    Raises:
        ExportError: log_dir cannot be made or written.
        StepscopeError: a document of the corpus cannot be read any more.
    """
    shape = Shape(corpus.vocabulary)
    model = CharModel(shape, Random(recipe.seed))  # noqa: S311 - first weights, no secret
    optimizer = Adam(model.weights, recipe.rate)
    loader = Loader(
        corpus,
        batches=recipe.steps,
        examples=recipe.examples,
        context=shape.context,
        seed=recipe.seed,
    )
    handler = trace_handler(log_dir)
    losses = []
    with (
        loader,
        profile(
            schedule=schedule(wait=recipe.wait, warmup=recipe.warmup, active=recipe.active, repeat=recipe.cycles),
            on_trace_ready=handler,
            acc_events=True,
        ) as prof,
    ):
        batches = iter(loader)
        for number in range(recipe.steps):
            with record_function("data"):
                batch = next(batches)
            with record_function("forward"):
                forward = model.forward(batch)
            with record_function("backward"):
                gradient = model.backward(batch, forward)
            with record_function("optimizer"):
                optimizer.step(gradient)
            losses.append(forward.loss)
            on_step(Step(number, prof.current_action, forward.loss))
            prof.step()
    averages = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=-1)
    return Result(tuple(losses), averages, tuple(handler.paths))
