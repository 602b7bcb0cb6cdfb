"""Every convex method on every loss, every training method on every model: it works or says in a sentence why it cannot."""

import re
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.phase import Phase
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError
from mpiopt.exchange.mean import Mean
from mpiopt.jobs.studies.apparatus.quadratics import dense
from mpiopt.losses.labels import COUNTS
from mpiopt.losses.registry import find as loss_of
from mpiopt.losses.registry import names
from mpiopt.methods import catalogue, find, training
from mpiopt.outer.descend import Descend
from mpiopt.problems.curved import Curved
from mpiopt.problems.demand import INSTEAD
from mpiopt.problems.examples import Dense
from mpiopt.problems.factorisation import Completion, planted
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.lifted import Lifted, lifted
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L1, L2
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Conjugate, Curvature, Loss, Margins, Owned, Trainable, lacking, members, offers
from mpiopt.problems.softmax import Softmax
from mpiopt.training.drive import Goal, train
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd
from mpiopt.work.gradient import Gradient
from mpiopt.work.steps import Minibatch, Pulled
from tests.training_sets import built

DIM, ROWS, L = 3, 80, 0.1


@dataclass
class Own:
    """A loss from outside the package with nothing but a value and a gradient: mean log cosh of a row's error."""

    a: np.ndarray
    y: np.ndarray
    dim: int = DIM
    weight: float = float(ROWS)
    rows: int = ROWS

    def point(self, x):
        return Point(x)

    def value_grad(self, at):
        e = self.a @ at.x - self.y
        return float(np.logaddexp(e, -e).mean() - np.log(2)), self.a.T @ np.tanh(e) / len(e)


def rows(text: str, seed: int):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((ROWS, DIM))
    margins = a @ [0.5, -1.0, 0.25] + 0.5 * rng.standard_normal(ROWS)
    if text == "own":
        return Own(a, margins)
    if text == "quadratic":
        return Quadratic((2.0, 0.5, 1.0 + seed), (1.0, 1.0, 1.0))
    family = loss_of(text)
    y = np.where(margins > 0, 1.0, -1.0) if family.labels.classes else margins
    return Linear(dense(a), np.floor(np.exp(margins)) if family.labels is COUNTS else y, family)


LOSSES = [*names(), "quadratic", "own"]
REFUSED = {("cocoa", "poisson"), ("cocoa", "quadratic"), ("cocoa", "own")}  # no dual step, or no dual
REFUSED |= {("prox_newton", "quadratic"), ("prox_newton", "own")}  # no columns
REFUSED |= {(name, loss) for name in ("owa", "acowa") for loss in ("quadratic", "own")}  # no columns
REFUSED |= {("acowa", loss) for loss in ("least_squares", "huber", "poisson")}  # no classes
REFUSED |= {("sgd_as", "poisson"), ("sgd_as", "quadratic"), ("sgd_as", "own")}  # no bounded smoothness, or no rows
START = np.array([0.3, -0.2, 0.1])  # away from 0, where the quadratic is done


def team(world: World, text: str, penalty=L2(L)) -> Team:  # noqa: B008
    return Team.of(world, [rows(text, worker) for worker in world.hosted], penalty)


def optimum(world: World, text: str) -> float:
    """F at the optimum, by a method that needs a value and a gradient alone, of SciPy."""
    from scipy.optimize import minimize

    whole = lifted(team(world, text))

    def objective(x):
        parts = [site.loss.value_grad(site.loss.point(x)) for site in whole.sites]
        value = sum(site.share * part[0] for site, part in zip(whole.sites, parts, strict=True))
        slope = sum(site.share * part[1] for site, part in zip(whole.sites, parts, strict=True))
        return value + L / 2 * x @ x, slope + L * x

    return minimize(objective, START, jac=True, method="BFGS", options={"gtol": 1e-9}).fun


# how far each is from the optimum after its rounds, for those that are not there by then
SLOW = {
    "dcgd": 0.5,
    "ef": 0.5,
    "rand_diana": 0.3,
    "diana": 0.3,
    "ef21": 0.3,
    "marina": 0.3,
    "gdci": 0.3,
    "vr_gdci": 0.3,
    "dgd": 0.1,
    "choco": 0.5,
    "diging": 0.3,
    "adom": 0.5,
    "adom_plus": 0.5,
    "aeg": 0.1,
    "owa": 0.1,
    "acowa": 0.1,
    "sgd_as": 0.5,
}


@pytest.mark.parametrize("text", LOSSES)
def test_every_convex_method_on_every_loss(worlds, text):
    world = worlds(workers=2)
    least = optimum(world, text)
    refused = set()
    for name in catalogue():
        made = find(name).make()
        try:
            found = solve(made, team(world, text), START.copy(), Stop(rounds=60, gradient=1e-6))
        except CapabilityError as error:
            assert name in str(error) and "\n" not in str(error) and " use " in str(error), error
            refused.add((name, text))
            continue
        begun = found.history[0].objective
        far = found.certificate.objective - least
        assert far <= SLOW.get(name, 1e-3) * (begun - least) + 1e-9, (name, begun, found.certificate.objective, least)
    assert refused == {cell for cell in REFUSED if cell[1] == text}


def test_few_cells_are_refused():
    assert 10 * len(REFUSED) <= len(LOSSES) * len(catalogue())


def blocks_of(method) -> set[type]:
    """What the blocks of a method need; of methods that are no compositions, the one thing."""
    return {block.needs for block in method.blocks} if hasattr(method, "blocks") else {Margins}


def test_without_lifting_a_loss_that_lacks_something_is_refused_in_a_sentence(worlds):
    raw = team(worlds(workers=2), "own")
    for name in catalogue():
        made = find(name).make()
        try:
            made.init(START, raw)
        except CapabilityError as error:
            says = f"{name} cannot run on Own: its .* needs .*(plane|bregman|hessian).*; use "
            assert re.match(says, str(error)), error
        else:
            assert blocks_of(made) <= {Owned, Loss}


