"""Loss against bytes: ten ways for workers to agree at equal tokens, each with the best step size of one grid.

A comparison of ours: no accepted benchmark has it. Every method sees the same rows as often, and its step size is chosen among
the same three, by the loss on held-out rows with the first seed; then all run with the seeds of the study. Some run once more
with twice as many workers of half as many rows a step, at the step size that was chosen. With --data and --test text and the
transformer, or images and the small convolutional network or ResNet-20 (extra: torch); made-up blobs and a perceptron else.
Seconds are a model: those that the steps took, shared out over the workers, and what a worker sent over the rate of its link.
methods.csv has a line for every method, for others to add theirs to.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, short
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.trained import GPT, bytes_of, model_for, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = TypeVar("Found")

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
    workers: int
    lr: float
    losses: tuple[float, ...]
    bytes_a_worker: float
    compute: float  # seconds of a worker

    @property
    def facts(self) -> dict[str, Any]:
        """As columns of a file."""
        spread = stdev(self.losses) if len(self.losses) > 1 else float("nan")
        way = {"method": self.name, "workers": self.workers, "step size": self.lr}
        figures = {"loss": fmean(self.losses), "deviation": spread, "seeds": len(self.losses), "bytes": self.bytes_a_worker}
        return way | figures | {f"seconds at {name}": self.seconds(rate) for name, rate in RATES.items()}

    def seconds(self, rate: float) -> float:
        """Modelled, at so many bits a second."""
        return self.compute + 8 * self.bytes_a_worker / rate


def run(lab: Lab) -> Findings:
    """Collective."""
    trails, outcomes = _with(lab, WORKERS, lambda world: _all(lab, world))
    plain = outcomes[0]
    checks = []
    for one in outcomes[1:]:
        checks.append(
            Check(f"{one.name}: times fewer bytes", Above(lab.pick(FEWER, QUICK).get(one.name, 1)), _fewer(plain, one))
        )
        if one.name in WORSE:
            worse = [a - b for a, b in zip(one.losses, plain.losses, strict=True)]
            checks += lab.pick([Check.over(f"{one.name}: loss above synchronous", Below(WORSE[one.name]), worse)], [])
    outcomes += _with(lab, 2 * WORKERS, lambda world: _again(lab, world, outcomes))
    return Findings(checks, trails, _notes(trails, outcomes), tables={"methods": [one.facts for one in outcomes]})


def _with(lab: Lab, workers: int, work: Callable[[World], Found]) -> Found:
    """What the work comes to among so many workers, on every rank. Collective."""
    with lab.crew(workers) as world:
        found = None if world is None else work(world)
    return lab.world.tell(found)


def _fewer(plain: Became, other: Became) -> float:
    return plain.bytes_a_worker / other.bytes_a_worker


def _all(lab: Lab, world: World) -> tuple[list[Trail], list[Became]]:
    """The runs of the first seed at the step sizes chosen, and what became of all. Collective."""
    base, trails, outcomes = _base(lab, world), [], []
    for name in lab.pick(tuple(WAYS), FEW):
        way = WAYS[name]
        rates = [BASE * way.middle * factor for factor in lab.pick(GRID, GRID[1:2])]
        tried = {lr: _one(lab, world, f"{name}, step size {lr:.2g}", replace(base, **way.more, lr=lr)) for lr in rates}
        lr = min(rates, key=lambda lr: loss_of(tried[lr]))
        others = [
            _one(lab, world, f"{name}, seed {seed}", replace(base, **way.more, lr=lr, seed=base.seed + seed))
            for seed in range(1, lab.pick(3, 1))
        ]
        trails.append(replace(tried[lr], name=name))
        outcomes.append(_became(name, lr, [tried[lr], *others]))
    return trails, outcomes


def _again(lab: Lab, world: World, outcomes: list[Became]) -> list[Became]:
    """What became of a few in this World, of one seed each, with the step sizes of before. Collective."""
    base, lrs = _base(lab, world), {one.name: one.lr for one in outcomes}
    found = []
    for name in lab.pick(FEW, FEW[1:2]):
        job = replace(base, **WAYS[name].more, lr=lrs[name])
        found.append(_became(name, lrs[name], [_one(lab, world, f"{name}, {world.workers} workers", job)]))
    return found


def _base(lab: Lab, world: World) -> Train:
    """The job that the ways change; a step takes the same rows for any number of workers. Collective."""
    model = model_for(lab, world, "mlp:128,64")
    rows = WORKERS * lab.pick(2 if model == GPT else 8, 32)
    return Train(
        data=lab.data or "blobs:rows=16000,features=64,classes=10,spread=3.5",
        test=lab.test,
        model=model,
        rule="adamw",
        lr=BASE,
        schedule="cosine",
        warmup=0.2,
        clip=1.0 if model == GPT else None,
        batch=rows // world.workers,
        epochs=lab.pick(0.5 if model == GPT else 3.0, 1.5),
        record=lab.pick(0.125, 1.0),
        examine=lab.pick(0.125, 1.0),
    )


def _one(lab: Lab, world: World, name: str, job: Train) -> Trail:
    return trained(lab, world, {name: job})[0]


def _became(name: str, lr: float, runs: list[Trail]) -> Became:
    first = runs[0]
    seconds = float(first.readings["seconds"][-1]) * first.ranks / first.workers
    return Became(name, first.workers, lr, tuple(map(loss_of, runs)), bytes_of(first) / first.workers, seconds)


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
        workers = "" if own.workers == WORKERS else f", {own.workers} workers"
        spread = f" +- {short(stdev(own.losses))}" if len(own.losses) > 1 else ""
        times = ", ".join(f"{short(own.seconds(rate))} s" for rate in RATES.values())
        figures = f"{fmean(own.losses):.4f}{spread}, {_told(own.bytes_a_worker)}, {times}"
        lines.append(f"{own.name}{workers} (lr {own.lr:.2g}): {figures}")
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
