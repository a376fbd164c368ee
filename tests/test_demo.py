"""The demo: its corpus, its mathematics, its loader, and a whole training with the profiler."""

import py_compile
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log, sqrt
from pathlib import Path
from random import Random

import pytest

from stepscope import ExportError, ProfilerAction, StepscopeError, diff
from stepscope.check import engine_or_none, open_trace, rows
from stepscope.demo.charmodel import Adam, CharModel, Matrix, Shape
from stepscope.demo.corpus import (
    MODULES,
    OTHER,
    Batch,
    Corpus,
    Document,
    documents,
    places,
    read_corpus,
)
from stepscope.demo.loader import Loader
from stepscope.demo.train import Recipe, Result, Step, train


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - repeatable on purpose


# ---- corpus


@pytest.fixture
def library(tmp_path: Path) -> Callable[[dict[str, str]], str]:
    """Makes a standard library of the given modules; returns its folder."""

    def make(sources: dict[str, str]) -> str:
        folder = tmp_path / "library"
        folder.mkdir()
        for name, text in sources.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        return str(folder)

    return make


def test_every_module_of_the_table_has_source_text_in_this_python() -> None:
    assert [document.name for document in documents(places())] == list(MODULES)


def test_text_that_is_read_is_the_standard_librarys_own() -> None:
    (argparse,) = [document for document in documents(places()) if document.name == "argparse"]

    assert "class ArgumentParser" in argparse.read()


def test_symbols_are_numbered_from_the_most_frequent_and_ties_by_character(
    library: Callable[[dict[str, str]], str],
) -> None:
    corpus = read_corpus([library({"ast": "bacc", "copy": "cba"})])

    assert corpus.symbols == {"c": 1, "a": 2, "b": 3}
    assert corpus.vocabulary == 4
    assert corpus.characters == 7


def test_characters_beyond_the_vocabulary_share_one_symbol(
    library: Callable[[dict[str, str]], str],
) -> None:
    corpus = read_corpus([library({"ast": "aaabbc"})], most_symbols=3)

    assert corpus.symbols == {"a": 1, "b": 2}
    assert corpus.cut("cab", examples=1, context=2, random=dice(0)) == Batch([[OTHER, 1]], [2])


def test_each_example_is_a_window_of_the_text() -> None:
    text = "abcdefghij"
    corpus = Corpus((), {char: number for number, char in enumerate(text, 1)}, len(text))

    batch = corpus.cut(text, examples=200, context=3, random=dice(5))

    seen = {(*context, target) for context, target in zip(batch.contexts, batch.targets, strict=True)}
    # Every window there is, the first and the last among them, and no other.
    assert seen == {(n, n + 1, n + 2, n + 3) for n in range(1, 8)}


def test_standard_library_in_a_zip_is_read_too(tmp_path: Path) -> None:
    archive = tmp_path / "python3.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ast.py", "zipped = True")

    (document,) = documents([str(tmp_path / "not there"), str(archive)])

    assert (document.name, document.read()) == ("ast", "zipped = True")


def test_zips_on_the_path_are_places_to_look_if_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "python3.zip"
    there.write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path / "missing.zip"))
    monkeypatch.syspath_prepend(str(there))

    assert places()[1:] == [str(there)]


def test_a_file_of_the_users_with_a_modules_name_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue.py").write_text("mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert "mine" not in {document.read() for document in documents(places())}


def test_python_with_compiled_files_only_is_told_what_it_lacks(tmp_path: Path) -> None:
    source = tmp_path / "copy.py"
    source.write_text("pass")
    py_compile.compile(str(source), cfile=str(tmp_path / "copy.pyc"))
    source.unlink()

    with pytest.raises(StepscopeError) as caught:
        read_corpus([str(tmp_path)])

    assert str(caught.value) == (
        f"no source text of the standard library in {tmp_path}.\n"
        "    This Python ships compiled files only; use one that has its .py files."
    )


