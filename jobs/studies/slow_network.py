"""Compressed training reaches a loss several times sooner where the network is slow: real TCP at 100 Mbit/s and 1 Gbit/s.

Starts its own ranks (run it as one process, as root), each in a network namespace whose link has a limited rate. With --data
and --test the small convolutional network (extra: torch); made-up blobs and a perceptron else. It is
refused, with the reason, where namespaces or limited rates cannot be had.
"""

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.jobs.machine.network import hosts
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.trained import bytes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
HOSTS = 2
RATES = {"100mbit": "100 Mbit/s", "1gbit": "1 Gbit/s"}
PLAIN = "uncompressed"
COMPRESSED = {"top-k 1 %": "topk:0.01", "rank 2": "powersgd:rank=2", "scaled sign": "scaled_sign"}
SOONER = {"100mbit": 3, "1gbit": 1}  # at least, of the best compressor
BASE = {"method": "sgd", "rule": "momentum", "schedule": "cosine", "warmup": 0.1, "record": 0.02}
BLOBS = BASE | {"data": "blobs:rows=8000,features=400,classes=10,spread=4", "model": "mlp:512,256", "lr": 0.005, "epochs": 2}
ROWS = BASE | {"model": "cnn", "batch": 8, "lr": 0.01, "epochs": 0.5, "examine": 0.5, "record": 0.01}
SMOOTH = 5  # records over which the running loss is averaged
PATIENCE = 3000.0  # seconds for one training


def run(lab: Lab) -> Findings:
    """Collective: on one rank. Raises CapabilityError where it cannot be run."""
    if lab.world.size > 1:
        raise CapabilityError("slow-network starts its own ranks: run it as one process, without mpiexec")
    trails = _trails(lab)
    plain = losses(next(iter(trails.values())))
    target = float(np.median(plain[len(plain) // 2 :]))
    times = {key: reached(trail, target) for key, trail in trails.items()}
    checks = []
    for rate in dict.fromkeys(rate for _, rate in trails):
        best = max(times[PLAIN, rate] / seconds for (name, r), seconds in times.items() if r == rate and name != PLAIN)
        checks.append(Check(f"{RATES[rate]}, the best compressor: times sooner", Above(SOONER[rate]), best))
    headers = max(trail.about["crossed"] / bytes_of(trail) for trail in trails.values())
    checks.append(Check("bytes on the links over bytes counted, at most", Near(1, 1.3), headers))
    return Findings(checks, list(trails.values()), _notes(trails, target), {"trails": trails, "target": target})


def _trails(lab: Lab) -> dict[tuple[str, str], Trail]:
    """Every training at every rate, (name, rate) -> trail. Raises CapabilityError."""
    trails = {}
    for rate in lab.pick(tuple(RATES), tuple(RATES)[:1]):
        with hosts(HOSTS, rate) as net:
            for name, compress in {PLAIN: None, **lab.pick(COMPRESSED, {"top-k 1 %": COMPRESSED["top-k 1 %"]})}.items():
                lab.console.note(f"{RATES[rate]}: {name}")
                before = net.crossed
                found = json.loads(net.run(arguments(lab, compress), PATIENCE))
                trails[name, rate] = _trail(f"{name}-{rate}", found, net.crossed - before)
    return trails


def arguments(lab: Lab, compress: str | None) -> list[str]:
    """Of python, for one training."""
    options: dict[str, Any] = BLOBS if lab.data is None else ROWS | {"data": os.path.abspath(lab.data)}
    more = {
        "test": lab.test and os.path.abspath(lab.test),
        "epochs": 0.3 if lab.quick else None,
        "compress": compress,
        "link": "ef" if compress else None,
    }
    options = options | {name: value for name, value in more.items() if value is not None}
    return [
        "-m",
        "mpiopt.jobs",
        "train",
        "--json",
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
    ]


def _trail(name: str, found: dict[str, Any], crossed: int) -> Trail:
    columns = {
        column: np.array([np.nan if value is None else value for value in values], float)
        for column, values in found["history"].items()
    }
    about = {key: found[key] for key in ("model", "batch", "parameters", "accuracy", "dataset")} | {"crossed": crossed}
    points, none = np.empty((len(columns["round"]), 0)), np.empty((0, 0, 0))
    return Trail(name, found["method"], found["workers"], found["world_size"], found["rows"], columns, points, none, about)


def losses(trail: Trail) -> np.ndarray:
    """The running training loss, averaged over some records up to each; infinite before there are so many."""
    loss = np.nan_to_num(trail.readings["objective"], nan=np.inf)
    mean = np.convolve(loss[1:], np.full(SMOOTH, 1 / SMOOTH), "valid")
    return np.concatenate([np.full(len(loss) - len(mean), np.inf), mean])


def reached(trail: Trail, target: float) -> float:
    """Seconds until the loss is below the target; infinite if it never is."""
    below = np.flatnonzero(losses(trail) <= target)
    return float(trail.readings["seconds"][below[0]]) if below.size else float("inf")


def _notes(trails: dict[tuple[str, str], Trail], target: float) -> str:
    one = next(iter(trails.values()))
    lines = [
        f"{one.about['dataset']}, {one.about['model']} with {one.about['parameters']:,} parameters, one rank on each of "
        f"{HOSTS} hosts, {one.about['batch']} rows a step each. Target: a running loss of {target:.3g}, the median of "
        "the second half of the uncompressed run."
    ]
    for (name, rate), trail in trails.items():
        seconds, megabytes = trail.readings["seconds"][-1], bytes_of(trail) / 1e6
        lines.append(
            f"{RATES[rate]}, {name}: {_told(reached(trail, target))} the target, {1e3 * seconds / trail.rounds:.1f} "
            f"ms a round, {megabytes:,.1f} MB sent, {trail.about['crossed'] / 1e6:,.1f} MB on the links."
        )
    return "\n".join(lines)


def _told(seconds: float) -> str:
    return f"{seconds:.1f} s to" if np.isfinite(seconds) else "never at"


def draw(found: Findings) -> "Figure":
    """Losses against seconds, one panel for each rate."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    trails = found.facts["trails"]
    rates = list(dict.fromkeys(rate for _, rate in trails))
    with sheet(len(rates), width=5) as (figure, (panels,)):
        for panel, rate in zip(panels, rates, strict=False):
            for number, (name, trail) in enumerate((n, t) for (n, r), t in trails.items() if r == rate):
                curve(panel, trail.readings["seconds"], losses(trail), number, name)
            panel.axhline(found.facts["target"], color="black", linewidth=0.8, linestyle=":")
            logarithmic(panel)
            panel.set(title=RATES[rate], xlabel="seconds", ylabel="running training loss")
        legend(figure, panels[0], 4)
        return figure