def test_an_l1_part_on_a_loss_without_columns(worlds):
    world = worlds(workers=1)
    found = solve(find("fista").make(), team(world, "own", L1(0.3)), START, Stop(rounds=300, gradient=1e-8))
    assert found.reason.converged and not found.x.all()


@pytest.mark.parametrize("text", ["quadratic", "own"])
def test_a_lifted_loss_is_what_it_was(text):
    """Planes, divergences and products are those of its values and gradients."""
    loss, rng = Lifted(rows(text, 1)), np.random.default_rng(0)
    x, p, c = rng.standard_normal(DIM), rng.standard_normal((2, DIM)), np.array([0.3, -0.2])
    at = loss.point(x)
    value, gradient = loss.value_grad(at)
    moved = loss.point(x + c @ p)
    sums = loss.plane(at, np.array([loss.margins(d) for d in p]), c)
    assert sums[0] == pytest.approx(loss.value_grad(moved)[0], rel=1e-13)
    np.testing.assert_allclose(sums[1:3], p @ loss.value_grad(moved)[1], rtol=1e-12)
    step = 1e-5
    for v in p:
        ahead, behind = (loss.value_grad(Point(x + s * v))[1] for s in (step, -step))
        np.testing.assert_allclose(loss.hessian(at)(v), (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-9)
    for scale in (1.0, 1e-3, 1e-6):
        z = x + scale * p[0]
        expected = 0.5 * scale**2 * p[0] @ loss.hessian(Point(x + scale * p[0] / 3))(p[0])
        assert loss.bregman(at, z) == pytest.approx(expected, rel=1e-5 if scale < 1 else 0.1)
    full = np.array([loss.hessian(at)(e) for e in np.eye(DIM)])
    assert loss.diagonal(at).mean() == pytest.approx(np.diag(full).mean(), rel=0.5)
    assert loss.steepest == pytest.approx(
        np.linalg.eigvalsh([loss.hessian(loss.point(0 * x))(e) for e in np.eye(DIM)])[-1], rel=0.03
    )
    with pytest.raises(CapabilityError, match="rows of"):
        loss.head(1)
    assert isinstance(value, float) and gradient.shape == (DIM,)


def test_capabilities_are_seen_and_nothing_is_computed():
    linear, own, quadratic = rows("logistic", 0), rows("own", 0), rows("quadratic", 0)
    assert all(offers(linear, kind) for kind in (Loss, Curvature, Margins, Conjugate, Trainable))
    assert "row_squares" not in vars(linear) and offers(Lifted(own), Margins) and not offers(Lifted(own), Conjugate)
    assert [offers(own, kind) for kind in (Loss, Curvature, Margins, Trainable)] == [True, False, False, False]
    assert offers(quadratic, Curvature) and "hessian" in lacking(own, Margins) and "plane" in lacking(quadratic, Margins)
    assert members(Loss) == ("dim", "rows", "weight", "point", "value_grad") and set(INSTEAD) >= {Loss, Margins, Conjugate}


def test_every_block_says_what_it_needs():
    for name in catalogue():
        made = find(name).make()
        assert made.name == name and blocks_of(made) <= set(INSTEAD), name


# ------------------------------------------------------------------------------------------------ training
def models(rng):
    """One of every kind of model, on a few rows."""
    x, y = rng.standard_normal((24, DIM)), rng.integers(0, 2, 24)
    answers = np.where(y, 1.0, -1.0)
    linear = Linear(dense(x), answers, loss_of("logistic"))
    yield "linear", linear
    yield "curved", Curved(linear, 0.1)
    yield "softmax", Softmax(Dense(x, y), 2)
    yield "perceptron", Perceptron(Dense(x, y), (DIM, 4, 2))
    yield "completion", Completion(planted(rng, (6, 4), 2), (6, 4), 2)
    yield "quadratic", Quadratic((2.0, 0.5, 1.0), (1.0, 1.0, 1.0))
    yield "own", Own(x, answers)


@pytest.mark.ranks(1)
def test_every_training_method_on_every_model(worlds):
    world, refused = worlds(workers=2), []
    for kind, model in models(np.random.default_rng(0)):
        for name in training():
            team = Team.of(world, [model, model], L2(0.01))
            x = np.full(model.dim, 0.1)
            try:
                method = built(name, workers=2)
                run = list(islice(rounds(method, team, x), 4))[-1]
                found = method.answer(run, team).x
            except CapabilityError as error:
                assert name in str(error) and "\n" not in str(error), error
                refused.append((kind, name))
                continue
            assert np.isfinite(found).all() and (found != 0.1).any(), (kind, name)
    assert {name for _, name in refused} == {"model_parallel"}  # it divides the layers of perceptrons


@pytest.mark.parametrize(
    ("phases", "says"),
    [
        ((Phase(Gradient(), Mean()),), "its Gradient keeps no log"),
        ((Phase(Pulled(), Mean()), Phase(Minibatch(), Mean())), "its Pulled keeps no log"),
        ((), "without a phase it keeps no log"),
    ],
)
def test_a_training_whose_first_work_counts_nothing_is_refused_in_a_sentence(phases, says):
    world = World()
    team = Team.of(world, [Quadratic((2.0, 0.5), (1.0, 1.0))], L2(0.01))
    method = Training(None, phases, Descend(sgd(0.1)), name="mine")
    with pytest.raises(CapabilityError, match=f"^mine cannot train: {says} .* begin with Steps, Minibatch or"):
        train(method, team, np.zeros(2), Goal(rounds=1))
