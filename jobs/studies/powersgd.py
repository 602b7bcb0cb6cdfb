"""PowerSGD and other compressors with error feedback: many times fewer bytes than plain SGD, and the same accuracy.

After Vogels, Karimireddy, Jaggi, PowerSGD: practical low-rank gradient compression for distributed optimization, NeurIPS
2019. Real trainings, the gradients of every step agreed on, momentum after that. With --data and --test the small
convolutional network for grey images or ResNet-20 for coloured ones (extra: torch); made-up blobs and a perceptron else.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mpiopt.comm.world import World
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.trained import bytes_of, examined, model_for, percent, trained
from mpiopt.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
WORKERS = 4
PLAIN = "SGD"
POINTS = 0.5  # of accuracy that may be lost, in per cent


class Kind(NamedTuple):
    """How a model is trained, by how much each compressor must shrink what is sent, and what is tuned for which of them."""

    base: Train
    least: dict[str, float]
    tuned: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - nobody changes it


COMPRESSORS = {
    "rank 1": "powersgd:rank=1",
    "rank 2": "powersgd:rank=2",
    "rank 4": "powersgd:rank=4",
    "top-k 1 %": "topk:0.01",
    "scaled sign": "scaled_sign",
    "random block 10 %": "block:0.1,scaled=no",
    "fp16": "fp16",
}
ROUGH = {"rule": "sgd", "lr": 0.2}  # momentum on top of errors that come late sends the large steps of signs astray
KINDS = {
    "mlp:64,64": Kind(
        Train(data="blobs:rows=8000,features=64,classes=5,spread=3", lr=0.02, batch=32, epochs=8),
        {"rank 1": 10, "rank 2": 6, "scaled sign": 25, "top-k 1 %": 45, "random block 10 %": 8, "fp16": 1.9},
    ),
    "cnn": Kind(
        Train(lr=0.05, batch=32, epochs=3),
        {"rank 1": 30, "rank 2": 17, "rank 4": 8, "top-k 1 %": 50, "scaled sign": 30, "fp16": 1.9},
        {"scaled sign": ROUGH},
    ),
    "resnet20": Kind(Train(lr=0.1, batch=32, epochs=6, rule="torch_nag", decay=1e-4, record=0.5), {"rank 1": 30, "rank 2": 17}),
}


def run(lab: Lab) -> Findings:
    """Collective."""
    with lab.crew(WORKERS) as world:
        trails = None if world is None else _trails(lab, world)
    trails = lab.world.tell(trails)
    by_name = {trail.name: trail for trail in trails}
    plain, least = by_name.pop(PLAIN), KINDS[trails[0].about["model"]].least
    checks = []
    for name, trail in by_name.items():
        fewer, lost = bytes_of(plain) / bytes_of(trail), 100 * (plain.about["accuracy"] - trail.about["accuracy"])
        checks.append(Check(f"{name}: times fewer bytes", Above(least[name]), fewer))
        checks += lab.pick([Check(f"{name}: accuracy lost, %", Below(POINTS), lost)], [])
    return Findings(checks, trails, _notes(plain, trails, lab))


def _trails(lab: Lab, world: World) -> list[Trail]:
    """Collective."""
    model = model_for(lab, world, "mlp:64,64")
    base, least, tuned = KINDS[model]
    base = replace(
        base,
        model=model,
        method="sgd",
        schedule="cosine",
        warmup=0.25,
        examine=0.5,
        test=lab.test,
        data=lab.data or base.data,
        epochs=lab.pick(base.epochs, 1.0),
    )
    jobs = {PLAIN: base}
    for name in lab.pick(tuple(least), ("rank 1", "top-k 1 %")):
        jobs[name] = replace(base, compress=COMPRESSORS[name], error_feedback=True, **tuned.get(name, {}))
    return trained(lab, world, jobs)


def _notes(plain: Trail, trails: list[Trail], lab: Lab) -> str:
    tuned = _tuned(plain.about["model"])
    accuracies = ", ".join(f"{trail.name} {100 * trail.about['accuracy']:.2f}" for trail in trails)
    return (
        f"{plain.about['dataset']}, {plain.about['model']} with {plain.about['parameters']:,} parameters, {WORKERS} workers on "
        f"{counted(lab.world.size, 'rank')}, {plain.readings['epoch'][-1]:.3g} epochs of {plain.about['batch']} rows a step. "
        f"Bytes: all that ranks sent over all that they sent for SGD, {bytes_of(plain) / 1e6:,.0f} MB.{tuned}\n"
        f"Accuracies, %: {accuracies}."
    )


def _tuned(model: str) -> str:
    """What else than the compressor differs, if anything."""
    return "".join(
        f" {name}: {', '.join(f'{key} {value}' for key, value in options.items())}."
        for name, options in KINDS[model].tuned.items()
    )


def draw(found: Findings) -> "Figure":
    """Test errors against epochs, and against bytes."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    with sheet(2, width=5, height=4.2) as (figure, (panels,)):
        for number, trail in enumerate(found.trails):
            at, errors = examined(trail)
            curve(panels[0], trail.readings["epoch"][at][1:], errors[1:], number, trail.name)
            curve(panels[1], trail.readings["bytes_sent"][at][1:] / 1e6, errors[1:], number, marker="o", markersize=3)
        panels[1].set_xscale("log")
        for panel, unit in zip(panels, ("epochs", "megabytes sent by all ranks"), strict=True):
            percent(panel)
            panel.set(xlabel=unit, ylabel="test error, %")
        legend(figure, panels[0], 4)
        return figure
