"""What a rank has sent, per collective."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Tally:
    """Bytes, messages, vector rounds and seconds waited of one rank.

    ``bytes`` is the payload that this rank handed to MPI as its own contribution; ``messages`` the number of
    collectives; ``vector_rounds`` those that carried a d-vector; ``waited`` the seconds spent inside MPI calls.
    ``by_name`` holds (messages, bytes, seconds) per collective, ``by_edge`` the bytes that workers of this rank have said to
    each neighbour in a graph, (from, to), wherever that is hosted, where ``bytes`` has only what left the rank. Work done
    inside `paused` is not counted.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.messages = 0
        self.vector_rounds = 0
        self.waited = 0.0
        self.by_name: Counter[tuple[str, str]] = Counter()
        self.by_edge: Counter[tuple[int, int]] = Counter()
        self._paused = 0

    def add(self, name: str, nbytes: int, vector: bool, seconds: float) -> None:
        """Count one collective of ``nbytes`` sent that took ``seconds``."""
        if self._paused:
            return
        self.bytes += nbytes
        self.messages += 1
        self.vector_rounds += vector
        self.waited += seconds
        self.by_name.update({(name, "messages"): 1, (name, "bytes"): nbytes, (name, "seconds"): seconds})

    def along(self, edges: Iterable[tuple[int, int]], nbytes: int) -> None:
        """Count ``nbytes`` said along each edge, (from, to)."""
        if not self._paused:
            self.by_edge.update(dict.fromkeys(edges, nbytes))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what recording and evaluation send."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
