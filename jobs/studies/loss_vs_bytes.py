"""Loss against bytes: ten ways for workers to agree at equal tokens, each with the best step size of one grid.

A comparison of ours: no accepted benchmark has it. Every method sees the same rows as often, and its step size is chosen among
the same three, by the loss on held-out rows with the first seed; then all run with the seeds of the study. With --data and
--test text and the transformer, or images and the small convolutional network or ResNet-20 (extra: torch); made-up blobs and a
perceptron else. Seconds are
a model: those that the steps took, shared out over the workers, and what a worker sent over the rate of its link.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, short
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.trained import GPT, bytes_of, model_for, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
WORKERS = 4
BASE = 2e-3  # the middle of AdamW's grid
GRID = (1 / 3, 1.0, 3.0)  # of the step size that a method begins from
SYNCHRONOUS = "synchronous AdamW"
RATES = {"100 Mbit/s": 1e8, "10 Gbit/s": 1e10}
H = 48  # steps between agreements on all of the model
SHARE = 1024  # of 4096 that SparseLoCo sends: of the paper's 64 most is still unsent after some twenty agreements

FEWER = {"DiLoCo": 40, "DiLoCo, muon": 40, "Streaming DiLoCo": 100, "SparseLoCo": 100}
QUICK = {"DiLoCo": 10, "Streaming DiLoCo": 20, "SparseLoCo": 100}
WORSE = {"DiLoCo": 0.05, "Streaming DiLoCo": 0.05, "SparseLoCo": 0.05}


class Way(NamedTuple):
    """How workers agree: what differs from the base job, and the middle of the grid as a multiple of the base's step size."""

    more: dict[str, Any]
    middle: float = 1.0


def _period(method: str, period: int, **more: Any) -> dict[str, Any]:
    return {"method": method, "set": (("period", period), *more.items())}


