"""The named rules against published step counts, closed forms and PyTorch's optimisers."""

import numpy as np
import pytest

from mpiopt.numerics.schedules import Constant, Cosine, Piecewise, WarmUp
from mpiopt.problems.landscapes import SADDLE, VALLEY, Beale, Quadratic
from mpiopt.problems.penalties import L1
from mpiopt.problems.problem import Point
from mpiopt.transforms.bounds import ClipNorm, Decay, Prox
from mpiopt.transforms.rules import adadelta, adagrad, adam, adamw, momentum, nag, rmsprop, sgd, torch_momentum, torch_nag
from mpiopt.transforms.transform import chain


def points(rule, slope, x):
    """Every point that the rule reaches from x, without end."""
    x = x.copy()
    state, step = rule.init(x), 0
    while True:
        yield x
        u, state = rule(slope(rule.look(x, state)), x, state, step)
        x += u
        step += 1


def slope_of(landscape):
    return lambda x: landscape.value_grad(Point(x))[1]


def value_of(landscape, x):
    return landscape.value_grad(Point(x))[0]


TASKS = {
    "saddle": (SADDLE, lambda x: abs(x[1]) > 1),
    "valley": (VALLEY, lambda x: value_of(VALLEY, x) < 1e-3),
    "beale": (Beale(), lambda x: np.hypot(x[0] - 3, x[1] - 0.5) < 0.05),
}
RULES = {
    "saddle": [sgd(0.01), momentum(0.01), nag(0.01), adagrad(0.5), rmsprop(0.02), adadelta(), adam(0.05)],
    "beale": [sgd(1e-3), momentum(1e-3), nag(1e-3), adagrad(0.5), rmsprop(0.01), adadelta(), adam(0.05)],
}
RULES["valley"] = RULES["saddle"]
STEPS = {
    "saddle": [233, 49, 47, 2, 29, 30, 20],
    "valley": [17268, 1703, 1706, 342, 506, 2061, 384],
    "beale": [6883, 667, 670, 642, 355, None, 591],  # Adadelta: more than 50000
}
NAMES = ["sgd", "momentum", "nag", "adagrad", "rmsprop", "adadelta", "adam"]
TABLE = [
    pytest.param(task, rule, steps, id=f"{task}-{name}")
    for task in TASKS
    for name, rule, steps in zip(NAMES, RULES[task], STEPS[task], strict=True)
    if steps
]


@pytest.mark.parametrize(("task", "rule", "steps"), TABLE)
def test_steps_on_the_landscapes(task, rule, steps):
    landscape, done = TASKS[task]
    walk = points(rule, slope_of(landscape), np.array(landscape.start))
    assert next(k for k, x in enumerate(walk) if done(x) or k > steps) == steps


def test_adadelta_is_not_there_yet_when_all_others_are():
    landscape, done = TASKS["beale"]
    walk = points(adadelta(), slope_of(landscape), np.array(landscape.start))
    assert not any(done(next(walk)) for _ in range(7000))


def test_a_quadratic_of_condition_100_with_the_best_constants():
    mu, L = 1.0, 100.0
    bowl, root = Quadratic((mu / 2, L / 2), (1.0, 1.0)), np.sqrt(L / mu)
    beta = (root - 1) / (root + 1)
    rules = [
        sgd(2 / (mu + L)),
        momentum(4 / (np.sqrt(mu) + np.sqrt(L)) ** 2, beta**2),
        torch_nag(1 / L, beta),
        nag(1 / L, beta),
    ]
    ends = [next(x for k, x in enumerate(points(rule, slope_of(bowl), np.ones(2))) if k == 100) for rule in rules]
    assert [float(f"{np.linalg.norm(x):.1e}") for x in ends] == [0.19, 3.5e-7, 2.7e-4, 2.9e-4]  # nag looks at torch_nag's


def test_adagrad_on_a_constant_slope():
    walk = points(adagrad(0.1, eps=1e-30), lambda x: np.full(1, 7.0), np.zeros(1))
    steps = -np.diff([next(walk)[0] for _ in range(6)])
    np.testing.assert_allclose(steps, 0.1 / np.sqrt(np.arange(1, 6)), rtol=1e-12)


