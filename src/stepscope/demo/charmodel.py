"""The demo's mathematics: a next-character model in plain Python, its gradients, and Adam.

After Bengio et al., "A Neural Probabilistic Language Model" (2003): each character of the context
has a learned vector; a layer of tanh units reads these side by side; a softmax over the vocabulary
guesses the next character.

    contexts --embed--> features --hidden--> tanh units --softmax--> probabilities, loss

Each layer has a span of its own, forward and backward. Holds no text and no files.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt, tanh
from operator import mul
from random import Random

from stepscope import record_function
from stepscope.demo.corpus import Batch

if sys.version_info >= (3, 12):
    from math import sumprod  # Three times as fast.
else:

    def sumprod(p: Iterable[float], q: Iterable[float], /) -> float:
        """The standard library's, for Pythons before 3.12."""
        total: float = sum(map(mul, p, q))
        return total


__all__ = ["Adam", "CharModel", "Forward", "Matrix", "Shape"]

Matrix = list[list[float]]


@dataclass(frozen=True)
class Shape:
    """Sizes of the model: symbols it knows, context it sees, numbers per character, tanh units."""

    vocabulary: int
    context: int = 6
    embedding: int = 8
    hidden: int = 32


@dataclass(frozen=True)
class Forward:
    """What the forward pass leaves for the backward pass; one row per example.

    features: the context's vectors side by side; shape (examples, context * embedding).
    hidden: values of the tanh units; shape (examples, hidden).
    probabilities: the guess for the next symbol; shape (examples, vocabulary).
    loss: mean of -log(probability of the symbol that came).
    """

    features: Matrix
    hidden: Matrix
    probabilities: Matrix
    loss: float


class CharModel:
    """The model's weights, and the two passes over them.

    weights: each matrix by name; biases have one row. A gradient has the same names and shapes.
    """

    def __init__(self, shape: Shape, random: Random) -> None:
        inputs = shape.context * shape.embedding
        self.shape = shape
        self.weights: dict[str, Matrix] = {
            "embedding": _noise(shape.vocabulary, shape.embedding, 0.3, random),
            "hidden": _noise(shape.hidden, inputs, 1 / sqrt(inputs), random),
            "hidden bias": [[0.0] * shape.hidden],
            # Small, so that the first guess is nearly even, the first loss nearly log(vocabulary).
            "output": _noise(shape.vocabulary, shape.hidden, 0.05, random),
            "output bias": [[0.0] * shape.vocabulary],
        }

    @property
    def size(self) -> int:
        """How many numbers there are to learn."""
        return sum(len(row) for matrix in self.weights.values() for row in matrix)

    def forward(self, batch: Batch) -> Forward:
        """Guess the next symbol of each example, and say how wrong the guesses are."""
        with record_function("embed"):
            vectors = self.weights["embedding"]
            features = [[value for symbol in context for value in vectors[symbol]] for context in batch.contexts]
        with record_function("hidden"):
            sums = _affine(features, self.weights["hidden"], self.weights["hidden bias"][0])
            hidden = [[tanh(value) for value in row] for row in sums]
        with record_function("softmax"):
            scores = _affine(hidden, self.weights["output"], self.weights["output bias"][0])
            probabilities = [_softmax(row) for row in scores]
            chosen = (row[target] for row, target in zip(probabilities, batch.targets, strict=True))
            loss = -sum(map(log, chosen)) / len(batch.targets)
        return Forward(features, hidden, probabilities, loss)

    def backward(self, batch: Batch, forward: Forward) -> dict[str, Matrix]:
        """The gradient of the loss: how it grows with each weight."""
        with record_function("softmax backward"):
            # d loss / d score = (probability - 1 for the symbol that came) / examples
            scale = 1 / len(batch.targets)
            d_scores = [[value * scale for value in row] for row in forward.probabilities]
            for row, target in zip(d_scores, batch.targets, strict=True):
                row[target] -= scale
            d_output = _dots(_columns(d_scores), _columns(forward.hidden))
            d_hidden = _dots(d_scores, _columns(self.weights["output"]))
        with record_function("hidden backward"):
            # d tanh(s) / d s = 1 - tanh(s) ** 2
            d_sums = [
                [d_value * (1 - value * value) for d_value, value in zip(d_row, row, strict=True)]
                for d_row, row in zip(d_hidden, forward.hidden, strict=True)
            ]
            d_weights = _dots(_columns(d_sums), _columns(forward.features))
            d_features = _dots(d_sums, _columns(self.weights["hidden"]))
        with record_function("embed backward"):
            width = self.shape.embedding
            d_embedding = [[0.0] * width for _ in range(self.shape.vocabulary)]
            for context, d_row in zip(batch.contexts, d_features, strict=True):
                for place, symbol in enumerate(context):
                    d_vector = d_embedding[symbol]
                    for i, d_value in enumerate(d_row[place * width : (place + 1) * width]):
                        d_vector[i] += d_value
        return {
            "embedding": d_embedding,
            "hidden": d_weights,
            "hidden bias": [[sum(column) for column in _columns(d_sums)]],
            "output": d_output,
            "output bias": [[sum(column) for column in _columns(d_scores)]],
        }


