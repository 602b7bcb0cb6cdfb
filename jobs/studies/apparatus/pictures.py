"""A generator of pictures against a judge, trained by methods of games at equal numbers of gradients: what they come to.

Two figures of a generator's pictures. apart : the Frechet distance between normal laws, that of real held-out pictures and that
of generated ones, in the first principal coordinates of real ones; Dowson, Landau, The Frechet distance between multivariate
normal distributions, 1982. found : classes of which a fiftieth of the pictures is, the class of each being that of the nearest
real one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from math import inf
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.engine.phase import Local, Phase
from mpiopt.errors import NumericalError, UsageError
from mpiopt.exchange.mean import Mean
from mpiopt.io.dataset.dense import open_dense
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.methods.games import extragradient, simultaneous
from mpiopt.numerics.streams import Streams
from mpiopt.outer.descend import Descend
from mpiopt.playing.drive import Settled, play
from mpiopt.playing.method import Playing
from mpiopt.problems.operators import Operator
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Message, Point, Site, Team
from mpiopt.sampling.laws import Draws, Nice
from mpiopt.training.torch.adversaries import TorchAdversaries, picture_modules
from mpiopt.transforms import rules
from mpiopt.transforms.transform import State, Transform
from mpiopt.work.field import Field, looked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, HELD, MADE, NOISE, BATCH = 2048, 2048, 1024, 32, 64  # pictures to learn from, to be examined by, and made; numbers; rows
COORDINATES, LOOKS, SEEN = 32, 4, 8
SEEDS, GRADIENTS, MOMENTUM = 3, 400, 0.5
FEW = 0.02


class GameWay(NamedTuple):
    """A method by its step, the gradients of a round, and the steps that it may have."""

    make: Callable[[float], Playing]
    gradients: int
    steps: tuple[float, ...]


class Foreseen(NamedTuple):
    """As `work.field.Paced`, with what the rule of the look ahead keeps."""

    step: float = 0.0
    fields: int = 0
    rows: int = 0
    rule: State = ()

    def after(self, rows: int) -> "Foreseen":
        """One field later."""
        return self._replace(fields=self.fields + 1, rows=self.rows + rows)


@dataclass(frozen=True)
class Foreseeing(Field):
    """F_w where the rule leads from the point, by what was agreed last; of the same sample."""

    rule: Transform = dataclass_field(default_factory=rules.adam)

    def init(self, x: np.ndarray, site: Site[Operator]) -> Foreseen:  # type: ignore[override]
        """Before the first."""
        return Foreseen(rule=self.rule.init(x))

    def __call__(self, at: Point, agreed: Any, state: Any, here: Local[Operator]) -> tuple[Point, Message, Any]:
        """Not collective."""
        look = at.x.copy()
        kept = self.rule.move(agreed.vector.copy(), look, state.rule, here.round)
        f, state = looked(look, here.round, state._replace(rule=kept), here.site)
        return at, Message(f, np.zeros(0)), state


def adam(step: float) -> Playing:
    """Both players' simultaneous gradients, each coordinate by Adam with the momentum that such networks are trained with."""
    return Playing(None, simultaneous(1.0).phases, Descend(rules.adam(step, b1=MOMENTUM)), gamma=1.0)


def extra_adam(step: float) -> Playing:
    """Extragradient whose halves are both steps of Adam, as in Gidel, Berard, Vignoud, Vincent, Lacoste-Julien, A variational
    inequality perspective on generative adversarial networks, ICLR 2019; here each half has means of its own, which is ours."""
    rule = rules.adam(step, b1=MOMENTUM)
    return Playing(None, (Phase(Field(), Mean()), Phase(Foreseeing(rule=rule), Mean())), Descend(rule), gamma=1.0)


WAYS: Mapping[str, GameWay] = {
    "simultaneous": GameWay(simultaneous, 1, (0.02,)),
    "extragradient": GameWay(extragradient, 2, (0.02,)),
    "Adam": GameWay(adam, 1, (1e-3, 3e-3)),
    "extragradient, Adam": GameWay(extra_adam, 2, (1e-3, 3e-3)),
}