def test_momentum_keeps_old_steps_and_the_torch_form_rescales_them():
    drop, slope = Piecewise((1.0, 0.1), (1,)), lambda x: np.ones(1)
    for rule, wanted in [(momentum(drop, 0.5), 0.5 + 0.1), (torch_momentum(drop, 0.5), 0.1 * 1.5)]:
        walk = points(rule, slope, np.zeros(1))
        first, second, third = (float(next(walk)[0]) for _ in range(3))
        assert (first, second) == (0, -1)
        assert second - third == pytest.approx(wanted)


def test_prox_steps_find_the_sparse_optimum():
    a, b, penalty = np.array([1.0, 2.0, 4.0]), np.array([3.0, 0.1, -2.0]), L1(0.5)
    walk = points(chain(sgd(0.2), Prox(penalty.prox, Constant(0.2))), lambda x: a * x - b, np.zeros(3))
    x = next(x for k, x in enumerate(walk) if k == 200)
    np.testing.assert_allclose(x, np.sign(b) * np.maximum(abs(b) - 0.5, 0) / a, atol=1e-12)
    assert x[1] == 0


LR = 0.03
FORMS = {  # our rule, and the name and arguments of the optimiser that it should equal
    "sgd": (sgd(LR), "SGD", {}),
    "momentum": (momentum(LR), "SGD", {"momentum": 0.9}),
    "torch_nag": (chain(Decay(0.2), torch_nag(LR)), "SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    "adagrad": (adagrad(LR), "Adagrad", {"eps": 1e-8}),
    "adadelta": (adadelta(), "Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    "rmsprop": (rmsprop(LR), "RMSprop", {"alpha": 0.9, "eps": 1e-8}),
    "adam": (adam(LR), "Adam", {}),
    "adam_l2": (chain(Decay(0.1), adam(LR)), "Adam", {"weight_decay": 0.1}),
    "adamw": (adamw(LR, decay=0.3), "AdamW", {"weight_decay": 0.3}),
}
FALLING = WarmUp(Cosine(0.2, 30, 0.01), 5)
CHANGING = {
    "momentum": (torch_momentum(FALLING), "SGD", {"momentum": 0.9}),
    "adamw": (adamw(FALLING, decay=0.3), "AdamW", {"weight_decay": 0.3}),
}
PUSHES = np.random.default_rng(7).normal(size=(40, 9)) * np.logspace(-3, 2, 9)


def torch_points(optimiser, arguments, schedule=None, clip=None):
    """Where PyTorch's optimiser goes from 1 under PUSHES + x, (40, 9)."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    p = torch.ones(9, dtype=torch.float64, requires_grad=True)
    steps = getattr(torch.optim, optimiser)([p], **{"lr": LR, **arguments})
    out = []
    for step, push in enumerate(PUSHES):
        if schedule:
            steps.param_groups[0]["lr"] = schedule(step)
        p.grad = torch.from_numpy(push) + p.detach()
        if clip:
            clip(torch.nn.utils, p)
        steps.step()
        out.append(p.detach().numpy().copy())
    return np.array(out)


def our_points(rule):
    x, out = np.ones(9), []
    state = rule.init(x)
    for step, push in enumerate(PUSHES):
        u, state = rule(push + x, x, state, step)
        x += u
        out.append(x.copy())
    return np.array(out)


@pytest.mark.parametrize("name", FORMS)
def test_rules_equal_torch(name):
    rule, optimiser, arguments = FORMS[name]
    np.testing.assert_allclose(our_points(rule), torch_points(optimiser, arguments), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CHANGING)
def test_rules_equal_torch_while_the_step_size_changes(name):
    rule, optimiser, arguments = CHANGING[name]
    np.testing.assert_allclose(our_points(rule), torch_points(optimiser, arguments, FALLING), rtol=1e-9, atol=1e-12)


def test_clipping_equals_torch():
    by_norm = torch_points("SGD", {}, clip=lambda utils, p: utils.clip_grad_norm_([p], 5.0))
    np.testing.assert_allclose(our_points(chain(ClipNorm(5.0), sgd(LR))), by_norm, rtol=1e-5)  # they add 1e-6 to the norm
