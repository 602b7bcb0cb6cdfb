"""Update rules where they are used: told of the matrices and vectors that x is made of."""

from mpiopt.problems.model import blocks_of
from mpiopt.transforms.transform import Transform


def placed(rule: Transform, loss: object, replicated: bool = False) -> Transform:
    """A rule for the x of a loss; replicated : whether all ranks move the same one by it. Raises UsageError."""
    return rule.on(blocks_of(loss), replicated) if rule.shaped else rule