class Generated(NamedTuple):
    """What became of a training. gradients : at which it was looked at; apart, found : there; seen : pictures at the end."""

    way: str
    step: float
    seed: int
    gradients: list[int]
    apart: list[float]
    found: list[int]
    seen: np.ndarray


class Gallery:
    """Real pictures, grey from 0 to 1, and what generated ones are held against."""

    def __init__(self, lab: Lab) -> None:
        source = open_dense(str(lab.data), lab.world)
        if len(source.shape) != 2 or source.shape[0] != source.shape[1] or source.shape[0] % 4 or source.rows < REAL + HELD:
            raise UsageError(
                f"{lab.data} has {source.rows:,} rows of {source.item.text()}: networks that draw ask for {REAL + HELD:,} "
                "grey square pictures or more, their sides multiples of 4, such as MNIST"
            )
        x, y = source.read(0, REAL + HELD)
        x = (x - x.min()) / (x.max() - x.min())
        self.real, self.held, self.classes = x[:REAL], x[REAL:].reshape(HELD, -1), y[REAL:]
        flat = self.real.reshape(REAL, -1)
        self.axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][:COORDINATES].T
        self.law = self._law(self.held)

    def _law(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = pictures.reshape(len(pictures), -1) @ self.axes
        return at.mean(axis=0), np.cov(at, rowvar=False)

    def apart(self, pictures: np.ndarray) -> float:
        """See the head of this file."""
        return frechet(*self._law(pictures), *self.law) if np.isfinite(pictures).all() else inf

    def found(self, pictures: np.ndarray) -> int:
        """See the head of this file."""
        if not np.isfinite(pictures).all():
            return 0
        flat = pictures.reshape(len(pictures), -1)
        nearest = ((self.held**2).sum(axis=1) - 2 * flat @ self.held.T).argmin(axis=1)
        return int((np.bincount(self.classes[nearest]) >= FEW * len(flat)).sum())


def frechet(mean: np.ndarray, spread: np.ndarray, other: np.ndarray, beside: np.ndarray) -> float:
    """|m - n|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)) of normal laws with these means (d,) and covariances (d, d)."""
    values, axes = np.linalg.eigh(spread)
    root = axes * np.sqrt(np.maximum(values, 0)) @ axes.T
    between = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ beside @ root), 0)).sum()
    return float(((mean - other) ** 2).sum() + np.trace(spread) + np.trace(beside) - 2 * between)


def drawn(lab: Lab, gradients: int = GRADIENTS, seeds: int = SEEDS) -> tuple[list[Generated], float]:
    """All ways with all seeds, each with the step that brings its first seed nearest; and how far apart real pictures are.

    The ranks share the trainings out. Collective. Raises UsageError for other data than grey square pictures.
    """
    gallery = Gallery(lab)

    def trained(one: World, task: tuple[str, float, int]) -> Generated:
        return _trained(lab, one, gallery, *task, gradients)

    tried = lab.shared([(name, step, 0) for name, way in WAYS.items() for step in way.steps], trained)
    best = {name: min((one for one in tried if one.way == name), key=lambda one: one.apart[-1]) for name in WAYS}
    more = [(name, one.step, seed) for name, one in best.items() for seed in range(1, seeds)]
    found = [*best.values(), *lab.shared(more, trained)]
    return sorted(found, key=lambda one: [*WAYS].index(one.way)), gallery.apart(gallery.real[:MADE])


