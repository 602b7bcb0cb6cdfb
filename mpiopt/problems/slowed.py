"""A straggler to order: a model whose gradients take longer, with its worker asleep for the rest."""

import time
from collections.abc import Sequence
from typing import Any

from mpiopt.arrays import Array
from mpiopt.problems.model import Model
from mpiopt.problems.optional import Subnetwork
from mpiopt.problems.problem import Point


class Slowed:
    """``model`` with every gradient ``factor`` times as long; all else is the model's own."""

    def __init__(self, model: Model, factor: float) -> None:
        self.__dict__.update(model=model, factor=factor)

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`."""
        start = time.perf_counter()
        found = self.model.value_grad(at, rows)
        time.sleep((self.factor - 1) * (time.perf_counter() - start))
        return found

    def part(self, kept: Sequence[Array], gain: float) -> Subnetwork:
        """See `Divisible.part`; as slow."""
        found = self.model.part(kept, gain)
        return found._replace(loss=Slowed(found.loss, self.__dict__["factor"]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.model, name, value)
