"""What methods ask of a loss and of a penalty, as types whose attributes are read only.

    Owned        that a worker has a part of the rows, and what it keeps beside a point
    Loss         and a value and its gradient at a point
    Curvature    and products with its Hessian
    Margins      and what is cheap where it is a function of margins that are linear in x: searches along lines and planes
    OfRows       and these are products of known rows
    Conjugate    and coordinate steps on its dual
    Columns      and its rows, or a part of their features alone
    Blocks       a Loss whose x is made of named matrices and vectors
    Trainable    and is one over some of its rows, with a start and a score: what training asks

A block of a method says which of these it ``needs``, and `problems.demand` holds the losses of a team against it at the start.
`problems.several` has losses of several classes, `problems.operators` games; `problems.lifted` makes Margins of any Loss;
`problems.optional` has what some have besides.
"""

from collections.abc import Callable, Sequence
from dataclasses import Field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, TypeGuard, TypeVar

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError

if TYPE_CHECKING:
    from mpiopt.kernels.csr import CSR
    from mpiopt.kernels.device.csr import DeviceCSR
    from mpiopt.losses.family import Family

K = TypeVar("K")


class Point(NamedTuple):
    """A point and what one worker knows about it; the rest travels with x so that no pass is done twice."""

    x: Array  # (dim,)
    margins: Array | None = None  # (margin_count,) linear in x, where the loss is a function of such
    slope: Array | None = None  # (dim,) gradient of this worker's loss at x, where known
    gradient: Array | None = None  # (dim,) gradient of f at x, where agreed
    loss: float | None = None  # this worker's running loss, where it trains

    @property
    def known(self) -> Array:
        """The margins, of a point that a loss of margins has made. Raises CapabilityError where there are none."""
        if self.margins is None:
            raise CapabilityError("the margins of this point are not known: make it by point(x) of a loss that has them")
        return self.margins


class Owned(Protocol):
    """One worker's part of a problem. Not collective, except where said."""

    @property
    def dim(self) -> int:
        """The length of x."""

    @property
    def rows(self) -> int:
        """Rows of this worker."""

    @property
    def weight(self) -> float:
        """Sum of the sample weights of its rows."""

    def point(self, x: Array) -> Point:
        """x with what this loss keeps beside it."""


class Loss(Owned, Protocol):
    """f_w: one worker's mean loss."""

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """f_w(x) and its gradient (dim,), a new array."""


class Curvature(Loss, Protocol):
    """A loss with a Hessian."""

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> H_w(x) v."""

    def diagonal(self, at: Point) -> Array:
        """The diagonal of H_w(x), (dim,)."""


class Margins(Curvature, Protocol):
    """A loss of margins that are linear in x, so that what lies on a line or in a plane costs no pass over the rows."""

    @property
    def convex(self) -> bool:
        """Whether it is known to be convex; bounds of the gap rely on it."""

    @property
    def margin_count(self) -> int:
        """How many margins there are."""

    @property
    def weights(self) -> Array:
        """The sample weights, (rows,), or (0,) where all are 1."""

    @property
    def radius(self) -> float:
        """The longest row of the map from x to the margins."""

    @property
    def lipschitz(self) -> float:
        """What no eigenvalue of a Hessian exceeds; infinity where nothing is known."""

    @property
    def steepest(self) -> float:
        """The largest second derivative in a margin; at the origin, where there is no bound."""

    @property
    def descends(self) -> bool:
        """Whether it is a `Conjugate` whose coordinates can be visited here."""

    def margins(self, x: Array, out: Array | None = None) -> Array:
        """The margins of x, (margin_count,), written over ``out`` where that is given."""

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """Value, gradient (k,) and upper Hessian triangle of c -> f_w(x + sum_k c_k d_k), from the margins of the d_k."""

    def bregman(self, at: Point, margins: Array) -> float:
        """f_w(x') - f_w(x) - grad f_w(x).(x' - x) without cancellation; ``margins`` are those of x'."""

    def head(self, rows: int) -> "Margins":
        """The loss of the first rows."""


