"""``mpiopt reproduce``: the registry, what counts as near enough, runs on any number of ranks, and every short form."""

import json
import sys
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mpiopt.engine.phase import Joint
from mpiopt.errors import MpioptError, UsageError
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import WIDTH, Console, plain
from mpiopt.jobs.reports.comparison import compare
from mpiopt.jobs.reproduce import Reproduce, catalogue, run
from mpiopt.jobs.studies import Findings, find, listing
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal, Near, short, shown, write_csv
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import bowl, normal, optimum, rotation
from mpiopt.jobs.studies.leader_escapes import Ahead, Turn, alike
from mpiopt.methods.averaging import local_sgd
from mpiopt.methods.elastic import easgd
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import Quadratic
from mpiopt.transforms.rules import sgd

STUDIES = ("fedavg-heterogeneous", "leader-escapes", "local-sgd-speedup", "one-shot-fails", "optimizer-animation", "ri-sgd")
TOYS = ("fedavg-heterogeneous", "local-sgd-speedup", "one-shot-fails", "ri-sgd")  # of our own, over ten seeds
positive = st.floats(1e-30, 1e30)


# ---------------------------------------------------------------------------------------------- the registry
def test_every_file_is_a_study_with_a_line_about_it():
    known = listing()
    assert set(STUDIES) <= set(known) and list(known) == sorted(known)
    for name in STUDIES:
        assert 40 < len(known[name]) <= 128 and callable(find(name).run) and callable(find(name).draw)


def test_the_list_fits_a_terminal(capsys):
    assert run(Reproduce(), None, Console()) == listing()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH and all(any(line.startswith(name) for line in lines) for name in STUDIES)
    assert catalogue().splitlines() == lines


@pytest.mark.parametrize("name", ["optimiser-animation", "", "../ri-sgd", "__init__", "ri_sgd"])
def test_an_unknown_study_is_one_sentence(name):
    with pytest.raises(UsageError, match=r"there is no study .*choose one of .*optimizer-animation") as caught:
        find(name)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- near enough
@given(positive, st.floats(1.01, 1e6), st.floats(-3, 3))
def test_near_is_within_the_factor_either_way(value, factor, power):
    inside = abs(power) < 1
    if abs(abs(power) - 1) > 1e-9:
        assert Near(value, factor).holds(value * factor**power) == inside


@pytest.mark.parametrize("wanted", [Near(1, 2), Equal(1), Below(1), Above(1)])
def test_what_is_no_number_is_never_near_enough(wanted):
    assert Check("x", wanted, 1.0).holds
    assert not any(Check("x", wanted, found).holds for found in (nan, inf, -inf))


def test_bounds_and_tolerances():
    assert [Equal(233, 1).holds(k) for k in (231, 232, 234, 235)] == [False, True, True, False]
    assert Below(1e-20, 7e-27).expected == "7.0e-27" and Below(1e-20, 7e-27).tolerance == "<= 1.0e-20"
    assert not Below(1e-20).holds(2e-20) and not Above(3).holds(2)
    assert (Near(0.61, 3).tolerance, Equal(2).tolerance, Equal(2, 0.5).tolerance) == ("x 3", "exact", "+- 0.5")


@given(st.floats(-1e300, 1e300))
def test_short_numbers_are_short_and_right(value):
    text = short(value)
    assert len(text) <= 9 and np.isclose(float(text), value, rtol=0.06, atol=0)


