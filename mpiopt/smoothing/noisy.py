"""Training rows under noise that is drawn anew for every gradient, from the stream of worker and step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.examples import Dense
from mpiopt.problems.model import Model
from mpiopt.problems.optional import Drawing, Subnetwork
from mpiopt.problems.protocols import offers
from mpiopt.smoothing.laws import NoiseLaw


@dataclass(eq=False)
class NoisyRows:
    """Dense rows of which every look is another: a `Source` and `Flat`. ``stream`` is what the next looks draw from."""

    rows_as_they_are: Dense
    law: NoiseLaw
    stream: np.random.Generator = field(default_factory=lambda: np.random.Generator(np.random.Philox(0)))

    @property
    def rows(self) -> int:
        """See `Source.rows`."""
        return self.rows_as_they_are.rows

    @property
    def features(self) -> int:
        """See `Flat.features`."""
        return self.rows_as_they_are.features

    @property
    def y(self) -> Array:
        """See `Flat.y`."""
        return self.rows_as_they_are.y

    def take(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Source.take`."""
        x, y = self.rows_as_they_are.take(rows, dtype)
        return self.law.shaken(x, self.stream), y

    def flat(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Flat.flat`."""
        x, y = self.take(rows, dtype)
        return x.reshape(len(x), self.features), y

    def flawed(self) -> int | None:
        """See `Source.flawed`."""
        return self.rows_as_they_are.flawed()


class Shaken:
    """``model`` of noisy rows, whose noise follows from what its gradients are to be drawn from; all else is the model's."""

    def __init__(self, model: Model, rows: NoisyRows) -> None:
        self.__dict__.update(model=model, noisy=rows)

    def reseed(self, stream: np.random.Generator) -> None:
        """See `Drawing.reseed`."""
        self.__dict__["noisy"].stream = stream
        if offers(self.__dict__["model"], Drawing):
            self.model.reseed(stream)

    def part(self, kept: Sequence[Array], gain: float) -> Subnetwork:
        """See `Divisible.part`; of the same noisy rows."""
        found = self.model.part(kept, gain)
        return found._replace(loss=Shaken(found.loss, self.__dict__["noisy"]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.model, name, value)