def test_document_that_vanished_is_an_error_of_this_package(
    library: Callable[[dict[str, str]], str],
) -> None:
    folder = library({"ast": "text"})
    (document,) = documents([folder])
    Path(folder, "ast.py").unlink()

    with pytest.raises(StepscopeError, match="the source of module ast is gone"):
        document.read()


# ---- model

SMALL = Shape(vocabulary=5, context=2, embedding=3, hidden=4)
EXAMPLES = Batch([[0, 1], [4, 4], [2, 1]], [3, 0, 1])


def test_gradient_is_the_slope_of_the_loss_at_every_weight() -> None:
    model = CharModel(SMALL, dice(3))
    gradient = model.backward(EXAMPLES, model.forward(EXAMPLES))

    assert model.size == 5 * 3 + 4 * 6 + 4 + 5 * 4 + 5
    assert {name: shape_of(matrix) for name, matrix in gradient.items()} == {
        name: shape_of(matrix) for name, matrix in model.weights.items()
    }
    for name, matrix in model.weights.items():
        for i, row in enumerate(matrix):
            for j in range(len(row)):
                expected = slope(model, row, j)
                assert gradient[name][i][j] == pytest.approx(expected, rel=1e-6, abs=1e-9), name


def slope(model: CharModel, row: list[float], column: int) -> float:
    """How the loss grows with one weight, by moving it a little to both sides."""
    kept, distance = row[column], 1e-5
    row[column] = kept + distance
    above = model.forward(EXAMPLES).loss
    row[column] = kept - distance
    below = model.forward(EXAMPLES).loss
    row[column] = kept
    return (above - below) / (2 * distance)


def shape_of(matrix: Matrix) -> tuple[int, set[int]]:
    return len(matrix), {len(row) for row in matrix}


def test_each_guess_is_a_distribution_over_the_vocabulary() -> None:
    forward = CharModel(SMALL, dice(3)).forward(EXAMPLES)

    assert [len(row) for row in forward.probabilities] == [5, 5, 5]
    assert [sum(row) for row in forward.probabilities] == pytest.approx([1, 1, 1])
    assert min(min(row) for row in forward.probabilities) > 0


def test_untrained_model_guesses_about_evenly() -> None:
    shape = Shape(vocabulary=64)
    batch = Batch([[n % 64] * shape.context for n in range(64)], list(range(64)))

    assert CharModel(shape, dice(1)).forward(batch).loss == pytest.approx(log(64), abs=0.05)


def test_scores_of_any_size_do_not_overflow() -> None:
    model = CharModel(SMALL, dice(3))
    model.weights["output bias"][0][:] = [1e4, 0, 0, 0, 1e4]

    (row, *_) = model.forward(Batch([[0, 1]], [0])).probabilities

    assert row == pytest.approx([0.5, 0, 0, 0, 0.5], abs=0.1)


def test_adam_follows_the_papers_formulas() -> None:
    weights = {"w": [[1.0, -2.0]]}
    slopes = [[0.5, -3.0], [0.25, 1.0], [-1.0, 0.0]]
    adam = Adam(weights, rate=0.1)
    for slope_row in slopes:
        adam.step({"w": [slope_row]})

    expected = []
    for start, history in zip((1.0, -2.0), zip(*slopes, strict=True), strict=True):
        value, mean, square = start, 0.0, 0.0
        for t, g in enumerate(history, 1):
            mean = 0.9 * mean + 0.1 * g
            square = 0.999 * square + 0.001 * g * g
            value -= 0.1 * (mean / (1 - 0.9**t)) / (sqrt(square / (1 - 0.999**t)) + 1e-8)
        expected.append(value)
    assert weights["w"][0] == pytest.approx(expected, rel=1e-9)


