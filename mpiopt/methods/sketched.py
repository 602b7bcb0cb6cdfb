"""Training of models that bear being sparsified: gradients where random masks S show the point, f(v + S (x - v)).

mast       SketchedGradient -> Slices                    the rule
mast_vr    SketchedDifference -> Anchored(Slices)        the rule

``sketch`` describes the masks: randk:0.5, block:0.5, permk, bernoulli:0.5, parts:4; see `mpiopt.compress.masks`.
"""

from typing import Literal

from mpiopt.compress.masks import Parts, mask
from mpiopt.engine.phase import Phase
from mpiopt.exchange.slices import Anchored, Slices
from mpiopt.methods.entry import Entry
from mpiopt.numerics.schedules import demand
from mpiopt.outer.descend import Descend
from mpiopt.sampling.coin import Coin
from mpiopt.training.method import Training
from mpiopt.transforms.transform import Transform
from mpiopt.work.sketched import SketchedDifference, SketchedGradient

Shift = Literal["zero", "start"]


def mast(rule: Transform, sketch: str = "randk:0.5", shift: Shift = "zero") -> Training:
    """MAST: every worker sees its own random part of the point, and says the gradient there; sparse messages.

    shift : what is seen of the other coordinates, 0 or where the run starts (give it a trained solution).
    """
    law = mask(sketch)
    return Training(None, (Phase(SketchedGradient(law, started(shift)), Slices(law)),), Descend(rule))


def mast_vr(rule: Transform, parts: int = 2, probability: float | None = None, shift: Shift = "zero") -> Training:
    """MAST with variance reduction (L-SVRDSG): masks of ``parts`` parts, and an anchor renewed with a probability.

    probability : of a whole gradient, 1 / parts unless given. shift : as of mast. Exact: no neighbourhood is left.
    """
    law = Parts(parts)
    coin = Coin(1 / parts if probability is None else probability)
    work = SketchedDifference(law, coin, started(shift))
    return Training(None, (Phase(work, Anchored(Slices(law), coin)),), Descend(rule))


def started(shift: str) -> bool:
    """Whether masks are about the start of the run. Raises UsageError for another word than zero and start."""
    demand(shift in ("zero", "start"), "`shift`", shift, "zero or start")
    return shift == "start"


MAST = "Demidovich, Malinovsky, Shulgin, Richtarik, MAST: model-agnostic sparsified training, ICLR 2025"
ENTRIES = (Entry(mast, MAST), Entry(mast_vr, MAST))
