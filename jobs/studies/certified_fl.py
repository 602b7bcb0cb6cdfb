"""Smoothed classifiers trained together are certified further than those trained alone; of unlike clients, personal ones.

After Alfarra, Perez, Shulgin, Richtarik, Ghanem, Certified robustness in federated learning, 2022: every client trains under
the same Gaussian noise; certificates after Cohen, Rosenfeld, Kolter, ICML 2019. Clients with few rows each, alike or with two
classes each; every client is examined on test rows of its own mix of classes. With --data and --test on the first of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.blobs import Blobs
from mpiopt.io.dataset.dense import DenseSource, Held, held, open_dense, scattered
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.methods.federated import fedavg, local_only
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.splits import ByClass
from mpiopt.smoothing.certify import Ballot, CertifiedClass, average_radius, certified, certified_accuracy, certified_rows
from mpiopt.smoothing.laws import Gaussian
from mpiopt.smoothing.noisy import NoisyRows, Shaken
from mpiopt.transforms import rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
CLIENTS, HIDDEN, BATCH, LR, PERIOD, ROUNDS, PERSONAL, SEED = 10, 32, 8, 0.1, 10, 60, 10, 1
MADE = Blobs(rows=400, features=20, classes=6, spread=2.0, seed=SEED)
SIGMA = {True: 1.0, False: 0.12}  # of made-up rows, and of images
EXAMINED = 40  # test rows of a client
FEW = 100  # rows of a client, at most
ROUND = {"local": ROUNDS, "federated": ROUNDS, "personal": PERSONAL}
PROTOCOLS = ("local", "federated", "personal", "mixture")
SPLITS = {"alike": None, "two classes each": ByClass(2)}

Examined = tuple[list[CertifiedClass], np.ndarray]  # votes and the true classes


@dataclass(frozen=True)
class ClientRows:
    """Who has which rows. law : the split, None for blocks."""

    train: DenseSource
    test: DenseSource
    law: ByClass | None
    noise: Gaussian
    ballot: Ballot
    most: int  # rows of a client; those of files are too many for the claim, which is about clients with few

    def rows(self, world: World) -> list[Held]:
        """The clients' rows. Collective."""
        law = self.law
        if law is None:
            shares = held(self.train, world)
        else:
            shares = scattered(self.train, world, lambda y: law(y, world.workers, BATCH, Streams(SEED)))
        return [Held(0, min(len(one.y), self.most), one.x[: self.most], one.y[: self.most]) for one in shares]

    def team(self, world: World) -> Team:
        """The clients' models of their rows under noise. Collective."""
        streams = Streams(SEED)
        rows = [NoisyRows(Dense(share.x, share.y), self.noise) for share in self.rows(world)]
        models = [Shaken(self.model(data), data) for data in rows]
        samples = [Batches(model.rows, BATCH, streams, w) for model, w in zip(models, world.hosted, strict=True)]
        return Team.of(world, models, Zero(), SEED, samples)

    def model(self, data: "NoisyRows | Dense") -> Perceptron:
        """A perceptron of some rows."""
        return Perceptron(data, (data.features, HIDDEN, self.train.classes))

    def examined(self, world: World, points: np.ndarray) -> Examined:
        """The votes of the clients' points (clients, dim) on test rows of the clients' classes, and those. Collective."""
        x, y = self.test.read(0, self.test.rows)
        mine = []
        for share, w in zip(self.rows(world), world.hosted, strict=True):
            own, stream = np.unique(share.y), Streams(SEED)("examined", 0, w)
            chosen = np.sort(stream.choice(np.flatnonzero(np.isin(y, own)), EXAMINED))
            outputs = partial(self.model(Dense(x[:0], y[:0])).outputs, points[w])
            votes = certified_rows(outputs, x[chosen], chosen.tolist(), self.noise, self.ballot, SEED)
            mine.append(np.column_stack([[*map(list, votes)], y[chosen]]))
        told = np.concatenate(world.gather(np.concatenate(mine)))
        found = [CertifiedClass(int(guess), lower, radius) for guess, lower, radius, _ in told.tolist()]
        return found, told[:, 3].astype(np.int64)