def _trained(lab: Lab, one: World, gallery: Gallery, name: str, step: float, seed: int, gradients: int) -> Generated:
    """One training, on one worker; what diverges is infinitely far apart and finds nothing."""
    lab.console.phase = f"drawing by {name} with {step:g}, seed {seed}"
    way, stream = WAYS[name], Streams(seed)
    noise = stream("noise").standard_normal((REAL, NOISE)).astype(np.float32)
    fresh = stream("examined").standard_normal((MADE, NOISE)).astype(np.float32)
    game = TorchAdversaries(*picture_modules(gallery.real.shape[1], NOISE), gallery.real, noise, seed)
    team = Team.of(one, [game], Zero(), seed, [Draws(Nice(REAL, BATCH), stream, 0)])
    looks = _looks(way.make(step), team, game.start, gradients // way.gradients)
    pictures = [game.generated(x, fresh) for x in looks.values()]
    apart, found = [gallery.apart(each) for each in pictures], [gallery.found(each) for each in pictures]
    return Generated(name, step, seed, [way.gradients * k for k in looks], apart, found, pictures[-1][:SEEN])


def _looks(method: Playing, team: Team[Any], start: np.ndarray, rounds: int) -> dict[int, np.ndarray]:
    """The points after some rounds, the last among them; those of what diverges are not finite from there on."""
    every, seen = rounds // LOOKS, {}
    with suppress(NumericalError):
        play(
            method,
            team,
            start,
            Settled(rounds),
            keep=[lambda at, reason: seen.update({at.begun.round: method.answer(at.begun, team).x.copy()})],
            due=lambda k: k % every == 0,
        )
    return {k: seen.get(k, np.full_like(start, np.nan)) for k in range(0, rounds + 1, every)}


def compared(found: Sequence[Generated]) -> list[Check]:
    """With Adam extragradient beside simultaneous gradients, after as many gradients and as many rounds; and plain steps."""
    ends = {name: np.array([one.apart[-1] for one in found if one.way == name]) for name in WAYS}
    half = np.array([one.apart[LOOKS // 2] for one in found if one.way == "Adam"])
    ahead, adam, plain = (ends[name] for name in ("extragradient, Adam", "Adam", "extragradient"))
    far = "pictures: how far from real ones, extragradient over simultaneous"
    return [
        Check.over(f"{far}, Adam, as many gradients", Near(1, 2), (ahead / adam).tolist()),
        Check.over(f"{far}, as many rounds", Below(1), (ahead / half).tolist()),
        Check.over("pictures: Adam over plain steps, both extragradient", Below(0.7), (ahead / plain).tolist()),
    ]


def told(found: Sequence[Generated], floor: float) -> str:
    """What the table needs to be understood."""
    ways = ", ".join(
        f"{name} {fmean(one.apart[-1] for one in found if one.way == name):.3g} (step {step:g})"
        for name, step in {one.way: one.step for one in found}.items()
    )
    return (
        f"Pictures: {REAL:,} real ones, two convolutions in either network, {BATCH} rows a step, {found[0].gradients[-1]:,} "
        f"gradients for each, so that extragradient has half the rounds; of the steps of a small grid the best with the first "
        f"seed. How far from real ones, the Frechet distance in {COORDINATES} principal coordinates: {ways}; real ones among "
        f"themselves {floor:.2g}. Published: sooner there by passes over the data, which are rounds here, less so by gradients."
    )


def shown_in(curves: "Axes", album: "Axes", found: Sequence[Generated]) -> None:
    """Distances against gradients, all seeds within the bands; and a few pictures of the first seed."""
    from mpiopt.jobs.studies.apparatus.canvas import band, logarithmic

    for number, name in enumerate(WAYS):
        runs = [one for one in found if one.way == name]
        band(curves, runs[0].gradients, [one.apart for one in runs], number, name, marker="o", markersize=3)
    logarithmic(curves)
    curves.set(xlabel="gradients", ylabel="Frechet distance from real ones", title="Pictures")
    curves.legend(frameon=False)
    first = [next(one for one in found if one.way == name) for name in WAYS]
    album.imshow(np.vstack([np.hstack(list(np.nan_to_num(one.seen))) for one in first]), cmap="gray_r", vmin=0, vmax=1)
    height = first[0].seen.shape[1]
    album.set_yticks([(k + 0.5) * height for k in range(len(first))], [one.way for one in first])
    album.set_xticks([])
    album.grid(visible=False)
    album.set_title("drawn at the end")
