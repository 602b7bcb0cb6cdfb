"""Training of sparse and of rounded models: gradients where the point is pruned, agreed on and applied in every step.

dpf                     Minibatch -> Mean          Prune(rule, gradual sparsity), with feedback
incremental_pruning     Minibatch -> Mean          Prune(rule, gradual sparsity), without
one_shot_pruning        Minibatch -> Mean          Prune(rule, all at one step), without
rounded_sgd             Minibatch -> Mean          Rounded(rule, bits), with feedback unless it is said otherwise
"""

from dataclasses import dataclass

from mpiopt.arrays import Array
from mpiopt.engine.method import Run
from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.outer.prune import Gradual, Prune
from mpiopt.outer.rounded import Rounded
from mpiopt.problems.problem import Team
from mpiopt.training.method import Training
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Minibatch


@dataclass(frozen=True)
class Pruning(Training):
    """A training whose workers see a pruned, or rounded, point from the start."""

    outer: Prune | Rounded

    def init(self, x: Array, team: Team) -> Run:
        """All workers at x, as they see it. Collective."""
        run = super().init(x, team)
        return run._replace(points=self.outer.seen(run.states.outer, team))


def dpf(
    rule: Transform,
    total_steps: int,
    sparsity: float = 0.9,
    initial: float = 0.0,
    start: int = 0,
    ramp: int | None = None,
    every: int = 16,
) -> Pruning:
    """Dynamic pruning with feedback: hidden weights go on being trained, and may come back.

    sparsity : the share of weights that are hidden after ``ramp`` steps from ``start`` on (half of all unless given),
    growing from ``initial``; every : steps between two masks.
    """
    return _pruning(rule, _gradual(total_steps, sparsity, initial, start, ramp), every, True)


def incremental_pruning(
    rule: Transform,
    total_steps: int,
    sparsity: float = 0.9,
    initial: float = 0.0,
    start: int = 0,
    ramp: int | None = None,
    every: int = 16,
) -> Pruning:
    """Gradual magnitude pruning: hidden weights are 0 for good; parameters as of dpf."""
    return _pruning(rule, _gradual(total_steps, sparsity, initial, start, ramp), every, False)


def one_shot_pruning(rule: Transform, total_steps: int, sparsity: float = 0.9, start: int | None = None) -> Pruning:
    """Dense training, then all pruned at step ``start`` (half of all unless given), and the rest trained on."""
    first = total_steps // 2 if start is None else start
    return _pruning(rule, Gradual(0, sparsity, first), 1, False)


def rounded_sgd(rule: Transform, model_bits: int = 4, feedback: bool = True) -> Pruning:
    """Fully synchronous SGD of a model whose weights have so many bits.

    feedback : whether what rounding takes off is remembered.
    """
    return Pruning(None, (Phase(Minibatch(), Mean()),), Rounded(rule, model_bits, feedback))


def _gradual(total_steps: int, sparsity: float, initial: float, start: int, ramp: int | None) -> Gradual:
    return Gradual(max(1, total_steps // 2) if ramp is None else ramp, sparsity, start, initial)


def _pruning(rule: Transform, sparsity: Gradual, every: int, feedback: bool) -> Pruning:
    return Pruning(None, (Phase(Minibatch(), Mean()),), Prune(rule, sparsity, every, feedback))


ENTRIES = (
    Entry(dpf, "Lin, Stich, Barba, Dmitriev, Jaggi, Dynamic model pruning with feedback, ICLR 2020"),
    Entry(incremental_pruning, "Zhu, Gupta, To prune, or not to prune, 2017"),
    Entry(rounded_sgd, "Courbariaux, Bengio, David, BinaryConnect: training networks with binary weights, NIPS 2015"),
    Entry(one_shot_pruning, "Han, Pool, Tran, Dally, Learning both weights and connections, NIPS 2015"),
)
