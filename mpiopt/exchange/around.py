"""What exchanges around another have in common: they ask what that asks."""

from mpiopt.arrays import Array
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.graphs.mixing import Spectrum
from mpiopt.problems.problem import Team


class Around(Exchange):
    """An exchange around ``inner``, which keeps what that does unless it says otherwise."""

    inner: Exchange

    @property
    def needs(self) -> type:
        """What ``inner`` does."""
        return self.inner.needs

    @property
    def needs_all(self) -> bool:
        """Where ``inner`` does."""
        return self.inner.needs_all

    def init(self, x: Array, team: Team) -> Tree:
        """The state of ``inner``. Collective where that is."""
        return self.inner.init(x, team)

    def spectrum(self, dim: int, workers: int) -> Spectrum:
        """That of ``inner``."""
        return self.inner.spectrum(dim, workers)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """What ``inner`` sends."""
        return self.inner.traffic(shape, here)
