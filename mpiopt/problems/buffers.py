"""What a model keeps beside x, such as the running statistics of batch normalisation: part of the answer, by name.

In training every worker's model moves its own. An answer has one of each, agreed by all workers, and with these it is
examined, recorded, saved and restored.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.optional import Kept, Settling
from mpiopt.problems.problem import Site, Team
from mpiopt.problems.protocols import Loss, offers

Buffers = Mapping[str, Array]
SETTLING = 2048  # rows of each worker from which averages take their statistics anew


class Buffer(NamedTuple):
    """One of them, where they are kept for later."""

    name: str
    value: Array


def held(loss: Loss) -> dict[str, Array]:
    """Copies of what a model keeps beside x, by name; nothing for most. Not collective."""
    return dict(loss.buffers) if offers(loss, Kept) else {}


def put(loss: Loss, buffers: Buffers) -> None:
    """Let a model keep these beside x; nothing to do where there are none. Raises UsageError for those of another model."""
    if not buffers:
        return
    if not offers(loss, Settling) or not held(loss):
        raise UsageError(
            f"{next(iter(buffers))} was kept beside x, and this model keeps nothing: give that of a model of the same layers"
        )
    loss.restore(buffers)


def agreed(team: Team, x: Array) -> dict[str, Array]:
    """What belongs to the answer x (dim,), the same on every rank. Collective; the models are left as they are.

    Where all workers hold the same, that. Else every worker takes its statistics anew at x (`TorchModel.settled`), and what
    then still differs is the mean over the workers, weighted as x is; of a variance that of all their rows together, which
    is the mean of the variances and the variance of the means. Whole numbers are rounded.
    """
    own = [held(site.loss) for site in team.sites]
    if not own[0] or _same(team, own).all():
        return own[0]
    fresh = [_anew(site, x) for site in team.sites]
    return _joined(team, fresh, _same(team, fresh))


def _flat(buffers: Buffers) -> Array:
    return np.concatenate([np.ravel(array).astype(np.float64) for array in buffers.values()])


def _same(team: Team, each: Sequence[Buffers]) -> Array:
    """Which numbers all workers hold alike, one bool for each. Collective."""
    flat = np.array([_flat(buffers) for buffers in each])
    least, most = team.world.extremes(np.concatenate([flat.min(axis=0), flat.max(axis=0)]), "buffers")
    return least[: flat.shape[1]] == most[flat.shape[1] :]


def _joined(team: Team, each: Sequence[Buffers], same: Array) -> dict[str, Array]:
    """The mean of the workers' buffers; numbers that are the ``same`` stay what they are. Collective."""
    around = team.sites[0].loss.around if offers(team.sites[0].loss, Settling) else {}
    raised = [_raised(buffers, around, 1) for buffers in each]
    parts = [site.share * _flat(buffers) for site, buffers in zip(team.sites, raised, strict=True)]
    means, at, found = team.world.total(parts, "buffers"), 0, {}
    for name, like in each[0].items():
        found[name] = means[at : (at := at + like.size)].reshape(like.shape)
    found, at = _raised(found, around, -1), 0
    for name, like in each[0].items():
        kept = same[at : (at := at + like.size)].reshape(like.shape)
        whole = np.rint(found[name]) if like.dtype.kind in "iub" else found[name]
        found[name] = np.where(kept, like, whole.astype(like.dtype))
    return found


def _raised(buffers: Buffers, around: Mapping[str, str], sign: int) -> dict[str, Array]:
    """Variances with the squares of the means that they are about added, or taken away: second moments may be averaged."""
    squares = {name: sign * buffers[mean].astype(np.float64) ** 2 for name, mean in around.items()}
    return {name: array + squares[name] if name in squares else array for name, array in buffers.items()}


def _anew(site: Site, x: Array) -> dict[str, Array]:
    """A worker's own buffers, with statistics of its rows at x where it has any. Not collective."""
    loss = site.loss
    if not offers(loss, Settling) or loss.rows < 2:  # of one row there is no variance
        return held(loss)
    return loss.settled(x, np.arange(min(loss.rows, SETTLING)))
