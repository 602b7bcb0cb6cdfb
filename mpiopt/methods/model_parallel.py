"""Layers divided over the workers: what independent subnets avoid.

    model_parallel     every worker owns some neurons of every layer; activations and their slopes are summed in every step

A step is that of ``sgd`` on all workers' minibatches together: their rows go to all, every worker computes its neurons' outputs
of a layer, which are put together by a sum over the workers, and on the way back the slopes by each layer's inputs are another.
What a step sends grows with rows times widths, where that of data-parallel training grows with the parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.blocks import even
from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.methods.entry import Entry
from mpiopt.outer.descend import Stay
from mpiopt.problems.model import split
from mpiopt.problems.optional import Drawing, Stacked
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import offers
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd
from mpiopt.transforms.transform import State, Transform
from mpiopt.work.log import Log


class Layered(NamedTuple):
    """What a worker keeps: its log, and the rule's state of its own neurons' parameters."""

    log: Log
    rule: State


class Apart(NamedTuple):
    """As of `States`, without exchanges and an outer step."""

    works: tuple[PerWorker, ...]


@dataclass(frozen=True)
class ModelParallel(Training):
    """See the head of this file. rule : of every worker's own parameters, coordinate by coordinate."""

    rule: Transform = field(default_factory=sgd, kw_only=True)

    def init(self, x: Array, team: Team[Any]) -> Run:
        """All at x. Collective. Raises CapabilityError on every rank for models that are no perceptrons of float rows."""
        with team.world.together("dividing the layers"):
            if self.rule.shaped:
                raise CapabilityError(
                    f"{self.name} divides every matrix among the workers, and the rule is one of whole matrices or of groups: "
                    "use another, such as `rule=adamw`, without `group`"
                )
            for site in team.sites:
                if not offers(site.loss, Stacked) or not isinstance(x, np.ndarray):
                    raise CapabilityError(
                        f"{self.name} divides the layers of perceptrons, on the CPU: use sgd for other models"
                    )
        states = PerWorker(Layered(Log.blank(), self.rule.init(x[self._own(team, site.worker)])) for site in team.sites)
        return Run(PerWorker(Point(x.copy()) for _ in team.sites), None, Apart((states,)))

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """One."""
        return 1.0

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One. Collective: 2 sums a hidden layer, 1 for the outputs, and the gathering of the rows."""
        logs = [state.log for state in run.states.works[0]]
        counts, (inputs, y, weights) = _rows(team, logs, run.points[0].x)
        mine = [split(at.x, site.loss.blocks) for at, site in zip(run.points, team.sites, strict=True)]
        value, slopes = self._passed(team, mine, inputs, y, weights)
        after = []
        for at, site, state, slope, count in zip(run.points, team.sites, run.states.works[0], slopes, counts, strict=True):
            own = self._own(team, site.worker)
            part = at.x[own]
            rule = self.rule.move(slope[own], part, state.rule, state.log.steps)
            at.x[own] = part
            after.append(Layered(state.log.after(value, count), rule))
        return Run(run.points, None, Apart((PerWorker(after),)), run.round + 1)

    def _passed(
        self, team: Team[Any], mine: Sequence[list[Array]], inputs: Array, y: Array, weights: Array
    ) -> tuple[float, list[Array]]:
        """The weighted loss of the rows, and every hosted worker's gradient, right where its own neurons are. Collective."""
        model, world = team.sites[0].loss, team.world
        widths, through = model.widths, [inputs]
        cuts = [even(width, world.workers) for width in widths]
        for k in range(1, len(widths)):
            parts = []
            for layers, worker in zip(mine, world.hosted, strict=True):
                here, out = slice(*cuts[k][worker : worker + 2]), np.zeros((len(inputs), widths[k]), inputs.dtype)
                out[:, here] = through[-1] @ layers[2 * k - 2][:, here] + layers[2 * k - 1][here]
                parts.append(out)
            through.append(_summed(world, parts, "activations"))
            if k < len(widths) - 1:
                model.activation.apply(through[-1])
        value, d = _slopes(model, through.pop(), y, weights)
        found = [np.zeros_like(layers[0], shape=model.dim) for layers in mine]
        slopes = [split(each, model.blocks) for each in found]
        for k in range(len(widths) - 1, 0, -1):
            below, parts = through.pop(), []
            for layers, slope, worker in zip(mine, slopes, world.hosted, strict=True):
                here = slice(*cuts[k][worker : worker + 2])
                slope[2 * k - 2][:, here], slope[2 * k - 1][here] = below.T @ d[:, here], d[:, here].sum(axis=0)
                parts.append(d[:, here] @ layers[2 * k - 2][:, here].T)
            if k > 1:
                d = _summed(world, parts, "slopes")
                model.activation.pull(d, below)
        return value, found

    def _own(self, team: Team[Any], worker: int) -> np.ndarray:
        """The places of a worker's parameters in x."""
        model, at, places = team.sites[0].loss, 0, []
        for inputs, outputs in pairwise(model.widths):
            lo, hi = even(outputs, team.world.workers)[worker : worker + 2]
            columns = np.arange(lo, hi)
            places += [(at + np.arange(inputs)[:, None] * outputs + columns).ravel(), at + inputs * outputs + columns]
            at += (inputs + 1) * outputs
        return np.concatenate(places)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The whole, from all workers' own. Collective: one vector round."""
        parts = []
        for at, site in zip(run.points, team.sites, strict=True):
            part, own = np.zeros_like(at.x), self._own(team, site.worker)
            part[own] = at.x[own]
            parts.append(part)
        return Point(team.world.sum(parts, "neurons"))


def _rows(team: Team[Any], logs: Sequence[Log], x: Array) -> tuple[list[int], tuple[Array, Array, Array]]:
    """How many rows each hosted worker brings; the rows of all, their classes and weights in the mean. Collective."""
    counts, told = [], []
    for site, log in zip(team.sites, logs, strict=True):
        picked = site.sample(log.steps)
        if offers(site.loss, Drawing):
            site.loss.reseed(site.streams("model", log.steps, site.worker))
        inputs, y = site.loss.data.flat(slice(0, site.loss.rows) if picked is None else picked, x.dtype)
        counts.append(len(y))
        told.append(np.column_stack([inputs, y, np.full(len(y), site.share / max(len(y), 1))]).astype(np.float64))
    rows = np.concatenate(team.world.gather(np.concatenate(told), "rows"))
    return counts, (rows[:, :-2].astype(x.dtype), rows[:, -2].astype(np.int64), rows[:, -1].astype(x.dtype))


def _slopes(model: Stacked, outputs: Array, y: Array, weights: Array) -> tuple[float, Array]:
    """The weighted loss, and the slopes by the outputs: every row for itself, since weights may differ."""
    xp, value = namespace(outputs), 0.0
    for weight in np.unique(weights):
        at = np.flatnonzero(weights == weight)
        part = outputs[at]
        value += float(weight) * float(model.head.value_slopes(part, y[at]))
        outputs[at] = part
    return value, xp.multiply(outputs, weights[:, None])


def _summed(world: Any, parts: Sequence[Array], name: str) -> Array:
    """Arrays (b, width) of all workers, added up. Collective."""
    return world.sum([part.ravel() for part in parts], name).reshape(parts[0].shape)


def model_parallel(rule: Transform) -> ModelParallel:
    """Perceptrons whose layers are divided over the workers: steps of sgd, activations summed in place of gradients."""
    return ModelParallel(None, (), Stay(), rule=rule)


ENTRIES = (
    Entry(model_parallel, "Shoeybi et al., Megatron-LM: training multi-billion parameter models by model parallelism, 2019"),
)
