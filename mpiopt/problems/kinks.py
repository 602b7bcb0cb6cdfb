"""What is not smooth in a penalty, by coordinates or by groups, as models of second order keep it."""

from typing import cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError
from mpiopt.kernels.kinked import Kinks, minimised
from mpiopt.kernels.knotted import Knots
from mpiopt.problems.columns import working_groups, working_set
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.penalties import ElasticNet, Kinked
from mpiopt.problems.protocols import Penalty


def demand_kinks(name: str, penalty: Penalty, most: int) -> None:
    """Raise CapabilityError, in the name of a method, where coefficients are tied together in another way than by groups, or by
    more than ``most`` in one. Not collective."""
    if not isinstance(penalty, Kinked | GroupLasso):
        raise CapabilityError(
            f"{name} takes penalties that are separate in the coefficients or in groups of them, and a "
            f"{type(penalty).__name__} is not: use `method=prox_gradient`"
        )
    if (largest := largest_group(penalty)) > most:
        raise CapabilityError(
            f"{name} sums the Hessian of at most {most:,} features, and there is a group of {largest:,}: use `method=fista`"
        )


def kinks_of(penalty: Penalty, dim: int) -> Kinks | Knots:
    """Those in ``dim`` coordinates, of a penalty that has such."""
    if isinstance(penalty, GroupLasso):
        return penalty.knots(dim)
    return cast(Kinked, penalty).kinks(dim)


def open_in(penalty: Penalty, x: Array) -> Array:
    """Mask (dim,) of the coordinates of x in whose neighbourhood all is smooth."""
    return penalty.support(x) if isinstance(penalty, ElasticNet) else kinks_of(penalty, x.size).open(x)


def bends_of(penalty: Penalty, where: Array, part: Penalty, dim: int) -> tuple[Kinks | Knots, Array]:
    """The kinks in the coordinates ``where`` (k,) of ``dim``, and the second derivatives of the rest there, (k,).

    part : the penalty on these coordinates, where they are not tied together.
    """
    if isinstance(penalty, GroupLasso):
        return penalty.knots(dim).at(where), penalty.grad(np.ones(dim))[where]
    return kinks_of(part, where.size), part.grad(np.ones(where.size))


def lowest(h: Array, slope: Array, kinks: Kinks | Knots, x: Array, settled: float) -> Array:
    """The minimiser (n,) of slope.(v - x) + (v - x).H (v - x) / 2 and what has the kinks. Bits are the same on every CPU.

    settled : as of `kernels.kinked.minimised`, of coordinates alone.
    """
    if isinstance(kinks, Kinks):
        return minimised(h, slope, kinks, x, settled=settled)
    return kinks.minimised(h, slope, x)


def largest_group(penalty: Penalty) -> int:
    """How many features go together at most."""
    return int(penalty.sizes.max()) if isinstance(penalty, GroupLasso) else 1


def worst(penalty: Penalty, held: Array, score: Array, most: int) -> Array:
    """What is ``held`` (n,) bool, and up to ``most`` others of the largest score, whole groups where there are such: (k,)."""
    if isinstance(penalty, GroupLasso):
        return working_groups(held, score, penalty.groups, most)
    return working_set(held, score, most)
