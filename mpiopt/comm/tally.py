"""What a rank has sent: counted by World alone, per collective."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Tally:
    """Bytes, messages, vector rounds and seconds waited of one rank.

    ``bytes`` is the payload that this rank handed to MPI as its own contribution; ``messages`` the number of
    collectives; ``vector_rounds`` those that carried a d-vector; ``waited`` the seconds spent inside MPI calls.
    ``by_name`` holds (messages, bytes, seconds) per collective. Work done inside `paused` is not counted.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.messages = 0
        self.vector_rounds = 0
        self.waited = 0.0
        self.by_name: Counter[tuple[str, str]] = Counter()
        self._paused = 0

    @contextmanager
    def call(self, name: str, nbytes: int, vector: bool = False) -> Iterator[None]:
        """Count one collective of ``nbytes`` sent and the seconds until it returns."""
        start = perf_counter()
        try:
            yield
        finally:
            if not self._paused:
                self._add(name, nbytes, vector, perf_counter() - start)

    def _add(self, name: str, nbytes: int, vector: bool, seconds: float) -> None:
        self.bytes += nbytes
        self.messages += 1
        self.vector_rounds += vector
        self.waited += seconds
        self.by_name.update({(name, "messages"): 1, (name, "bytes"): nbytes, (name, "seconds"): seconds})

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what recording and evaluation send."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
