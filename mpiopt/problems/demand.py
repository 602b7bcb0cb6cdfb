"""What a method asks of the losses of a team, held against them once, at its start."""

from collections.abc import Iterable
from typing import Protocol

from mpiopt.errors import CapabilityError
from mpiopt.problems.protocols import Blocks, Columns, Conjugate, Curvature, Loss, Margins, Owned, Trainable, lacking

INSTEAD: dict[type, str] = {
    Owned: "a method that minimises, such as spcg, lbfgs or local_sgd",
    Loss: "a loss that has them; games are played by extragradient and its kin",
    Curvature: "gradient, nesterov or lbfgs by mpiopt.engine.drive.solve, which asks for no more than a value and a gradient",
    Margins: "mpiopt.engine.drive.solve, which makes margins of any loss, or mpiopt.problems.lifted.lifted",
    Conjugate: "spcg, dane or lbfgs",
    Blocks: "another compressor, such as topk or qsgd",
    Columns: "prox_gradient, or fista without an active set",
    Trainable: "a method of mpiopt.engine.drive.solve such as lbfgs",
}


def instead(kind: type) -> str:
    """What to use where a capability, or one made of it elsewhere, is lacking."""
    return next(INSTEAD[base] for base in kind.__mro__ if base in INSTEAD)


class Asking(Protocol):
    """What asks something of a loss: a block of a method, or a whole one."""

    @property
    def needs(self) -> type:
        """One of the capabilities of `problems.protocols`."""


def demand(name: str, losses: Iterable[object], blocks: Iterable[Asking]) -> None:
    """Raises CapabilityError where a block of the method ``name`` needs what a loss lacks. Not collective."""
    for loss in losses:
        for block in blocks:
            if missing := lacking(loss, block.needs):
                raise CapabilityError(
                    f"{name} cannot run on {type(loss).__name__}: its {type(block).__name__} needs {', '.join(missing)}, which "
                    f"that does not have; use {instead(block.needs)}"
                )
