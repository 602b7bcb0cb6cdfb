"""What ranks decide, fail and find together: extremes, elections, errors, checksums."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from mpiopt.comm.ranks import Ranks
from mpiopt.errors import MpioptError, UnlikeError


class Agreements(Ranks):
    """What leaves all ranks with the same few numbers, or the same error."""

    def extremes(self, v: np.ndarray, name: str = "extremes") -> tuple[np.ndarray, np.ndarray]:
        """Elementwise minimum and maximum of ``v`` over the ranks; NaN counts as -inf and as +inf. Collective."""
        v = np.asarray(v, np.float64)
        both = _no_nan(np.concatenate([-v.reshape(-1), v.reshape(-1)]))
        with self._call(name, both.nbytes):
            self._comm.Allreduce(self._mpi.IN_PLACE, both, op=self._mpi.MAX)
        return -both[: v.size].reshape(v.shape), both[v.size :].reshape(v.shape)

    def best(self, values: Sequence[float], name: str = "best") -> int:
        """Leader election: the worker with the smallest value; NaN counts as +inf, ties go to the lowest worker.

        values : one number per hosted worker. Collective.
        """
        clean = [np.inf if np.isnan(v) else v for v in values]
        at = int(np.argmin(clean))
        mine = np.zeros(1, np.dtype([("value", "f8"), ("worker", "i4")], align=True))
        mine["value"], mine["worker"] = clean[at], self.hosted[at]
        with self._call(name, 12):
            self._comm.Allreduce(self._mpi.IN_PLACE, [mine, 1, self._mpi.DOUBLE_INT], op=self._mpi.MINLOC)
        return int(mine["worker"][0])

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block without collectives; if it fails on any rank, raise the same error on every rank.

        ``doing`` ends the sentence "rank 2 on host n1, while ..." for errors that are not ours. Collective at its end.
        """
        error: BaseException | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        self._raise_first(error, doing)

    def _raise_first(self, error: BaseException | None, doing: str) -> None:
        with self._call("together"):
            found = np.array([self.rank if error is not None else self.size], np.int64)
            self._comm.Allreduce(self._mpi.IN_PLACE, found, op=self._mpi.MIN)  # allreduce keeps other threads from running
            failed = int(found[0])
            if failed == self.size:
                return
            ours = isinstance(error, MpioptError)
            told = (type(error) if ours else MpioptError, _sentence(error, self, doing)) if self.rank == failed else None
            kind, sentence = self._comm.bcast(told, failed)
        raise kind(sentence) from error

    def tallied(
        self, seconds: float, word: str = "", held: Mapping[str, int] = MappingProxyType({}), when: str = ""
    ) -> tuple[int, float, str]:
        """Bytes sent so far, summed over the ranks, the largest of the ranks' ``seconds``, and the ``word`` of the lowest
        rank that has one; ``held`` and ``when`` as in `demand_alike`. Collective. Raises UnlikeError on every rank."""
        with self._call("tallied"):
            told = self._comm.allgather((self.tally.bytes, seconds, word, dict(held)))
        _demand_alike([here for *_, here in told], when)
        words = (word for _, _, word, _ in told if word)
        return sum(sent for sent, *_ in told), max(second for _, second, *_ in told), next(words, "")

    def demand_alike(self, held: Mapping[str, int], when: str) -> None:
        """Raise UnlikeError on every rank unless all have the same numbers under the same names. Collective.

        held : checksums of what must be alike. when : "after round 3", for the sentence.
        """
        with self._call("demand_alike"):
            told = self._comm.allgather(dict(held))
        _demand_alike(told, when)


def _no_nan(v: np.ndarray) -> np.ndarray:
    """NaN replaced by +inf: MPI's maximum of a NaN and a number differs from rank to rank."""
    return np.where(np.isnan(v), np.inf, v)


def _demand_alike(held: Sequence[Mapping[str, int]], when: str) -> None:
    odd = unlike(held)
    if odd:
        name, rank, usual = odd
        others = "the others" if len(held) > 2 else f"rank {usual}"
        raise UnlikeError(
            f"rank {rank} has other numbers than {others} in {name} {when}: a bit has flipped in a memory, or something "
            "computes unlike results there; go on from a checkpoint of before, or start anew, and have that machine looked at"
        )


def unlike(held: Sequence[Mapping[str, Any]]) -> tuple[str, int, int] | None:
    """The first name under which ranks hold unlike values, the first rank that differs from most, and the first of those."""
    for name in dict.fromkeys(name for one in held for name in one):
        values = [repr(one.get(name)) for one in held]
        most = Counter(values).most_common(1)[0][0]
        odd = [rank for rank, value in enumerate(values) if value != most]
        if odd:
            return name, odd[0], values.index(most)
    return None


def _sentence(error: BaseException | None, ranks: Ranks, doing: str) -> str:
    if isinstance(error, MpioptError):
        return str(error)
    return f"rank {ranks.rank} on host {ranks.host} failed while {doing}: {type(error).__name__}: {error}"
