"""Two modules of torch against each other: one makes pictures out of noise, the other tells them from real ones.

    F(x, y) = (slope by x of mean -log D_y(G_x(noise_i)),   slope by y of mean -log D_y(real_i) - log(1 - D_y(G_x(noise_i))))

D is the judge's output through a logistic function. The generator climbs log D where `problems.gan` descends log(1 - D), which
is flat as long as the judge is sure: so this is a variational inequality, and not the game of one function. Goodfellow,
Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, Generative adversarial nets, NIPS 2014, section 3.
"""

from collections.abc import Callable
from math import inf
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.operators import Rowed
from mpiopt.problems.problem import Point
from mpiopt.problems.torch_draws import drawing
from mpiopt.training.torch.library import Module, Tensor, torch_module
from mpiopt.training.torch.memory import demand_one_kind, joined

CHUNK = 512  # rows that go through the modules at once


class TorchAdversaries(Rowed):
    """The operator of rows (real_i, noise_i), of pictures (rows, *shape) and numbers (rows, k), in float32.

    generator, judge : build the modules, noise (b, k) -> pictures (b, *shape), and pictures -> (b, 1) or (b,); what they draw
    follows from ``seed``. z (dim,) is the generator's parameters and then the judge's. Modules that keep anything else, such as
    running statistics, raise UsageError; as do trainable parameters of several types, and as many noises as there are no rows.
    """

    lipschitz: ClassVar[float] = inf

    def __init__(
        self, generator: Callable[[], Module], judge: Callable[[], Module], real: Array, noise: Array, seed: int = 0
    ) -> None:
        self._torch = torch_module()
        if len(real) != len(noise):
            raise UsageError(f"there are {len(real):,} pictures and {len(noise):,} rows of noise: give as many")
        with drawing(self._torch, seed):
            self._made, self._judging = generator(), judge()
        self._real, self._noise = (self._torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (real, noise))
        self._own = list(self._made.parameters())
        self._parameters = [*self._own, *self._judging.parameters()]
        demand_one_kind(self._parameters)
        if kept := [name for module in (self._made, self._judging) for name, _ in module.named_buffers()]:
            raise UsageError(f"modules of a game keep nothing but parameters, and these keep {kept[0]}: leave that out")
        flat = joined(self._torch, self._parameters)
        parts = flat.split([p.numel() for p in self._parameters])
        for p, part in zip(self._parameters, parts, strict=True):
            p.data = part.view(p.shape)
        self._z = flat.numpy()
        self.start = self._z.astype(np.float64)

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Rows of this worker."""
        return len(self._real)

    @property
    def first(self) -> int:
        """The generator's parameters."""
        return sum(p.numel() for p in self._own)

    @property
    def dim(self) -> int:
        """Those of both."""
        return self._z.size

    def field(self, at: Point, rows: Array | None = None) -> Array:
        """See `Operator.field`."""
        self._z[:] = at.x
        picked = np.arange(self.rows) if rows is None else np.asarray(rows)
        total = np.zeros(self.dim, np.float32)
        for lo in range(0, len(picked), CHUNK):
            part = picked[lo : lo + CHUNK]
            total += np.float32(len(part) / len(picked)) * self._slopes(self._torch.from_numpy(part))
        return total.astype(at.x.dtype)

    def _slopes(self, rows: Tensor) -> Array:
        """F over a chunk, (dim,)."""
        torch, softplus = self._torch, self._torch.nn.functional.softplus
        false = self._judging(self._made(self._noise[rows]))
        true = self._judging(self._real[rows])
        made = torch.autograd.grad(softplus(-false).mean(), self._own, retain_graph=True)
        judged = torch.autograd.grad((softplus(-true) + softplus(false)).mean(), self._parameters[len(self._own) :])
        return torch.cat([g.reshape(-1) for g in (*made, *judged)]).numpy()

    def generated(self, z: Array, noise: Array) -> Array:
        """Pictures (n, *shape) of the generator of z (dim,) from noise (n, k)."""
        self._z[:] = z
        with self._torch.inference_mode():
            return self._made(self._torch.from_numpy(np.ascontiguousarray(noise, np.float32))).numpy()


def picture_modules(side: int, noise: int, channels: int = 16) -> tuple[Callable[[], Module], Callable[[], Module]]:
    """What builds a generator and a judge of grey pictures of ``side`` x ``side`` pixels from 0 to 1, ``side`` a multiple of 4.

    Two strided convolutions each. After Radford, Metz, Chintala, Unsupervised representation learning with deep convolutional
    generative adversarial networks, ICLR 2016, without its normalisation of batches.
    """
    nn, quarter = torch_module().nn, side // 4

    def generator() -> Module:
        return nn.Sequential(
            nn.Linear(noise, 2 * channels * quarter * quarter),
            nn.ReLU(),
            nn.Unflatten(1, (2 * channels, quarter, quarter)),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, 2, 1),
            nn.Sigmoid(),
            nn.Flatten(1, 2),
        )

    def judge() -> Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, side)),
            nn.Conv2d(1, channels, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * channels * quarter * quarter, 1),
        )

    return generator, judge
