"""Optimisers of torch as local rules: torch's own steps, with nothing kept outside of the state."""

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.io.runs.state_tree import flatten, unflatten
from mpiopt.numerics.schedules import Inverse
from mpiopt.problems.model import Block
from mpiopt.training.torch.optimizers import BY_COORDINATE, rule_named
from mpiopt.transforms import rules

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mpiopt[torch]'")
BLOCKS = (Block("a", (3, 4)), Block("b", (5, 2)))
DIM, STEPS = 22, 5
MATRICES = ["Adafactor", "Muon(momentum=0.9)"]  # which look at whole matrices
RATE = Inverse(0.2, 4.0)


def gradients():
    return np.random.default_rng(0).standard_normal((STEPS, DIM)).astype(np.float32)


def by_torch(kind, given, x):
    """The same steps in torch's own words, by block."""
    whole = torch.tensor(x)
    parameters = [
        torch.nn.Parameter(part.reshape(block.shape).clone()) for part, block in zip(whole.split([12, 10]), BLOCKS, strict=True)
    ]
    optimizer = getattr(torch.optim, kind)(parameters, lr=RATE(0), **given)
    for step, g in enumerate(gradients()):
        for group in optimizer.param_groups:
            group["lr"] = RATE(step)
        for parameter, part in zip(parameters, torch.tensor(g).split([12, 10]), strict=True):
            parameter.grad = part.reshape(parameter.shape)
        optimizer.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).numpy()


def kept(state):
    """The state, out of a checkpoint."""
    flat = flatten(state)
    return unflatten(flat.tree, {name: array.copy() for name, array in flat.arrays.items()}, flat.parts, flat.own)


@pytest.mark.parametrize(
    "text", [*BY_COORDINATE, "SGD(momentum=0.9,nesterov=True)", "AdamW(weight_decay=0.3,fused=True)", *MATRICES]
)
def test_the_steps_are_torchs_also_from_a_checkpoint(text):
    if not hasattr(torch.optim, text.partition("(")[0]):
        pytest.skip("this torch has no such optimiser")
    x = np.linspace(-1, 1, DIM).astype(np.float32)
    rule = rule_named(f"torch:{text}").make(lr=RATE)
    rule = rule.on(BLOCKS) if rule.shaped else rule
    there, state, out = x.copy(), rule.init(x), x.copy()
    for step, g in enumerate(gradients()):
        given = kept(state)
        u, _ = rule(g.copy(), there, kept(state), step)
        out = there + u
        state = rule.move(g.copy(), there, given, step)
        np.testing.assert_allclose(out, there, rtol=1e-6, atol=1e-7)
    call = eval(f"dict({text.partition('(')[2].rstrip(')')})")
    np.testing.assert_allclose(there, by_torch(text.partition("(")[0], call, x), rtol=2e-6, atol=1e-7)
    assert not np.allclose(there, x, atol=1e-4)


def test_names_without_a_mark_are_ours():
    assert rule_named("adamw") is rules.find("adamw")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torch:Adamw", "torch.optim has no 'Adamw': choose one of ASGD, "),
        ("torch:LBFGS", "torch:LBFGS asks for the loss many times in a step: take another rule, such as torch:AdamW"),
        ("torch:SparseAdam", "is for sparse gradients alone"),
        ("torch:AdamW(lr=0.1)", "names its step size, which schedules change: give it as `lr`"),
        ("torch:AdamW(0.1)", "is not to be read: give an optimiser of torch, such as"),
        ("torch:AdamW(weight_decay=open('x'))", "is not to be read"),
        ("torch:AdamW(speed=3)", "torch:AdamW cannot be the rule here: .*speed"),
        ("torch:AdamW(weight_decay=-1)", "torch:AdamW cannot be the rule here: Invalid weight_decay"),
        ("torch:Optimizer", "torch.optim has no 'Optimizer'"),
    ],
)
def test_what_cannot_be_a_rule_is_a_sentence(text, said):
    with pytest.raises(UsageError, match=said):
        rule_named(text)


def test_an_optimiser_of_matrices_refuses_vectors_in_a_sentence():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    rule = rule_named("torch:Muon").make().on((Block("bias", (DIM,)),))
    x = np.zeros(DIM, np.float32)
    with pytest.raises(UsageError, match="torch:Muon cannot be the rule here: "):
        rule.move(x.copy(), x, rule.init(x), 0)
