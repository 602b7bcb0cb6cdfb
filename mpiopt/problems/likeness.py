"""What all ranks must be given alike for a training: compared once at its start, so that none of them trains something else."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from mpiopt.arrays import Array, is_array, on_host
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import held
from mpiopt.problems.examples import Flat
from mpiopt.problems.optional import Formed, Holding
from mpiopt.problems.problem import Ordered, Site, Team
from mpiopt.problems.protocols import offers

GLIMPSE = 64  # rows that are compared where all workers are to have the same
SHOWN = 60  # characters of what differs


def demand_alike(team: Team, given: Mapping[str, Any], rows: int | None) -> None:
    """Raise UsageError on every rank where ranks were given something else, or models or data that do not go together.

    given : names and values; of arrays the bits count. rows : how many there are in all, where that is known: workers that
    each hold so many must hold the same. Collective.
    """
    mine = [{name: _told(value) for name, value in {**given, **_of(site, rows)}.items()} for site in team.sites]
    first, *others = [(rank, told) for rank, some in enumerate(team.world.tell_all(mine)) for told in some]
    for rank, told in others:
        odd = next((name for name in {**first[1], **told} if _digest(told, name) != _digest(first[1], name)), None)
        if odd is not None:
            texts = [one[odd][0] for one in (told, first[1]) if odd in one]
            shown = f": {' and '.join(texts)}" if all(0 < len(text) <= SHOWN for text in texts) else ""
            raise UsageError(f"rank {rank} was given another {odd} than rank 0{shown}; give all ranks the same")


def _digest(told: Mapping[str, tuple[str, str]], name: str) -> str:
    return told[name][1] if name in told else ""


def _of(site: Site, rows: int | None) -> dict[str, Any]:
    """What models and, where all workers draw from the same, rows must have in common."""
    loss = site.loss
    model = {"model": (loss.dim, loss.form if offers(loss, Formed) else ""), "state of the model": tuple(held(loss).items())}
    if not (isinstance(site.sample, Ordered) and rows == loss.rows == site.sample.rows):
        return model
    if not (offers(loss, Holding) and isinstance(loss.data, Flat)):
        return model
    some = np.linspace(0, loss.rows - 1, GLIMPSE).astype(int)
    return model | {"data set": loss.data.flat(some, np.dtype(np.float32))}


def _told(value: Any) -> tuple[str, str]:
    """A value in words, without the addresses of its parts, and a digest of it."""
    digest = blake2b(digest_size=16)
    for part in value if isinstance(value, tuple) else (value,):
        digest.update(_bytes(part))
    return ("" if isinstance(value, tuple | Array) else _words(value)), digest.hexdigest()


def _bytes(part: Any) -> bytes:
    from scipy.sparse import csr_array  # a tenth of a second, which only trainings wait for

    if isinstance(part, tuple):
        return b"".join(map(_bytes, part))
    if is_array(part):
        array = np.ascontiguousarray(on_host(part))
        return f"{array.shape} {array.dtype}".encode() + array.tobytes()
    if isinstance(part, csr_array):
        return b"".join(map(_bytes, (part.indptr, part.indices, part.data)))
    return _words(part).encode()


def _words(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