def test_model_learns_what_can_be_known_and_no_more() -> None:
    """After 0 comes 1, after 1 comes 0; after 2, either: half a bit short of certainty."""
    batch = Batch([[0, 0], [1, 1], [2, 2], [2, 2]], [1, 0, 0, 1])
    model = CharModel(replace(SMALL, vocabulary=3), dice(2))
    adam = Adam(model.weights, rate=0.05)
    for _ in range(200):
        adam.step(model.backward(batch, model.forward(batch)))

    assert model.forward(batch).loss == pytest.approx(log(2) / 2, abs=0.01)


# ---- loader


@dataclass
class Telling:
    """Source text that tells which thread reads it, and how often."""

    text: str | None = "some text to cut"
    reader: str = ""
    reads: int = 0

    def get_source(self, fullname: str) -> str | None:
        self.reader = threading.current_thread().name
        self.reads += 1
        return self.text


def corpus_of(*sources: Telling) -> Corpus:
    found = tuple(Document(f"m{number}", source) for number, source in enumerate(sources))
    return Corpus(found, {char: n for n, char in enumerate("aeiou", 1)}, 0)


def test_batches_are_of_the_asked_number_and_size_and_the_seed_decides_them() -> None:
    def take(seed: int) -> list[Batch]:
        with Loader(corpus_of(Telling()), batches=5, examples=6, context=3, seed=seed) as loader:
            return list(loader)

    batches = take(seed=1)

    assert [len(batch.targets) for batch in batches] == [6] * 5
    assert {len(context) for batch in batches for context in batch.contexts} == {3}
    assert take(seed=1) == batches
    assert take(seed=2) != batches


def test_text_is_read_in_a_thread_named_loader() -> None:
    source = Telling()
    with Loader(corpus_of(source), batches=1, examples=4, context=3, seed=1) as loader:
        list(loader)

    assert source.reader == "loader"


def test_loader_reads_no_more_than_two_batches_ahead() -> None:
    source = Telling()
    with Loader(corpus_of(source), batches=1000, examples=4, context=3, seed=1) as loader:
        batches = iter(loader)
        for _ in range(5):
            next(batches)

    assert 5 * 4 <= source.reads <= (5 + Loader.AHEAD) * 4


@pytest.mark.parametrize("batches", [1, 2, 3, 1000])
@pytest.mark.parametrize("taken", [0, 1])
def test_leaving_the_loader_early_ends_its_thread(batches: int, taken: int) -> None:
    with Loader(corpus_of(Telling()), batches=batches, examples=4, context=3, seed=1) as loader:
        for _ in range(taken):
            next(iter(loader))

    assert "loader" not in {thread.name for thread in threading.enumerate()}


def test_error_in_the_thread_is_raised_where_batches_are_taken() -> None:
    with (
        pytest.raises(StepscopeError, match="the source of module m0 is gone"),
        Loader(corpus_of(Telling(None)), batches=3, examples=4, context=3, seed=1) as loader,
    ):
        next(iter(loader))

    assert "loader" not in {thread.name for thread in threading.enumerate()}


# ---- training, with the real profiler

LAYERS = ("embed", "hidden", "softmax")
BACKWARD = tuple(f"{layer} backward" for layer in LAYERS)
PARTS = ("data", "forward", "backward", "optimizer")
# (name, parent) of every slice of one step, in the training thread and in the loader's.
TRAINING = {
    ("ProfilerStep", None),
    *((part, "ProfilerStep") for part in PARTS),
    *((layer, "forward") for layer in LAYERS),
    *((layer, "backward") for layer in BACKWARD),
}
LOADING = {("read batch", None), ("read file", "read batch"), ("cut examples", "read batch")}
PARENTS = """
    SELECT thread.name AS thread, slice.name AS name, parent.name AS parent
    FROM slice JOIN thread_track ON thread_track.id = slice.track_id JOIN thread USING (utid)
    LEFT JOIN slice AS parent ON parent.id = slice.parent_id
"""


