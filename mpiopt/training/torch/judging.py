"""Losses of torch by name, and what of a module's outputs is right: as its loss says, and nothing where it does not.

cross_entropy, nll_loss                      right is the class of the largest output (of each position, in the mean)
binary_cross_entropy_with_logits             right is an output on the answer's side of 0
binary_cross_entropy                         right is an output on the answer's side of 1/2
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from mpiopt.errors import UsageError
from mpiopt.training.torch.library import torch_module

Judge = Callable[[Any, Any], Any]  # (outputs, answers) of a batch -> a number or one for each row


def loss_named(name: str) -> Judge:
    """A loss of torch.nn.functional. Raises UsageError."""
    functional = torch_module().nn.functional
    found = getattr(functional, name, None)
    if not callable(found) or not (name.endswith(("loss", "entropy", "entropy_with_logits", "kl_div"))):
        raise UsageError(
            f"there is no loss {name!r} in torch.nn.functional: give one of it, such as cross_entropy or mse_loss, or a "
            "function of your own, as module:name"
        )
    return found


def right_by(loss: Any) -> Judge | None:
    """The share of right answers in a batch, as a loss means it; None for a loss that does not say."""
    nn = torch_module().nn
    called = loss
    while isinstance(called, partial):
        called = called.func
    kinds: list[tuple[Judge, tuple[Any, ...], tuple[type, ...]]] = [
        (likeliest, (nn.functional.cross_entropy, nn.functional.nll_loss), (nn.CrossEntropyLoss, nn.NLLLoss)),
        (partial(side, 0.0), (nn.functional.binary_cross_entropy_with_logits,), (nn.BCEWithLogitsLoss,)),
        (partial(side, 0.5), (nn.functional.binary_cross_entropy,), (nn.BCELoss,)),
    ]
    return next((judge for judge, functions, types in kinds if called in functions or isinstance(called, types)), None)


def unknown(z: Any, y: Any) -> float:
    """What is right is not known."""
    return float("nan")


def unasked(z: Any, y: Any) -> Any:
    """The loss of who asks for outputs alone."""
    return torch_module().zeros(())


def likeliest(z: Any, y: Any) -> Any:
    """Share of answers y (b, ...) that are the largest of the outputs z (b, classes, ...); of negative ones none is asked."""
    if y.is_floating_point():
        y = y.argmax(dim=1)
    asked = y >= 0
    return ((z.argmax(dim=1) == y) & asked).sum().double() / asked.sum()


def side(threshold: float, z: Any, y: Any) -> Any:
    """Share of answers y, of z's shape, that are on the same side of 1/2 as the outputs are of ``threshold``."""
    return ((z > threshold) == (y > 0.5)).double().mean()
