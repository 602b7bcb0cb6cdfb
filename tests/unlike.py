"""A program: every method of the catalogue on small problems, on ranks that are made to differ; one line a run.

unlike.py METHODS      solve or train, or names. Each is run twice: with no fault, and with a flipped bit in rank 1's x.
"""

import sys
from itertools import product

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.phase import PerRow, PerWorker
from mpiopt.engine.stop import Stop
from mpiopt.errors import MpioptError
from mpiopt.methods import catalogue, find, prox_newton, training
from mpiopt.methods.linked import linked
from mpiopt.numerics.schedules import Cosine
from mpiopt.problems.penalties import ElasticNet
from mpiopt.training.drive import Goal, train
from mpiopt.transforms import rules
from mpiopt.transforms.bounds import ClipNorm
from mpiopt.transforms.transform import chain
from tests.problem_sets import Data
from tests.training_sets import GENERAL, Shared

prox_newton.FEW = 10  # so that features are left out of small problems too
ROUNDS, AT = 40, 3  # rounds at most, and the one after which the bit flips
LINKS = {
    "topk+ef": ("topk:0.5", "ef", None),
    "scaled_sign back": ("scaled_sign", "ef", "scaled_sign"),
    "qsgd back": ("qsgd:bits=4", "diana", "two_means"),
    "kashin": ("kashin", "plain", None),
    "sketch": ("sketch:0.5", "ef", None),
    "natural": ("natural", "plain", None),
    "vote": ("vote", "plain", None),
}


def flipped(run, world: World, own: bool) -> None:
    """One bit of what all ranks hold alike: of x, or where x is or may be a worker's own of the first array of the state, if
    any (x, or a centre)."""
    x: Array | None = next(_arrays(run.states), None) if own else run.points[0].x
    if world.rank == 1 and x is not None:
        x.view(np.uint64)[np.argmax(abs(x))] ^= np.uint64(1 << 40)


def _arrays(tree):
    for child in tree if isinstance(tree, tuple) and not isinstance(tree, PerWorker | PerRow) else ():
        if isinstance(child, np.ndarray) and child.size > 1:
            yield child
        yield from _arrays(child)


def solved(name: str, world: World, flip: bool) -> str:
    """The answer and the reason."""
    entry = catalogue()[name]
    method = entry.make()
    team = Data(rows=300, features=200, seed=3, density=0.1).team(world, ElasticNet(0.0 if entry.smooth_only else 2e-3, 1e-4))

    def keep(at, reason):
        if flip and at.run.round == AT:
            flipped(at.run, world, method.own)

    found = solve(method, team, np.zeros(team.dim), Stop(rounds=ROUNDS, gap=1e-9), keep=[keep])
    return f"{found.reason.name} {found.final.round} {found.certificate.gap!r} {hash(found.x.tobytes())}"


def trained(name: str, world: World, flip: bool) -> str:
    """The answer, and the record's last line."""
    data, (base, _, link) = Shared(workers=world.workers, features=50), name.partition(" ")
    entry = find(base, training())
    rule = chain(ClipNorm(1.0), rules.adam(Cosine(0.05, 2 * ROUNDS)))
    known = {
        "rule": rule,
        "lr": Cosine(0.05, 10**6),
        "workers": world.workers,
        "period": 3,
        "meeting": 6,
        "total_steps": 3 * ROUNDS,
        "groups": 1,
    }
    if entry.steady:
        known["lr"] = lambda step: 0.05
    method = entry.make(**{key: value for key, value in known.items() if key in entry.parameters})
    if link:
        compress, kind, back = LINKS[link]
        method = linked(method, base, compress, kind, back, force=True)

    def keep(at, reason):
        if flip and at.run.round == AT:
            flipped(at.run._replace(states=at.run.states.states), world, True)

    found = train(method, data.team(world), data.start, Goal(rounds=ROUNDS), keep=[keep])
    return f"{found.reason.name} {found.final.objective!r} {hash(found.x.tobytes())}"


def main(what: str) -> None:
    """Print two lines for every method: what all ranks found, or what they raised."""
    world = World()
    works = [f"sgd {link}" for link in LINKS]
    names = {"solve": list(catalogue()), "train": [*sorted(GENERAL), *works]}.get(what) or what.split(",")
    for name, fault in product(names, ("none", "flip")):
        run = solved if name in catalogue() else trained
        try:
            said = run(name, world, fault == "flip")
        except MpioptError as error:
            said = f"{type(error).__name__}: {error}"
        told = world.tell_all(said)
        if world.rank == 0:
            alike = "alike" if len(set(told)) == 1 else f"UNLIKE {told}"
            print(fault, name.replace(" ", "-"), alike, said, flush=True)
    world.free()


if __name__ == "__main__":
    main(*sys.argv[1:])
