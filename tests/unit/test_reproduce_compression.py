"""Studies of compressed messages and of pruning: every short form, and the parts that they are made of."""

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.errors import CapabilityError, MpioptError
from mpiopt.jobs.cli.console import WIDTH, Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.machine import network
from mpiopt.jobs.reproduce import Reproduce, run
from mpiopt.jobs.studies import find, listing
from mpiopt.jobs.studies import slow_network as slow
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.noisy import Noisy, drawn
from mpiopt.jobs.studies.apparatus.quadratics import regression
from mpiopt.jobs.studies.apparatus.trained import bytes_of, examined, trained
from mpiopt.jobs.studies.ef_counterexamples import Slopes, Valley
from mpiopt.jobs.studies.ef_rate import Task
from mpiopt.jobs.studies.kashin import Distortion, gaussian, measured
from mpiopt.jobs.studies.shifted_compression import RidgeProblem, level, rate
from mpiopt.numerics.streams import Streams
from mpiopt.problems.problem import Point

STUDIES = ("ef-counterexamples", "ef-rate", "kashin", "loss-vs-bytes", "powersgd", "pruning-feedback", "shifted-compression")


@pytest.mark.parametrize("name", (*STUDIES, "slow-network"))
def test_every_study_says_in_a_line_what_it_shows(name):
    assert 40 < len(listing()[name]) <= 128 and callable(find(name).run) and callable(find(name).draw)


LONG = pytest.param("ef-counterexamples", marks=pytest.mark.study)


@pytest.mark.parametrize("name", (LONG, *STUDIES[1:]))
def test_the_short_form_of_every_study_finds_what_is_expected(name, world, tmp_path, capsys):
    found = run(Reproduce(name, out=tmp_path / name, quick=True), world, Console())
    said = capsys.readouterr()
    assert found["passed"] and found["checks"], said.out
    assert max(map(len, said.out.splitlines())) <= WIDTH
    assert (tmp_path / name / "picture.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------------------------------- the parts
def test_noise_is_of_the_deviation_asked_for_and_of_the_step():
    loss = Noisy(regression(np.eye(4), np.zeros(4)), 0.5, Streams(1), 2)
    x = np.ones(4)
    exact = loss.value_grad(loss.point(x))[1]
    noise = np.array([loss.value_grad(loss.point(x), drawn(step))[1] - exact for step in range(500)])
    assert noise.std() == pytest.approx(0.5, rel=0.05) and abs(noise.mean()) < 0.05
    np.testing.assert_array_equal(loss.value_grad(loss.point(x), drawn(7))[1] - exact, noise[7])
    np.testing.assert_allclose(exact, x / 4)


def test_the_slopes_and_the_valley_have_the_gradients_of_their_papers():
    slopes = Slopes((4.0, -1, -1, -1))
    assert slopes.value_grad(Point(np.array([2.0])))[1] == pytest.approx(0.25)
    assert slopes.value_grad(Point(np.array([2.0])), np.array([0]))[1] == 4
    value, g = Valley(0.5).value_grad(Point(np.array([0.5, 1.5])))
    assert value == 2 and g.tolist() == [-0.5, 1.5]


def test_the_ridge_has_its_optimum_where_its_gradients_add_up_to_0():
    ridge = RidgeProblem()
    assert abs(ridge.slopes(1).mean(axis=0)).max() < 1e-12
    assert ridge.constants.L <= ridge.constants.Lmax and ridge.constants.L / ridge.constants.mu == pytest.approx(ridge.kappa)
    assert ridge.floor(1) == pytest.approx(0, abs=1e-20) and 0 < ridge.floor(0.995) < ridge.floor(0)


def test_levels_and_rates_of_a_straight_line_are_its_own():
    rounds = np.arange(0, 400, 2.0)
    gaps = np.exp(-0.03 * rounds)
    assert rate(line(rounds, gaps), gaps) == pytest.approx(0.03)
    assert level(gaps) == pytest.approx(np.exp(-0.03 * rounds[-10:].mean()))


def test_losses_are_measured_on_real_payloads():
    x = gaussian(64)
    identity, half = measured("identity", x, 2), measured("fp16", x, 1)
    assert identity == Distortion("identity", 32.0, 0.0, True) and half.bits == 16.5 and 0 < half.variance < 1e-6
    assert measured("randk:k=16", x, 300).variance == pytest.approx(3, rel=0.25)
    assert Distortion("", 1, 3.0, True).alpha == 0.75 and Distortion("", 1, 0.75, False).alpha == 0.75


def test_step_sizes_grow_with_the_root_of_the_workers():
    assert (
        Task(9, 1.0, 400).gamma == pytest.approx(3 * Task(1, 1.0, 400).gamma) == pytest.approx(6 * Task(1, 1.0, 1600).gamma / 1)
    )


def test_trainings_one_after_the_other_count_their_own_bytes(world):
    lab, job = Lab(world, Console(first=False)), Train(data="blobs:rows=200,features=5", method="sgd", epochs=2, batch=10)
    with lab.crew(2) as crew:
        first, second = trained(lab, crew, {"one": job, "two": job})
    assert bytes_of(first) == bytes_of(second) > 0
    np.testing.assert_array_equal(first.x, second.x)
    at, errors = examined(first)
    assert errors[-1] == pytest.approx(100 * (1 - first.about["accuracy"])) and len(at) == 3


@pytest.fixture
def nagged():
    """SIGTERM again and again, which nobody minds who does not look for it."""
    before, enough = signal.signal(signal.SIGTERM, signal.SIG_IGN), threading.Event()

    def nag() -> None:
        while not enough.wait(0.2):
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=nag)
    thread.start()
    yield
    enough.set()
    thread.join()
    signal.signal(signal.SIGTERM, before)


