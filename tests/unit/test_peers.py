"""bench peers: what is timed, who is left out and why, what is shown."""

import os
from math import inf
from time import sleep

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.benches import peers
from mpiopt.jobs.benches.peers import LEVELS, Told, draw, ladder, meeting, shown, timed
from mpiopt.jobs.benches.solvers import DENSE, PEERS, AllRows, Judge, Peer, Skipped, fitted
from mpiopt.jobs.cli.console import Console

DATA = "rcv1:rows=300,cols=40,per_row=5"


@pytest.fixture(scope="module")
def rows():
    return fitted(open_source(DATA, None), 0.0, 1e-2)


def test_the_judge_knows_the_objective_and_its_optimum(rows):
    judge = Judge(rows)
    x = np.linspace(-1, 1, 40)
    value = np.log1p(np.exp(-rows.y * (rows.a @ x))).mean() + 0.005 * x @ x
    assert judge.value(x) == pytest.approx(value) and judge.value(0 * x) == pytest.approx(np.log(2))
    assert Judge(rows, value)(x) == pytest.approx(0, abs=1e-15) and Judge(rows, value)(0 * x) == pytest.approx(1)
    assert Judge(AllRows(rows.a, rows.y, 0.1, 0.0, 1)).value(x) == pytest.approx(value - 0.005 * x @ x + 0.1 * abs(x).sum())


class Score(Judge):
    """Of coefficients that are what they are worth."""

    def __call__(self, x):
        return float(x[0] ** 2)


def asked_of(rows, runs, most, takes):
    """The tolerances that a peer is asked for, and what is said of it: it is as far off as asked, and takes its time."""
    asked, said = [], []

    def fit(tolerance):
        asked.append(round(-np.log10(tolerance)))
        sleep(takes)
        return np.full(1, tolerance)

    ladder(fit, Score(rows), runs, most, said.append)
    return asked, said


def test_a_peer_is_timed_at_the_loosest_tolerance_that_reaches_a_level(rows):
    asked, said = asked_of(rows, 3, inf, 0.0)
    assert asked == [1, 2, 2, 2, 3, 3, 3, 4, 4, 4] and len(said) == len(LEVELS) and np.isfinite(said).all()
    asked, said = [], []
    ladder(lambda tolerance: asked.append(tolerance) or np.zeros(1), Score(rows), 3, inf, said.append)
    assert len(asked) == 4 and len(set(said)) == 1 and len(said) == len(LEVELS)  # what the first fit took is not told


def test_what_takes_long_is_timed_once(rows):
    assert asked_of(rows, 3, 0.5, 0.051)[0] == [1, 2, 3, 4]


def test_a_fit_is_ended_when_its_time_is_over(rows):
    def fit(rows, tolerance):
        while tolerance < 1e-3:  # busy
            pass
        return np.full(1, tolerance)

    told = timed(Peer("own", "numpy", fit), Score(rows), 2, 0.3)
    assert told.ended == 0.3 and np.isfinite(told.seconds).tolist() == [True, True, False]
    assert told.version == np.__version__ and told.cores == 1
    assert "> 0.3" in shown([told]).splitlines()[-1] and not told.left_out
    never = timed(Peer("own", "numpy", lambda rows, tolerance: np.ones(1)), Score(rows), 1, 60.0)
    assert never.seconds == (inf,) * len(LEVELS) and never.ended is None and not never.left_out


def test_a_fit_has_some_time():
    with pytest.raises(UsageError, match=r"--seconds 0\.0: give more than 0"):
        meeting(DATA, 0.0, 1e-2, 1, 0.0, None, None, None)


def test_what_ends_a_fit_is_told(rows):
    killed = timed(Peer("own", "numpy", lambda rows, tolerance: os.kill(os.getpid(), 9)), Judge(rows), 1, 60.0)
    assert killed.left_out == "died of signal 9"
    late = timed(Peer("own", "numpy", wants_a_file), Judge(rows), 1, 60.0)
    assert late.left_out == "reads a file"
    with pytest.raises(ZeroDivisionError):
        timed(Peer("own", "numpy", lambda rows, tolerance: 1 / 0), Judge(rows), 1, 60.0)


def wants_a_file(rows, tolerance):
    raise Skipped("reads a file")


def test_who_cannot_is_left_out_with_the_reason(rows):
    missing = timed(Peer("own", "no-such-package", None), Judge(rows), 1, 60.0)
    assert missing.left_out == "not installed: pip install no-such-package"
    wide = AllRows(rows.a[:, [0] * (DENSE + 1)], rows.y, 0.0, 1e-2, 1)
    cholesky = next(peer for peer in PEERS if "cholesky" in peer.name)
    with pytest.raises(Skipped, match="dense matrix of 5,001 x 5,001"):
        cholesky.check(wide)
    text = shown([Told("slow", "1", 1, (1.0, 2.0, inf)), Told("quick", "2", 4, (0.1, 0.2, 3.0)), missing])
    assert text.index("quick") < text.index("slow") < text.index("left out: own: not installed") and "-" in text


INSTALLED = [peer for peer in PEERS if peer.package in ("liblinear-official", "scikit-learn")]


@pytest.mark.parametrize("peer", INSTALLED, ids=lambda peer: peer.name)
def test_installed_peers_solve_the_problem_that_is_judged(rows, peer):
    one = AllRows(rows.a, rows.y, 5e-3 * peer.sparse, 1e-2 * (not peer.sparse), 1)
    judge, x = Judge(one), peer(one, 1e-9)
    near = [judge.value(x + step) for step in 1e-3 * np.random.default_rng(0).standard_normal((20, 40))]
    assert judge.value(x) < min(near) and judge.value(x) < np.log(2)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("l1", [0.0, 5e-3])
def test_all_meet_on_any_ranks(world, shared_tmp, monkeypatch, l1):
    monkeypatch.setattr(peers, "peers", lambda sparse: [p for p in PEERS if p.sparse == sparse and "LIBLINEAR" in p.name])
    found = meeting(DATA, l1, 1e-2, 1, 60.0, shared_tmp / "p.png", world, Console(first=False))
    names = [each["name"] for each in found["solvers"]]
    assert names == (["mpiopt spcg", "LIBLINEAR -s 6"] if l1 else ["mpiopt spcg", "LIBLINEAR -s 7", "LIBLINEAR -s 0"])
    assert np.isfinite([each["seconds"] for each in found["solvers"]]).all()
    assert (shared_tmp / "p.png").exists() and found["solvers"][0]["cores"] == world.size


def test_those_that_were_left_out_are_not_drawn(tmp_path):
    draw([Told("a", "1", 1, (1.0, 2.0, inf)), Told("b", "", 1, left_out="why")], tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000
