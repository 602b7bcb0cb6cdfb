"""bench scaling: the fits, the projections, a run on one and on two ranks."""

from math import log2

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.jobs.benches.scaling import FAR, LENGTHS, Network, Scaled, fit_network, fitted_line, projections, scaling
from mpiopt.jobs.cli.console import Console


def test_an_allreduce_costs_stages_and_bytes():
    network = Network("own", 1e-5, 1e-9)
    assert network.allreduce(1e6, 1) == 0
    assert network.allreduce(0, 1024) == pytest.approx(1e-4)
    assert network.allreduce(1e6, 4) == pytest.approx(2e-5 + 1.5e-3)


@pytest.mark.parametrize("ranks", [2, 7, 64])
def test_a_network_is_found_again_from_its_times(ranks):
    true = Network("", 3e-6, 2e-10)
    found = fit_network([true.allreduce(8 * n, ranks) for n in LENGTHS], ranks)
    assert (found.alpha, found.beta) == (pytest.approx(3e-6), pytest.approx(2e-10)) and "off by at most 0 %" in found.name
    noisy = fit_network([true.allreduce(8 * n, ranks) * (1 + 0.2 * (-1) ** k) for k, n in enumerate(LENGTHS)], ranks)
    assert noisy.alpha == pytest.approx(3e-6, rel=0.3) and "off by at most 2" in noisy.name


def solves(rounds):
    return [Scaled("strong", 2**k, 1000, r, True, 6 * r, 80.0 * r, 1e-2 / 2**k) for k, r in enumerate(rounds)]


def test_rounds_are_a_line_in_the_logarithm_of_workers():
    line = fitted_line(solves([3, 4, 5, 6]))
    assert (line.first, line.each, line.off) == (pytest.approx(3), pytest.approx(1), pytest.approx(0, abs=1e-12))
    assert line.at(1024) == pytest.approx(13) and fitted_line(solves([9, 1, 1, 1])).at(2**30) == 1
    assert fitted_line(solves([3, 4])) is None and fitted_line(solves([3, 5, 4])).off > 0.5


def test_projections_add_work_and_messages():
    found, network = solves([4, 4, 4, 4]), Network("own", 1e-5, 1e-9)
    *_, last = projections(found, fitted_line(found), [network])
    work, said = 1e-2 / 1000, network.allreduce(80, 1000) + 5 * 1e-5 * log2(1000)
    assert last["ranks"] == FAR[-1] == 1000 and last["rounds"] == pytest.approx(4) and last["bytes"] == pytest.approx(320)
    assert last["seconds"] == pytest.approx(4 * (work + said)) and last["communicating"] == pytest.approx(said / (work + said))


@pytest.mark.ranks(1, 2)
def test_it_looks_at_workers_strongly_and_weakly(world):
    found = scaling("rcv1:rows=200,cols=30,per_row=4", 1e-2, 1e-8, 4, 1, world, Console(first=False))
    kinds = [(each["kind"], each["workers"], each["rows"]) for each in found["solves"]]
    counts = [1, 2, 4]
    assert kinds == [("strong", m, 200) for m in counts] + [("weak", m, 50 * m) for m in counts]
    assert all(each["converged"] and each["work"] > 0 for each in found["solves"])
    assert len(found["networks"]) == 3 + (world.size > 1) and len(found["projections"]) == len(FAR) * len(found["networks"])
    assert np.isfinite([each["seconds"] for each in found["projections"]]).all()
    with pytest.raises(UsageError, match=r"--most 0: every one"):
        scaling("rcv1:rows=200,cols=30,per_row=4", 1e-2, 1e-8, 0, 1, world, Console(first=False))