def run(lab: Lab) -> Findings:
    """Collective."""
    train = MADE if lab.data is None else open_dense(lab.data, lab.world)
    test = replace(MADE, first=MADE.rows, rows=2000) if lab.test is None else open_dense(lab.test, lab.world)
    noise, ballot = Gaussian(SIGMA[lab.data is None]), lab.pick(Ballot(), Ballot(10, 50))
    trails: list[Trail] = []
    votes: dict[tuple[str, str], Examined] = {}
    for name in lab.pick(tuple(SPLITS), tuple(SPLITS)[:1]):
        clients = ClientRows(train, test, SPLITS[name], noise, ballot, FEW)
        found = _trained(lab, clients, name)
        trails += found
        votes |= {(name, protocol): _examined(lab, clients, points) for protocol, points in _points(found).items()}
    checks = [Check("a linear classifier: radius over the exact one", Near(1, 1.1), linear(noise, 20000))]
    if not lab.quick:
        checks += _checks(votes)
    about = "made-up rows" if lab.data is None else lab.data
    notes = (
        f"{about}, {CLIENTS} clients of at most {FEW} rows, perceptron "
        f"of {HIDDEN}, noise of {noise.sigma:g}, {ROUNDS} rounds of {PERIOD} steps of "
        f"{BATCH} rows, personal {PERSONAL} rounds more alone, the mixture half-way between federated and local. "
        f"{ballot.samples} votes a row, {EXAMINED} rows a client, alpha {ballot.alpha:g}. Published as figures without digits."
    )
    return Findings(checks, trails, notes, {"votes": votes, "sigma": noise.sigma})


def _trained(lab: Lab, clients: ClientRows, name: str) -> list[Trail]:
    """Local, federated and personal. Collective."""
    rounds = {protocol: lab.pick(count, 2) for protocol, count in ROUND.items()}
    start = clients.model(Dense(*clients.train.read(0, 0))).initial(Streams(SEED)("start")).astype(np.float32)
    alone, follow = local_only(rules.sgd(LR), PERIOD), partial(lab.follow, workers=CLIENTS, team=clients.team, own=True)
    found = [follow(f"local, {name}", alone, x=start, rounds=rounds["local"], every=rounds["local"])]
    together = fedavg(rules.sgd(LR), PERIOD)
    found.append(follow(f"federated, {name}", together, x=start, rounds=rounds["federated"], every=rounds["federated"]))
    found.append(follow(f"personal, {name}", alone, x=found[1].x, rounds=rounds["personal"], every=rounds["personal"]))
    return found


def _points(found: Sequence[Trail]) -> dict[str, np.ndarray]:
    """Each client's point (clients, dim) under every protocol."""
    local, federated, personal = found
    common = np.tile(federated.x, (CLIENTS, 1))
    points = local.own[-1], common, personal.own[-1], (common + local.own[-1]) / 2
    return dict(zip(PROTOCOLS, points, strict=True))


def _examined(lab: Lab, clients: ClientRows, points: np.ndarray) -> Examined:
    with lab.crew(CLIENTS) as world:
        found = None if world is None else clients.examined(world, points)
    return lab.world.tell(found)


def linear(noise: Gaussian, samples: int) -> float:
    """Of two classes apart by a plane: the certified radius over the distance to it, mean of ten rows."""
    stream = Streams(SEED)("plane")
    normal, found = stream.standard_normal(20), []
    for number in range(10):
        x = stream.standard_normal(20)
        x += (noise.sigma * (0.5 + number / 20) - x @ normal / np.linalg.norm(normal)) * normal / np.linalg.norm(normal)
        vote = certified(lambda rows: np.column_stack([0 * rows[:, 0], rows @ normal]), x, noise, Ballot(100, samples), stream)
        found.append(vote.radius / (x @ normal / np.linalg.norm(normal)))
    return float(np.mean(found))


def _checks(votes: dict[tuple[str, str], Examined]) -> list[Check]:
    radii = {key: average_radius(*value) for key, value in votes.items()}
    return [
        Check(
            "alike: average certified radius, federated over local",
            Above(1),
            radii["alike", "federated"] / radii["alike", "local"],
        ),
        *(
            Check(
                f"{name}: average certified radius, personal over {other}",
                Above(1),
                radii[name, "personal"] / radii[name, other],
            )
            for name in ("two classes each",)
            for other in ("federated", "local")
        ),
    ]


def draw(found: Findings) -> "Figure":
    """Certified accuracy against the radius."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    votes: dict[tuple[str, str], Examined] = found.facts["votes"]
    names = list(dict.fromkeys(name for name, _ in votes))
    radii = np.linspace(0, 3.2 * found.facts["sigma"], 200)
    with sheet(len(names), width=5, height=4.2) as (figure, (panels,)):
        for panel, name in zip(panels, names, strict=True):
            for number, protocol in enumerate(PROTOCOLS):
                curve(panel, radii, 100 * certified_accuracy(*votes[name, protocol], radii), number, protocol)
            panel.set(xlabel="radius", ylabel="certified accuracy, %", title=f"clients: {name}", ylim=(0, 100))
        legend(figure, panels[0], len(PROTOCOLS))
        return figure