class Adam:
    """Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), with their constants."""

    MEAN_DECAY = 0.9
    SQUARE_DECAY = 0.999
    EPSILON = 1e-8

    def __init__(self, weights: dict[str, Matrix], rate: float) -> None:
        self.weights = weights
        self.rate = rate
        self.steps = 0
        self._means = {name: _zeros_like(matrix) for name, matrix in weights.items()}
        self._squares = {name: _zeros_like(matrix) for name, matrix in weights.items()}

    def step(self, gradient: dict[str, Matrix]) -> None:
        """Move every weight against its gradient, in place."""
        self.steps += 1
        # Both running means start at zero; rate and epsilon carry the paper's correction for that.
        correction = sqrt(1 - self.SQUARE_DECAY**self.steps)
        rate = self.rate * correction / (1 - self.MEAN_DECAY**self.steps)
        for name, matrix in self.weights.items():
            rows = zip(matrix, gradient[name], self._means[name], self._squares[name], strict=True)
            for row in rows:
                self._move(*row, rate=rate, epsilon=self.EPSILON * correction)

    def _move(
        self,
        weights: list[float],
        gradient: list[float],
        means: list[float],
        squares: list[float],
        *,
        rate: float,
        epsilon: float,
    ) -> None:
        """One row of one matrix."""
        keep_mean, keep_square = self.MEAN_DECAY, self.SQUARE_DECAY
        for i, slope in enumerate(gradient):
            means[i] = mean = keep_mean * means[i] + (1 - keep_mean) * slope
            squares[i] = square = keep_square * squares[i] + (1 - keep_square) * slope * slope
            weights[i] -= rate * mean / (sqrt(square) + epsilon)


def _noise(rows: int, columns: int, scale: float, random: Random) -> Matrix:
    return [[random.gauss(0.0, scale) for _ in range(columns)] for _ in range(rows)]


def _zeros_like(matrix: Matrix) -> Matrix:
    return [[0.0] * len(row) for row in matrix]


def _columns(matrix: Matrix) -> list[tuple[float, ...]]:
    return list(zip(*matrix, strict=True))


def _dots(rows: Iterable[Sequence[float]], others: Sequence[Sequence[float]]) -> Matrix:
    """Each row times each of the others: rows @ others transposed."""
    return [[sumprod(row, other) for other in others] for row in rows]


def _affine(rows: Matrix, weights: Matrix, bias: list[float]) -> Matrix:
    """Rows @ weights transposed + bias."""
    pairs = list(zip(weights, bias, strict=True))
    return [[sumprod(row, unit) + start for unit, start in pairs] for row in rows]


def _softmax(scores: list[float]) -> list[float]:
    top = max(scores)  # exp() of what is left cannot overflow.
    powers = [exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