def test_the_table_says_which_number_is_outside(tmp_path):
    checks = [Check("good", Near(1e-3, 2), 1.5e-3), Check("bad", Equal(3), 4)]
    lines = shown(checks).splitlines()
    assert lines[2].split() == ["good", "1.0e-03", "x", "2", "1.5e-03", "yes"] and lines[3].split()[-2:] == ["4", "NO"]
    write_csv([check.facts for check in checks], tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[2] == "bad,3,exact,4,0.0,1,False"


# ---------------------------------------------------------------------------------------------- runs on any number of ranks
BOWL = Quadratic((0.5, 1.0), (1.0, 1.0))


@pytest.mark.ranks(1, 2, 3)
def test_runs_are_the_same_on_more_ranks_than_workers(world):
    lab = Lab(world, Console(first=False))
    trail = lab.follow("bowl", local_sgd(sgd(0.1), 2), 2, lambda part: alike(part, BOWL), np.ones(2), 10, every=5)
    np.testing.assert_allclose(trail.points, [[1, 1], [0.9**10, 0.8**10], [0.9**20, 0.8**20]], rtol=1e-14)
    assert trail.readings["steps"].tolist() == [0, 20, 40] and trail.rounds == 10 and trail.at(5) == 1
    assert trail.ranks == min(world.size, 2) and trail.workers == 2
    assert trail.objective == pytest.approx(0.5 * 0.9**40 + 0.8**40, rel=1e-12)
    assert all(np.array_equal(trail.x, other[0]) for other in world.gather(trail.x[None]))


@pytest.mark.ranks(1, 2, 3)
def test_workers_may_start_apart_and_are_looked_at(world):
    lab, starts = Lab(world, Console(first=False)), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    trail = lab.follow(
        "apart", easgd(sgd(0.0), 4, 1, 0.4), 4, lambda part: alike(part, BOWL), np.zeros(2), 3, starts=starts, own=True
    )
    np.testing.assert_allclose(trail.own, [0.9**k * starts for k in range(4)], rtol=1e-14)
    assert not trail.points.any() and trail.readings["round"].tolist() == [0, 1, 2, 3]


@pytest.mark.ranks(1, 2)
def test_a_run_ends_when_it_is_done_and_alone_is_alone(world):
    lab = Lab(world, Console(first=False))
    with lab.alone(3) as one:
        assert (one.size, one.workers, list(one.hosted)) == (1, 3, [0, 1, 2])
    trail = lab.follow(
        "done", local_sgd(sgd(0.1), 1), 1, lambda part: alike(part, BOWL), np.ones(2), 100, every=50, done=lambda x: x[0] < 0.5
    )
    assert trail.readings["round"].tolist() == [0, 7]


def test_turns_are_taken():
    turns = np.array([Turn()(3, Streams(), k) for k in range(6)])
    assert (turns.sum(1) == 1).all() and turns.argmax(1).tolist() == [0, 1, 2] * 2
    heard = []
    Ahead(lambda messages, state, here: heard.append(here))([], (), Joint(None, 2, Turn()))
    assert heard == [Joint(None, 3, Turn())]  # the worker whose turn comes next


def test_bowls_have_the_curvatures_and_the_minimum_asked_for():
    axes, centre, curvatures = rotation(Streams(3)("axes"), 4), np.arange(4.0), np.array([1.0, 2.0, 5.0, 9.0])
    losses = [bowl(curvatures, axes, centre), bowl(curvatures, axes, -centre)]
    h, _ = normal(losses)
    np.testing.assert_allclose(np.linalg.eigvalsh(h), curvatures, rtol=1e-12)
    np.testing.assert_allclose(optimum(losses[:1]), centre, atol=1e-12)
    np.testing.assert_allclose(optimum(losses), 0, atol=1e-12)


# ---------------------------------------------------------------------------------------------- the command
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.study] * (name in TOYS)) for name in STUDIES])
def test_the_short_form_of_every_study_finds_what_is_expected(name, world, tmp_path, capsys):
    found = run(Reproduce(name, out=tmp_path / name, quick=True), world, Console())
    said = capsys.readouterr()
    assert found["passed"] and found["exit_code"] == 0, said.out
    assert max(map(len, said.out.splitlines())) <= WIDTH and f"{name} (short form)" in said.out
    assert [Path(file).name for file in found["files"]][:2] == ["table.txt", "table.csv"]
    assert (tmp_path / name / "picture.png").read_bytes().startswith(b"\x89PNG")
    runs = [read_run(file) for file in found["files"] if file.endswith(".h5")]
    assert runs and all(run.attributes["study"] == name for run in runs)
    for each in runs:
        assert read_solution(each.path)[0].shape == (each.attributes["features"],)
        assert len(compare([each]).runs) == 1
    assert json.loads(json.dumps(plain(found)))["study"] == name


@pytest.fixture
def tiny(monkeypatch):
    """A study of one check, whose found number the test decides."""
    from types import SimpleNamespace

    from matplotlib.figure import Figure

    def make(*found: float) -> None:
        def study(lab):
            trail = lab.follow("one", local_sgd(sgd(0.1), 1), 1, lambda part: alike(part, BOWL), np.ones(2), 2)
            return Findings([Check("it", Equal(1), each) for each in found], [trail], "A note.")

        module = SimpleNamespace(run=study, draw=lambda found: Figure())
        monkeypatch.setattr("mpiopt.jobs.reproduce.find", lambda name: module)

    return make