def test_a_signal_ends_all_trainings_of_a_comparison(world, nagged):
    job = Train(data="blobs:rows=200,features=5", method="sgd", epochs=1e6, batch=10)
    with pytest.raises(KeyboardInterrupt):
        trained(Lab(world, Console(first=False)), world, {"one": job, "two": job})


# ---------------------------------------------------------------------------------------------- slow networks
def line(rounds, values) -> Trail:
    columns = {"round": rounds, "objective": values, "seconds": rounds / 10}
    return Trail("line", "sgd", 1, 1, 1, columns, np.empty((len(rounds), 0)), np.empty((0, 0, 0)))


def test_a_target_is_reached_by_the_mean_of_some_records():
    trail = line(np.arange(11.0), np.array([np.nan, 9, 1, 9, 9, 9, 4, 4, 4, 4, 4]))
    assert np.isinf(slow.losses(trail)[:5]).all() and slow.losses(trail)[5] == pytest.approx(37 / 5)
    assert slow.reached(trail, 4.0) == 1.0 and slow.reached(trail, 3.9) == float("inf")
    assert slow.reached(trail, 7.5) == 0.5


def test_what_cannot_be_run_here_has_not_passed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CapabilityError, match="network namespaces need root"):
        run(Reproduce("slow-network", out=tmp_path / "out"), world, Console())
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(network.shutil, "which", lambda name: None)
    with pytest.raises(CapabilityError, match="no program ip"), network.hosts(2, "100mbit"):
        pass
    monkeypatch.setattr(network.shutil, "which", lambda name: "/bin/true")
    monkeypatch.setattr(network.sys, "executable", "/nowhere/python")
    with pytest.raises(CapabilityError, match="MPICH"), network.hosts(2, "100mbit"):
        pass


def test_the_options_of_a_slow_training_are_those_of_the_job(world):
    lab = Lab(world, Console(), data="rows.h5")
    asked = slow.arguments(lab, "topk:0.01")
    assert asked[:4] == ["-m", "mpiopt.jobs", "train", "--json"] and asked[asked.index("--link") + 1] == "ef"
    assert asked[asked.index("--data") + 1] == str(Path("rows.h5").absolute()) and "--compress" not in slow.arguments(lab, None)


def slowed() -> str:
    """Why no namespaces can be had here; "" where they can."""
    try:
        with network.hosts(1, "1gbit"):
            return ""
    except CapabilityError as error:
        return str(error)


PROGRAM = """
import json
from time import perf_counter
import numpy as np
from mpiopt.comm.world import World

world = World()
world.sum([np.ones(10**5)])
start = perf_counter()
for _ in range(10):
    world.sum([np.ones(10**5)])
if world.rank == 0:
    print(json.dumps([world.size, perf_counter() - start, world.tally.bytes]))
"""


@pytest.mark.study
def test_ranks_in_namespaces_send_what_they_say_at_the_rate_they_have(tmp_path):
    if reason := slowed():
        pytest.skip(reason)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="ascii")
    with network.hosts(2, "100mbit") as net:
        size, seconds, sent = json.loads(net.run([str(program)], 60))
        assert size == 2 and sent == 11 * 8 * 10**5
        assert 1 < net.crossed / (2 * sent) < 1.3
        assert seconds > 10 * 8 * 10**5 / 12.5e6 * 0.5  # at least half of what the rate allows for one direction
        with pytest.raises(MpioptError, match="failed between namespaces with exit code"):
            net.run(["-c", "raise SystemExit(3)"], 60)
    assert not slowed()


def test_a_world_of_several_ranks_is_told_to_start_one(world):
    class Two(World):
        def __init__(self) -> None:
            self.size = 2

    with pytest.raises(CapabilityError, match="run it as one process"):
        slow.run(Lab(Two(), Console()))
