"""What only some losses have beside what `problems.protocols` asks for, and training makes use of where it is there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mpiopt.arrays import Array
from mpiopt.problems.protocols import Blocks, Loss, Owned


class Kept(Loss, Protocol):
    """A loss that keeps something beside x, such as running statistics."""

    @property
    def buffers(self) -> Mapping[str, Array]:
        """Copies of it, by name."""


class Settling(Kept, Protocol):
    """A loss whose buffers can be put back, and taken anew at an average of points."""

    @property
    def around(self) -> Mapping[str, str]:
        """For each variance among the buffers the mean that it is about."""

    def restore(self, buffers: Mapping[str, Array]) -> None:
        """Keep these."""

    def settled(self, x: Array, rows: Array | None = None) -> dict[str, Array]:
        """The buffers with statistics of ``rows`` at x."""


class Seated(Loss, Protocol):
    """A loss with a memory of its own, in which its worker moves."""

    @property
    def x(self) -> Array:
        """The memory, (dim,)."""


class Drawing(Loss, Protocol):
    """A loss that draws at random, such as dropout."""

    def reseed(self, stream: Any) -> None:
        """Let what the next gradient draws follow from a stream."""


class Subnetwork(NamedTuple):
    """A network of some of the neurons of another, and where its x lies in that of the whole."""

    loss: Any
    places: Array  # (dim of the part,) int64, in the memory of the CPU
    returned: Callable[[], None]  # puts what it keeps beside x, such as running statistics, back into the whole


class Divisible(Loss, Protocol):
    """A network whose hidden layers can be divided."""

    @property
    def hidden(self) -> Sequence[int]:
        """Neurons of each of these layers."""

    def part(self, kept: Sequence[Array], gain: float) -> Subnetwork:
        """The network of some neurons of each hidden layer, all inputs and outputs.

        What a hidden layer gives is multiplied by ``gain``, one over the share of its neurons that are kept, as with dropout,
        so that the whole network may be used as it is.
        """


class Keyed(Loss, Protocol):
    """A model whose parts have other names outside."""

    @property
    def keys(self) -> Mapping[str, str]:
        """By the name outside, the block or buffer."""


class Inspected(Loss, Protocol):
    """A loss that can say which of its rows are no numbers."""

    def flawed(self) -> int | None:
        """The first of them; None where there are none."""


class Examined(Loss, Protocol):
    """A loss that can say what is wrong with what was given beside its rows."""

    def unsound(self) -> str:
        """In words, "" for nothing."""


class Formed(Loss, Protocol):
    """A model that can be told from others."""

    @property
    def form(self) -> str:
        """What it is, in words that are the same on every rank."""


class Holding(Loss, Protocol):
    """A model whose rows can be looked at."""

    @property
    def data(self) -> Any:
        """The rows."""


class Stacked(Holding, Blocks, Protocol):
    """A network of dense layers, each fed by the one before it alone."""

    @property
    def widths(self) -> Sequence[int]:
        """Features, neurons of every hidden layer, outputs."""

    @property
    def activation(self) -> Any:
        """What hidden layers end in."""

    @property
    def head(self) -> Any:
        """The loss of the outputs."""


class Graded(Owned, Protocol):
    """A problem that knows how steep each of its rows can be."""

    @property
    def row_lipschitz(self) -> Array:
        """By how much at most the gradient, or the operator, of each row stretches distances, (rows,)."""
