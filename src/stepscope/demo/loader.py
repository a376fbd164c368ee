"""The demo's loader: a thread that reads batches ahead of the training loop.

Holds a queue and one thread; knows the corpus, not the model.
"""

from collections.abc import Iterator
from queue import SimpleQueue
from random import Random
from threading import Event, Semaphore, Thread
from types import TracebackType

from stepscope import record_function
from stepscope.demo.corpus import Batch, Corpus

__all__ = ["Loader"]


class Loader:
    """Batches from a thread named "loader", in an order that the seed alone decides.

    A context manager: leaving it ends the thread, whether or not every batch was taken. Iterating
    gives the batches; an error in the thread is raised there.
    """

    # A batch mixes text of this many documents, so that no odd module bends the weights alone.
    DOCUMENTS_PER_BATCH = 4
    # The batch of step n is read after step n-2 took its own and before step n takes it: three recorded steps
    # always hold a whole reading.
    AHEAD = 2

    def __init__(self, corpus: Corpus, *, batches: int, examples: int, context: int, seed: int) -> None:
        self.corpus = corpus
        self.batches = batches
        self.examples = examples
        self.context = context
        self._random = Random(seed)  # noqa: S311 - draws training examples, guards nothing
        # Bounded by what is asked for, not by the queue: a thread that waits in put() cannot be told to end.
        self._wanted = Semaphore(self.AHEAD)
        self._queue: SimpleQueue[Batch | BaseException | None] = SimpleQueue()
        self._stopped = Event()
        # A daemon, so that a program which dies between start and stop still ends.
        self._thread = Thread(target=self._run, name="loader", daemon=True)

    def __enter__(self) -> "Loader":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._wanted.release()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self._wanted.release()
            yield item

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for _ in range(self.batches):
                self._wanted.acquire()
                if self._stopped.is_set():
                    return
                self._queue.put(self.read_batch())
        except BaseException as error:  # noqa: BLE001 - carried to the training loop, which raises it
            last = error
        self._queue.put(last)

    def read_batch(self) -> Batch:
        """Read some documents and cut one batch from them."""
        contexts: list[list[int]] = []
        targets: list[int] = []
        with record_function("read batch"):
            for left in range(self.DOCUMENTS_PER_BATCH, 0, -1):
                share = (self.examples - len(targets)) // left
                with record_function("read file"):
                    text = self._random.choice(self.corpus.documents).read()
                with record_function("cut examples"):
                    part = self.corpus.cut(text, share, self.context, self._random)
                contexts += part.contexts
                targets += part.targets
        return Batch(contexts, targets)