WAYS: Mapping[str, Way] = {
    SYNCHRONOUS: Way({"method": "sgd"}),
    "local SGD": Way(_period("local_sgd", 12)),
    "PowerSGD + EF": Way({"method": "sgd", "compress": "powersgd:rank=2", "error_feedback": True}),
    "top-k + EF": Way({"method": "sgd", "compress": "topk:0.01", "error_feedback": True}),
    "LSGD": Way(_period("lsgd", 12)),
    "EASGD": Way(_period("easgd", 12)),
    "DiLoCo": Way(_period("diloco", H)),
    "DiLoCo, muon": Way(_period("diloco", H) | {"rule": "muon"}, 10.0),
    "Streaming DiLoCo": Way(_period("streaming_diloco", H // 4, fragments=4)),
    "SparseLoCo": Way(_period("sparse_loco", H, k=SHARE)),
}
FEW = (SYNCHRONOUS, "DiLoCo", "Streaming DiLoCo", "SparseLoCo")  # of the short form


class Became(NamedTuple):
    """What became of a way: one line of the table. lr : chosen; losses : on held-out rows, of each seed."""

    name: str
    lr: float
    losses: tuple[float, ...]
    bytes_a_worker: float
    compute: float  # seconds of a worker

    def seconds(self, rate: float) -> float:
        """Modelled, at so many bits a second."""
        return self.compute + 8 * self.bytes_a_worker / rate


def run(lab: Lab) -> Findings:
    """Collective."""
    with lab.crew(WORKERS) as world:
        found = None if world is None else _all(lab, world)
    trails, outcomes = lab.world.tell(found)
    plain = outcomes[0]
    checks = []
    for one in outcomes[1:]:
        checks.append(
            Check(f"{one.name}: times fewer bytes", Above(lab.pick(FEWER, QUICK).get(one.name, 1)), _fewer(plain, one))
        )
        if one.name in WORSE:
            worse = [a - b for a, b in zip(one.losses, plain.losses, strict=True)]
            checks += lab.pick([Check.over(f"{one.name}: loss above synchronous", Below(WORSE[one.name]), worse)], [])
    return Findings(checks, trails, _notes(trails, outcomes), {"outcomes": outcomes})


def _fewer(plain: Became, other: Became) -> float:
    return plain.bytes_a_worker / other.bytes_a_worker


def _all(lab: Lab, world: World) -> tuple[list[Trail], list[Became]]:
    """The runs of the first seed at the step sizes chosen, and what became of all. Collective."""
    model = model_for(lab, world, "mlp:128,64")
    base = Train(
        data=lab.data or "blobs:rows=16000,features=64,classes=10,spread=3.5",
        test=lab.test,
        model=model,
        rule="adamw",
        lr=BASE,
        schedule="cosine",
        warmup=0.2,
        clip=1.0 if model == GPT else None,
        batch=lab.pick(2 if model == GPT else 8, 32),
        epochs=lab.pick(1.0 if model == GPT else 3.0, 1.5),
        record=lab.pick(0.25, 1.0),
        examine=lab.pick(0.5, 1.0),
    )
    trails, outcomes = [], []
    for name in lab.pick(tuple(WAYS), FEW):
        way = WAYS[name]
        rates = [BASE * way.middle * factor for factor in lab.pick(GRID, GRID[1:2])]
        tried = {lr: _one(lab, world, f"{name}, step size {lr:.2g}", replace(base, **way.more, lr=lr)) for lr in rates}
        lr = min(rates, key=lambda lr: loss_of(tried[lr]))
        others = [
            _one(lab, world, f"{name}, seed {seed}", replace(base, **way.more, lr=lr, seed=base.seed + seed))
            for seed in range(1, lab.pick(3, 1))
        ]
        first = replace(tried[lr], name=name)
        trails.append(first)
        losses = tuple(loss_of(trail) for trail in (first, *others))
        seconds = float(first.readings["seconds"][-1]) * world.size / WORKERS
        outcomes.append(Became(name, lr, losses, bytes_of(first) / WORKERS, seconds))
    return trails, outcomes


def _one(lab: Lab, world: World, name: str, job: Train) -> Trail:
    return trained(lab, world, {name: job})[0]


def loss_of(trail: Trail) -> float:
    """On the held-out rows at the end; infinite where that is no number."""
    loss = trail.about["test_loss"]
    return float(loss) if loss is not None and np.isfinite(loss) else float("inf")


def _notes(trails: list[Trail], outcomes: list[Became]) -> str:
    one, seeds = trails[0], len(outcomes[0].losses)
    lines = [
        f"{one.about['dataset']}, {one.about['model']} with {one.about['parameters']:,} parameters, {WORKERS} workers, "
        f"{one.readings['epoch'][-1]:.3g} epochs of {one.about['batch']} rows a step. Held-out loss over {seeds} "
        f"seed{'s' * (seeds > 1)}, bytes that a worker sent, and modelled seconds at {' and '.join(RATES)}:"
    ]
    for own in outcomes:
        spread = f" +- {short(stdev(own.losses))}" if len(own.losses) > 1 else ""
        times = ", ".join(f"{short(own.seconds(rate))} s" for rate in RATES.values())
        lines.append(f"{own.name} (lr {own.lr:.2g}): {fmean(own.losses):.4f}{spread}, {_told(own.bytes_a_worker)}, {times}")
    return "\n".join(lines)


def _told(nbytes: float) -> str:
    return f"{nbytes / 1e6:.3g} MB"


def draw(found: Findings) -> "Figure":
    """Held-out losses on the way, against bytes and against rounds' epochs."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    with sheet(2, width=5.4, height=4.4) as (figure, (panels,)):
        for number, trail in enumerate(found.trails):
            loss = np.array(trail.readings["test_loss"], float)
            at = np.flatnonzero(np.isfinite(loss))[1:]
            kilobytes = trail.readings["bytes_sent"][at] / WORKERS / 1e3
            curve(panels[0], kilobytes, loss[at], number, trail.name, marker="o", markersize=3)
            curve(panels[1], trail.readings["epoch"][at], loss[at], number)
        panels[0].set_xscale("log")
        for panel, unit in zip(panels, ("kilobytes that a worker sent", "epochs"), strict=True):
            panel.set(xlabel=unit, ylabel="loss on held-out rows")
        legend(figure, panels[0], 4)
        return figure
