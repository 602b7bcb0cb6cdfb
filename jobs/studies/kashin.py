"""Kashin coefficients bound the variance of coarse rounding, whatever the input and the dimension; and what no bits can beat.

After Safaryan, Shulgin, Richtarik, Uncertainty principle for communication compression in distributed and federated learning
and the search for an optimal compressor, 2021, and Lyubarskii, Vershynin, Uncertainty principles and vector quantization, 2010.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor, Stream
from mpiopt.compress.kashin import Frame, Orthogonal, RandomHadamard, democratic
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal, Near
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.numerics.streams import Streams

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM = 256
DRAWS = 200  # encodings of each vector
ETA, SUPPORT = 0.7, 0.5
DIMS, SHORT = (1024, 4096), (512,)
MARKS = "sD^v<>Pph*Xd"

LABELS = {"gaussian": "Gaussian", "one-hot": "one-hot", "cauchy": "Cauchy", "adversarial": "column of the frame"}
KASHIN = [f"kashin:bits={bits},frame={frame}" for frame in ("orthogonal", "hadamard") for bits in (1, 2, 3, 4)]
OTHERS = [
    "qsgd:bits=2",
    "qsgd:bits=4",
    "qsgd:bits=8",
    "terngrad",
    "natural",
    "natural_dithering:levels=4",
    "randk:0.1",
    "randk:0.3",
]
BIASED = ["topk:0.1", "topk:0.2", "scaled_sign", "two_means"]


class Distortion(NamedTuple):
    """What a compressor does to a vector: bits a coordinate, of its real payload, and E |C(x) - x|^2 / |x|^2."""

    name: str
    bits: float
    variance: float
    unbiased: bool

    @property
    def alpha(self) -> float:
        """The same once an unbiased one is divided by 1 + omega: what the uncertainty principle is about."""
        return self.variance / (1 + self.variance) if self.unbiased else self.variance


def vectors() -> dict[str, np.ndarray]:
    """Inputs (DIM,) of length 1."""
    column = Orthogonal(DIM, 2 * DIM).synthesise(np.eye(2 * DIM)[:, :1])[:, 0]
    found = {"one-hot": np.eye(DIM)[DIM // 3], "cauchy": Streams(0)("cauchy").standard_cauchy(DIM), "adversarial": column}
    return {"gaussian": gaussian(DIM)} | {name: _unit(x) for name, x in found.items()}


def gaussian(dim: int) -> np.ndarray:
    """A random direction (dim,)."""
    return _unit(Streams(0)("gaussian", dim).standard_normal(dim))


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x)).astype(np.float32)


def measured(text: str, x: np.ndarray, draws: int) -> Distortion:
    """The mean over ``draws`` encodings, every frame and rounding drawn anew."""
    c = find(text)
    assert isinstance(c, Compressor)
    squares, size = [], 0
    for number in range(draws):
        stream = Stream.of(Streams(number), "kashin study")
        payload = c.encode(x, stream)
        size = payload.nbytes
        squares.append(((c.decode(payload, x, stream) - x) ** 2).sum())
    return Distortion(text, 8 * size / x.size, float(np.mean(squares) / (x @ x)), c.unbiased)


def spread(frame: Frame, x: np.ndarray, rounds: int = 30) -> float:
    """|a|_inf sqrt(D) / |x| of the coefficients of x (n,) after some rounds of clipping; plain ones for 0."""
    a = democratic(frame, x[:, None], ETA, SUPPORT, rounds)[:, 0]
    return float(abs(a).max() * np.sqrt(frame.big) / np.linalg.norm(x))


def run(lab: Lab) -> Findings:
    """Collective: rank 0 measures."""
    found = _found(lab) if lab.world.rank == 0 else None
    losses, growth = lab.world.tell(found)
    plain, clipped, against, cured = _spreads()
    dims = lab.pick(DIMS, SHORT)
    one = {name: losses["kashin:bits=1,frame=orthogonal", name].variance for name in ("gaussian", "one-hot", "cauchy")}
    checks = [
        Check("one-hot, K of plain coefficients", Near(3.05, 1.25), plain),
        Check("one-hot, K of Kashin's", Near(2.5, 1.25), clipped),
        Check("column of the frame, K of plain coefficients", Equal(16, 1e-9), against),
        Check("column of the frame, K of Kashin's", Near(4, 1.25), cured),
        *(Check(f"omega, 1 bit, redundancy 2: {LABELS[name]}", Near(3.1, 1.25), value) for name, value in one.items()),
        *(Check(f"omega, {d} over {DIM} coordinates: Kashin", Below(1.5, 1), growth["kashin", d]) for d in dims),
        *(Check(f"omega, {d} over {DIM} coordinates: QSGD", Near((d / DIM) ** 0.5, 1.2), growth["qsgd", d]) for d in dims),
        Check("all on Gaussian x: least alpha 4^(bits/d)", Above(1), _least(losses)),
    ]
    return Findings(checks, [], NOTES, {"losses": losses, "growth": growth})


def _found(lab: Lab) -> tuple[dict[tuple[str, str], Distortion], dict[tuple[str, int], float]]:
    draws, dims, inputs = lab.pick(DRAWS, 20), lab.pick(DIMS, SHORT), vectors()
    losses = {
        (text, name): measured(text, x, draws if text not in BIASED else 1)
        for text in [*KASHIN, *OTHERS, *BIASED]
        for name, x in inputs.items()
    }
    growth: dict[tuple[str, int], float] = {}
    for name, text in (("kashin", "kashin:bits=1,bucket=0"), ("qsgd", "qsgd:bits=2,bucket=0")):
        base, *others = (measured(text, gaussian(d), draws // 2).variance for d in (DIM, *dims))
        growth |= {(name, d): value / base for d, value in zip(dims, others, strict=True)}
    return losses, growth


def _spreads() -> tuple[float, float, float, float]:
    frame, hadamard = Orthogonal(DIM, 2 * DIM), RandomHadamard(DIM, 2 * DIM, 0)
    x, bad = np.eye(DIM)[DIM // 3], hadamard.synthesise(np.eye(2 * DIM)[:, :1].copy())[:, 0]
    return spread(frame, x, 0), spread(frame, x), spread(hadamard, bad, 0), spread(hadamard, bad)


def _least(losses: dict[tuple[str, str], Distortion]) -> float:
    return min(loss.alpha * 4**loss.bits for (_, name), loss in losses.items() if name == "gaussian")


NOTES = (
    f"d = {DIM}, float32; omega = E |C(x) - x|^2 / |x|^2 over {DRAWS} draws. K = |a|_inf sqrt(D) / |x|, D = 2 d coefficients, "
    f"(eta, delta) = ({ETA}, {SUPPORT}). 1 bit a coefficient is 2 a coordinate and a scale. alpha: omega / (1 + omega) where "
    "unbiased, else |C(x) - x|^2 / |x|^2: no compressor into b bits for d coordinates has alpha 4^(b/d) < 1 for all x, nor in "
    "the mean over Gaussian x. QSGD: one level, whose variance grows with the root of d. In the picture 0 is drawn at 1e-6."
)


def draw(found: Findings) -> "Figure":
    """Variance against bits, one panel for each kind of input, with the lower bound."""
    from mpiopt.jobs.studies.apparatus.canvas import COLOURS, curve, legend, logarithmic, sheet

    losses = found.facts["losses"]
    with sheet(len(LABELS), width=3.9, height=4.0) as (figure, (panels,)):
        for panel, (kind, label) in zip(panels, LABELS.items(), strict=True):
            bits = np.linspace(0.1, 10, 100)
            curve(panel, bits, 4**-bits, 6, "lower bound for the worst x", linestyle=":")
            for number, frame in enumerate(("orthogonal", "hadamard")):
                mine = [loss for (text, x), loss in losses.items() if x == kind and frame in text]
                curve(
                    panel,
                    [loss.bits for loss in mine],
                    [max(loss.alpha, 1e-6) for loss in mine],
                    number,
                    f"Kashin, {frame}",
                    marker="o",
                )
            for number, text in enumerate([*OTHERS, *BIASED]):
                loss = losses[text, kind]
                panel.plot(
                    loss.bits,
                    max(loss.alpha, 1e-6),
                    MARKS[number % len(MARKS)],
                    color=COLOURS[2 + number % 5],
                    label=text.replace("levels=", ""),
                    linestyle="none",
                )
            logarithmic(panel, 1e-6)
            panel.set(title=label, xlabel="bits a coordinate", xlim=(0, 12), ylim=(5e-7, 2))
        panels[0].set_ylabel("alpha")
        legend(figure, panels[0], 5)
        return figure
