"""A run of spcg that is killed where ranks agree goes on from its last checkpoint to the same bits."""

from contextlib import closing
from math import inf

import numpy as np
import pytest

from mpiopt.engine.drive import solve
from mpiopt.engine.forms import taken_by
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import find
from mpiopt.problems.penalties import L1, L2
from tests.fuse import Fuse, Killed
from tests.problem_sets import Data

ROUNDS = 2
FACE = {"features": 30, "weighted": True}, L1(0.01), {}, 3
ALONE = {"features": 30, "weighted": True}, L2(1e-4), {"accuracy": 0.5}, 1
PARTS = {"features": 300, "density": 0.02, "weighted": True, "intercept": True}, L2(1e-4, free=1), {"parts": "always"}, None


def walked(worlds, path, setting, at: float = inf):
    """From where a checkpoint stands, if there is one, to the last round; and what was agreed about on the way."""
    kind, penalty, given, workers = setting  # on these ranks alone where no workers are told
    world, fuse = worlds(workers=workers, deterministic=workers is not None), Fuse(at)
    team = Data(**kind).team(world, penalty)
    with closing(Store(path, world, "run")) as store:
        world.watches.append(fuse)
        try:
            found = store.find()
            begun = team.zeros() if found is None else store.load(found, team)
            keep = [lambda at, _: store.save(at, {}, team)]
            return solve(find("spcg").make(**given), team, begun, Stop(rounds=ROUNDS), (), keep), fuse.met
        finally:
            world.watches.remove(fuse)


def killed_everywhere(worlds, folder, setting, form: str, phases: list[str]) -> None:
    """As the ranks come to agree on what each phase has found, and in a checkpoint; each halfway through those of its kind."""
    whole, met = walked(worlds, folder / "whole.h5", setting)
    assert taken_by(whole.run).form == form and whole.final.round == ROUNDS and set(met) >= {*phases}
    for number, name in enumerate([*phases, "tell_all"]):
        places = [place for place, other in enumerate(met) if other == name]
        path, at = folder / f"{number}.h5", places[len(places) // 2]
        with pytest.raises(Killed, match=name):
            walked(worlds, path, setting, at)
        found, rest = walked(worlds, path, setting)
        np.testing.assert_array_equal(found.x, whole.x, name)
        assert found.certificate == whole.certificate and len(rest) < len(met) + 5


@pytest.mark.ranks(1, 2, 3)
def test_a_face_goes_on_wherever_it_was_killed(worlds, shared_tmp):
    killed_everywhere(worlds, shared_tmp, FACE, "face", ["gradient", "face", "search"])


@pytest.mark.ranks(1)
def test_a_worker_alone_goes_on_wherever_it_was_killed(worlds, shared_tmp):
    killed_everywhere(worlds, shared_tmp, ALONE, "alone", ["mean", "search"])


@pytest.mark.ranks(2, 3)
def test_several_workers_are_not_alone(worlds):
    team = Data().team(worlds(), L2(1e-4))
    with pytest.raises(CapabilityError, match=f"the form alone of spcg is for one worker, and here are {team.world.size}: "):
        find("spcg").make(form="alone").init(team.zeros(), team)


@pytest.mark.ranks(2, 3)
def test_parts_go_on_wherever_they_were_killed(worlds, shared_tmp):
    killed_everywhere(worlds, shared_tmp, PARTS, "counts", ["holders", "mean", "search", "parts"])