@dataclass(frozen=True)
class Run:
    """One training of full length, shared by the tests that look at it."""

    recipe: Recipe
    result: Result
    steps: list[Step]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe, steps = Recipe(), list[Step]()
    result = train(read_corpus(), tmp_path_factory.mktemp("log"), recipe, steps.append)
    return Run(recipe, result, steps)


def test_two_trainings_do_the_same_though_the_loader_runs_free_of_the_steps(run: Run, tmp_path: Path) -> None:
    train(read_corpus(), tmp_path, run.recipe, lambda _: None)
    result = diff(run.result.paths[0].parent, tmp_path, timings=False)

    assert list(result) == []
    assert (result.runs, [one.thread for one in result.loosely]) == ((2, 2), ["loader"])


def test_loss_falls_from_a_blind_guess_to_well_below_it(run: Run) -> None:
    result = run.result

    assert result.losses[0] == pytest.approx(log(64), abs=0.2)
    # Knowing only how frequent each character is gives about 3.2 on this text.
    assert result.last_loss < 2.9 < result.first_loss


def test_each_step_is_reported_with_what_the_profiler_did(run: Run) -> None:
    actions = [step.action for step in run.steps]
    recording = [ProfilerAction.RECORD] * 2 + [ProfilerAction.RECORD_AND_SAVE]
    cycle = [ProfilerAction.NONE] * 145 + [ProfilerAction.WARMUP] * 2 + recording

    assert actions == cycle * 2
    assert [step.number for step in run.steps] == list(range(300))
    assert tuple(step.loss for step in run.steps) == run.result.losses


def test_each_cycle_leaves_a_file_per_format(run: Run) -> None:
    assert Counter(path.suffix for path in run.result.paths) == {".json": 2, ".pftrace": 2}
    assert all(path.stat().st_size > 0 for path in run.result.paths)


def test_averages_count_each_span_of_both_cycles(run: Run) -> None:
    counts = counts_in_table(run.result.averages)
    # How many readings fall into a cycle is for the threads to settle: one is whole in each.
    readings = [counts.pop(name) for name in ("read batch", "read file", "cut examples")]

    assert counts == dict.fromkeys(("ProfilerStep*", *PARTS, *LAYERS, *BACKWARD), 6)
    assert all(count >= 2 for count in readings)


def counts_in_table(table: str) -> dict[str, int]:
    """Name and number of calls, between the second rule and the third."""
    _above, _titles, body, *_below = re.split(r"^-[- ]*\n", table, flags=re.MULTILINE)
    cells = [re.split(r" {2,}", line.strip()) for line in body.splitlines()]
    return {row[0]: int(row[-1]) for row in cells}


def test_trace_processor_sees_the_same_steps_in_each_file(run: Run) -> None:
    if engine_or_none() is None:
        pytest.skip("no trace processor here")
    for path in run.result.paths:
        seen: dict[str, Counter[tuple[str, str | None]]] = {}
        with open_trace(path) as trace:
            for thread, name, parent in rows(trace, PARENTS):
                pair = (name.partition("#")[0], parent and parent.partition("#")[0])
                seen.setdefault(thread, Counter())[pair] += 1

        assert set(seen) == {"MainThread", "loader"}, path
        assert seen["MainThread"] == dict.fromkeys(TRAINING, 3), path
        # At least one whole reading lies between the edges; what the edges cut may stand alone.
        assert set(seen["loader"]) >= LOADING, path


def test_program_that_breaks_off_leaves_no_thread_behind(tmp_path: Path) -> None:
    def interrupt(step: Step) -> None:
        if step.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(corpus_of(Telling()), tmp_path, Recipe(examples=4), interrupt)

    assert "loader" not in {thread.name for thread in threading.enumerate()}


def test_folder_that_cannot_be_made_is_an_export_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ExportError):
        train(
            corpus_of(Telling()),
            tmp_path / "file" / "log",
            Recipe(wait=0, warmup=1, active=1, cycles=1, examples=4),
        )
