"""solve --lower and --upper: coefficients within walls, as SciPy finds them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.solve import run
from mpiopt.problems.penalties import L2

DATA = "default:rows=200,cols=25,per_row=6"


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize(("lower", "upper"), [(0.0, None), (-0.2, 0.3)])
def test_coefficients_stay_within_walls(world, shared_tmp, lower, upper):
    job = Solve(data=DATA, l2=1e-2, lower=lower, upper=upper, out=shared_tmp / f"{lower}.h5")
    found = run(job, world, Console(first=world.rank == 0))
    assert found["converged"] and found["rounds"] <= 15 and found["gap"] <= 1e-8
    team = team_of(open_source(DATA, world), world, L2(1e-2))

    def objective(x):
        parts = [(site.share, *site.loss.value_grad(site.loss.point(x))) for site in team.sites]
        sums = world.total([np.append(share * value, share * slope) for share, value, slope in parts])
        return sums[0] + 5e-3 * x @ x, sums[1:] + 1e-2 * x

    best = minimize(objective, np.zeros(25), jac=True, bounds=[(lower, upper)] * 25, options={"ftol": 1e-15, "gtol": 1e-10})
    x, told = read_solution(job.out)[0], read_run(job.out).attributes
    np.testing.assert_allclose(x, best.x, atol=2e-3)
    assert found["objective"] <= best.fun + 1e-8 and told["lower"] == lower and told.get("upper") == upper
    assert (x >= lower).all() and (upper is None or (x <= upper).all()) and (x == lower).any()


def test_what_cannot_be_is_said(world):
    job = Solve(data=DATA, lower=0.0)
    for given, error, said in (
        ({"l1": 0.1}, UsageError, "do not go together"),
        ({"lower": 1.0, "upper": 2.0}, UsageError, "coefficients begin at 0"),
        ({"method": "lbfgs"}, CapabilityError, "lbfgs needs a smooth penalty, and --lower 0 makes kinks: use --method spcg"),
        ({"device": "gpu"}, CapabilityError, "spcg with --lower 0 works on the CPU"),
    ):
        with pytest.raises(error, match=said):
            run(replace(job, **given), world, Console())
