"""mpiopt methods sampling DATA: the constants of laws on rows, as theory has them."""

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.jobs.cli.console import WIDTH, Console
from mpiopt.jobs.methods import Methods, run
from mpiopt.problems.linear import Linear

ROWS = "rcv1:rows=60,cols=12,per_row=4,seed=2"


def test_the_constants_are_printed_and_the_minibatch_of_least_work_takes_no_more_rows_than_its_neighbours(capsys):
    found = run(Methods("sampling", ROWS, loss="least_squares", l2=0.1), None, Console())
    said = capsys.readouterr().out
    laws, n = found["laws"], 60
    assert max(map(len, said.splitlines())) <= WIDTH and all(name in said for name in laws)
    one, some, whole = laws["nice:1"], laws[f"nice:{found['best_minibatch']}"], laws["nice:60"]
    assert one["smoothness"] == pytest.approx(found["steepest"]) and whole["smoothness"] == pytest.approx(found["L"])
    assert whole["noise"] == pytest.approx(0, abs=1e-12) and whole["work"] == n * whole["steps"]
    tau = some["rows"]
    part = (n - tau) / (tau * (n - 1))
    assert some["smoothness"] == pytest.approx((1 - part) * found["L"] + part * found["steepest"])
    assert some["noise"] == pytest.approx(part * one["noise"], rel=1e-6)
    assert some["work"] <= 1.001 * min(one["work"], whole["work"])
    assert np.isfinite([value for law in laws.values() for value in law.values()]).all()


@pytest.mark.parametrize(
    ("job", "error", "says"),
    [
        (Methods("sampling", ROWS, l2=0.0), UsageError, "give `l2` and `accuracy` above 0"),
        (Methods("adom", ROWS), UsageError, "give mpiopt methods sampling rcv1"),
        (Methods("sampling", "none.h5"), DataError, "none.h5"),
    ],
)
def test_what_cannot_be_is_one_sentence(job, error, says):
    with pytest.raises(error, match=says) as caught:
        run(job, None, Console(first=False))
    assert "\n" not in str(caught.value)


def test_a_loss_without_a_bound_has_no_constants(monkeypatch):
    monkeypatch.setattr(Linear, "lipschitz", np.inf)
    with pytest.raises(CapabilityError, match="the second derivative of logistic has no bound"):
        run(Methods("sampling", ROWS), None, Console(first=False))