def test_a_number_outside_is_exit_code_1(tiny, world, tmp_path, capsys):
    tiny(1.0)
    assert run(Reproduce("tiny", out=tmp_path / "a"), world, Console())["exit_code"] == 0
    tiny(2.0)
    found = run(Reproduce("tiny", out=tmp_path / "b"), world, Console())
    assert found["exit_code"] == 1 and not found["passed"] and "0 of 1 numbers" in capsys.readouterr().out
    assert (tmp_path / "b" / "table.txt").read_text().count("NO") == 1 and (tmp_path / "b" / "one.h5").exists()


def test_a_study_that_found_nothing_has_not_passed(tiny, world, tmp_path):
    tiny()
    found = run(Reproduce("tiny", out=tmp_path / "a"), world, Console())
    assert found["passed"] is False and found["exit_code"] == 1


def test_what_is_repeated_over_seeds_shows_mean_and_spread(world, tmp_path):
    assert list(Lab(world, Console(first=False)).seeds) == list(range(10)) and len(Lab(world, Console(), quick=True).seeds) == 1
    values = [1.0, 2.0, 3.0]
    several, once = Check.over("many", Near(2, 1.1), values), Check.over("one", Equal(5), [5.0])
    assert (several.found, several.spread, several.seeds, several.holds) == (2.0, 1.0, 3, True)
    assert (once.found, once.spread, once.seeds) == (5.0, 0.0, 1)
    lines = [line.split() for line in shown([several, once]).splitlines()]
    assert lines[0][-3:] == ["found", "+-", "holds"] and lines[2][-3:] == ["2", "1", "yes"] and lines[3][-2:] == ["5", "yes"]
    assert not Check.over("far", Near(2, 1.1), [2.0, 20.0]).holds and several.facts["spread"] == 1.0


def test_results_are_not_replaced_unasked(tiny, world, tmp_path):
    tiny(1.0)
    run(Reproduce("tiny", out=tmp_path), world, Console())
    with pytest.raises(UsageError, match="give --overwrite"):
        run(Reproduce("tiny", out=tmp_path), world, Console())
    assert run(Reproduce("tiny", out=tmp_path, overwrite=True), world, Console())["passed"]


def test_what_cannot_be_is_said_before_anything_runs(tiny, world, tmp_path):
    tiny(1.0)
    with pytest.raises(UsageError, match="no animation"):
        run(Reproduce("tiny", out=tmp_path / "c", animate=True), world, Console())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run(Reproduce("tiny", out=tmp_path / "file" / "d"), world, Console())
    assert not (tmp_path / "c").exists()


def test_without_matplotlib_all_but_the_picture_is_written(world, tmp_path, monkeypatch, capsys):
    study = find("optimizer-animation")
    monkeypatch.setattr(study, "TASKS", {"saddle": study.TASKS["saddle"]})
    monkeypatch.setitem(sys.modules, "mpiopt.jobs.studies.apparatus.canvas", None)
    found = run(Reproduce("optimizer-animation", out=tmp_path / "a", quick=True), world, Console())
    assert "pip install 'mpiopt[report]'" in capsys.readouterr().err and len(found["files"]) == 9
    with pytest.raises(MpioptError, match=r"pip install 'mpiopt\[report\]'"):
        run(Reproduce("optimizer-animation", out=tmp_path / "b", quick=True, animate=True), world, Console())


def test_an_animation_moves(world, tmp_path, monkeypatch):
    study = find("optimizer-animation")
    monkeypatch.setattr(study, "FRAMES", 6)
    study.animate(study.run(Lab(world, Console(first=False), quick=True)), tmp_path / "animation.gif")
    with Image.open(tmp_path / "animation.gif") as film:
        assert film.n_frames >= 5


def test_a_rule_has_one_colour_on_all_landscapes_whichever_of_them_it_ran_on():
    pytest.importorskip("matplotlib")
    from mpiopt.jobs.studies.optimizer_animation import draw

    path, no = np.array([[1.0, 0.01], [0.5, 0.5]]), np.empty((0, 1, 2))
    names = ("saddle-sgd", "saddle-momentum", "saddle-adam", "valley-adam", "valley-momentum", "beale-sgd")
    trails = [Trail(name, "sgd", 1, 1, 1, {"round": np.arange(2)}, path, no) for name in names]
    lines = [line for panel in draw(Findings([], trails, "")).axes for line in panel.lines]
    colours = {(line.get_label(), line.get_color()) for line in lines if not line.get_label().startswith("_")}
    assert sorted(label for label, _ in colours) == ["Adam", "SGD", "momentum"]