class Conjugate(Margins, Protocol):
    """A convex loss, row by row, with its conjugate and coordinate steps on the dual; see `host.dual`."""

    @property
    def family(self) -> "Family":
        """The loss of a row; see `mpiopt.losses.family`."""

    @property
    def y(self) -> Array:
        """The labels, (rows,)."""

    def known(self, at: Point) -> Array:
        """The margins at a point, computed where it does not carry them."""

    def shifted(self, margins: Array) -> Array:
        """What the rows' losses are taken at: margins, with the rows' offsets."""

    def combine(self, r: Array, scale: float = 1.0) -> Array:
        """scale * A^T r, (dim,), A the map from x to the margins."""

    def conjugate(self, at: Point, scale: Array) -> float:
        """Mean of the rows' conjugates at their slopes times ``scale``."""

    def dual_point(self, alpha: Array, q: Array, ridge: float | Array, bias: float) -> Array:
        """The x (dim,) that dual variables (rows,) stand for."""

    def dual_descent(
        self,
        alpha: Array,
        z: Array,
        ridge: float | Array,
        bias: float,
        seed: int,
        epochs: int,
        ratio: float,
        steps: int = 1,
        enough: float = 0.0,
    ) -> Array:
        """Epochs in place on alpha and z, of at most so many steps a row; the duality gap that each met."""

    def demand_descent(self, name: str = "this method") -> None:
        """Raises CapabilityError, in the name of a method, where there is no step for this loss, or not on this device."""


class OfRows(Margins, Protocol):
    """A loss whose margins are the products of known rows with x, one for each row, or with the columns of x, several.

    It is a dataclass with a field ``matrix``.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def features(self) -> int:
        """Columns of its matrix."""

    @property
    def intercept(self) -> bool:
        """Whether there is one more coordinate, the last, for each margin of a row."""

    @property
    def matrix(self) -> "CSR | DeviceCSR":
        """The rows."""


class Columns(Conjugate, OfRows, Protocol):
    """A loss of rows with one margin each: of it a part of features or rows can be looked at alone."""

    @property
    def row_squares(self) -> Array:
        """The rows' squared lengths, (rows,)."""

    def squares(self, h: Array) -> Array:
        """The sum of h_i a_ij^2 over the rows, (dim,)."""

    def triangle(self, at: Point) -> Array:
        """The upper triangle of H_w(x), row by row, (dim (dim + 1) / 2,)."""

    @property
    def row_lipschitz(self) -> Array:
        """What the largest eigenvalue of each row's Hessian does not exceed, (rows,)."""

    def take(self, rows: Array) -> Self:
        """The loss of these rows (k,) alone."""


class Blocks(Loss, Protocol):
    """A loss whose x is made of named matrices and vectors."""

    @property
    def blocks(self) -> Sequence[Any]:
        """The parts of x."""


class Trainable(Blocks, Protocol):
    """A loss over some of its rows, with a start and a score."""

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """The mean loss over ``rows`` (b,), None for all, and its gradient (dim,), a new array."""

    def initial(self, stream: Any) -> Array:
        """A new x (dim,) to start from."""

    def evaluate(self, x: Array, rows: Array | None = None) -> Any:
        """Its score on rows."""


class Penalty(Protocol):
    """A convex function of x, separable over coordinates: a dataclass with a field ``free``. Not collective."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def l2(self) -> float:
        """Its quadratic part, (l2/2)|x|^2 over the penalised coordinates."""

    @property
    def free(self) -> int:
        """Trailing coordinates that are not penalised."""

    @property
    def smooth(self) -> bool:
        """Whether its gradient, which is then ``grad``, exists everywhere."""

    @property
    def grows(self) -> bool:
        """Whether it has a part that grows with every penalised coordinate."""

    def value(self, x: Array) -> float:
        """The penalty at x (dim,)."""

    def grad(self, x: Array) -> Array:
        """The gradient of the quadratic part, (dim,): 0 on the free coordinates."""

    def prox(self, z: Array, step: float) -> Array:
        """argmin_x penalty(x) + |x - z|^2 / (2 step), a new array (dim,)."""

    def residual(self, x: Array, g: Array) -> Array:
        """The shortest element of g + subdifferential(x), (dim,): the gradient of F where the penalty is smooth."""

    def conjugate(self, u: Array) -> float:
        """max over z (dim,) of u.z - penalty(z); infinity where there is none."""


@cache
def members(kind: type) -> tuple[str, ...]:
    """The public names of a capability, in the order in which they are asked for."""
    bases = [base for base in reversed(kind.__mro__) if Owned in base.__mro__]
    return tuple(dict.fromkeys(name for base in bases for name in vars(base) if not name.startswith("_")))


def lacking(loss: object, kind: type) -> list[str]:
    """What a loss does not have of a capability. Nothing is computed."""
    return [name for name in members(kind) if not (hasattr(type(loss), name) or hasattr(loss, name))]


def offers(loss: object, kind: type[K]) -> TypeGuard[K]:
    """Whether a loss has a capability."""
    return not lacking(loss, kind)
