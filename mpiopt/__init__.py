"""Large optimisation problems over MPI, with few and small messages.

The names below are loaded when they are first asked for: importing mpiopt is instant and starts nothing. What is not here
lies in the rooms (mpiopt.work, mpiopt.exchange, ...).
"""

from importlib import import_module as _import
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _CHECKING

if _CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.compress.catalogue import find as find_compressor
    from mpiopt.compress.compressor import Compressor
    from mpiopt.engine.drive import Solution, rounds, solve
    from mpiopt.engine.method import Composed, Method
    from mpiopt.engine.phase import Phase
    from mpiopt.engine.stop import Reason, Stop
    from mpiopt.errors import CapabilityError, DataError, LaunchError, MpioptError, NumericalError, UnlikeError, UsageError
    from mpiopt.estimators.classifiers import LinearSVC, LogisticRegression
    from mpiopt.estimators.fit import fit
    from mpiopt.estimators.path_classifier import LogisticRegressionCV
    from mpiopt.estimators.regressors import HuberRegressor, PoissonRegressor, Ridge
    from mpiopt.estimators.train import train
    from mpiopt.io.dataset.linear_team import team_of
    from mpiopt.io.dataset.source import open_source as open_data
    from mpiopt.io.dataset.writing import write_shards as write_data
    from mpiopt.io.runs.export_module import load
    from mpiopt.io.runs.run_file import read_run
    from mpiopt.losses.family import Family
    from mpiopt.losses.huber import Huber
    from mpiopt.losses.least_squares import LeastSquares
    from mpiopt.losses.logistic import Logistic
    from mpiopt.losses.poisson import Poisson
    from mpiopt.losses.registry import find as find_loss
    from mpiopt.losses.squared_hinge import SquaredHinge
    from mpiopt.methods import catalogue, find
    from mpiopt.problems.examples import Dense
    from mpiopt.problems.grouped import GroupLasso
    from mpiopt.problems.linear import Linear
    from mpiopt.problems.penalties import L1, L2, Box, ElasticNet, Zero
    from mpiopt.problems.per_feature import PerFeature
    from mpiopt.problems.perceptron import Perceptron
    from mpiopt.problems.problem import Team
    from mpiopt.problems.protocols import Loss
    from mpiopt.training.drive import Exam, Goal, Trained
    from mpiopt.training.run import run
    from mpiopt.training.torch.model import TorchModel

__version__ = "0.1.0"

_HOMES = {
    "comm.world": "World",
    "compress.catalogue": "find_compressor=find",
    "compress.compressor": "Compressor",
    "engine.drive": "Solution rounds solve",
    "engine.method": "Composed Method",
    "engine.phase": "Phase",
    "engine.stop": "Reason Stop",
    "errors": "CapabilityError DataError LaunchError MpioptError NumericalError UnlikeError UsageError",
    "estimators.classifiers": "LinearSVC LogisticRegression",
    "estimators.path_classifier": "LogisticRegressionCV",
    "estimators.fit": "fit",
    "estimators.regressors": "HuberRegressor PoissonRegressor Ridge",
    "estimators.train": "train",
    "io.dataset.linear_team": "team_of",
    "io.dataset.source": "open_data=open_source",
    "io.dataset.writing": "write_data=write_shards",
    "io.runs.export_module": "load",
    "io.runs.run_file": "read_run",
    "losses.family": "Family",
    "losses.huber": "Huber",
    "losses.least_squares": "LeastSquares",
    "losses.logistic": "Logistic",
    "losses.poisson": "Poisson",
    "losses.registry": "find_loss=find",
    "losses.squared_hinge": "SquaredHinge",
    "methods": "catalogue find",
    "problems.examples": "Dense",
    "problems.grouped": "GroupLasso",
    "problems.linear": "Linear",
    "problems.penalties": "Box ElasticNet L1 L2 Zero",
    "problems.per_feature": "PerFeature",
    "problems.perceptron": "Perceptron",
    "problems.problem": "Team",
    "problems.protocols": "Loss",
    "training.drive": "Exam Goal Trained",
    "training.run": "run",
    "training.torch.model": "TorchModel",
}  # module -> names in it; NAME=OTHER where it is called OTHER there
_PLACES = {
    name: (f"mpiopt.{module}", there or name)
    for module, names in _HOMES.items()
    for name, _, there in (word.partition("=") for word in names.split())
}
__all__ = [
    "L1",
    "L2",
    "Box",
    "CapabilityError",
    "Composed",
    "Compressor",
    "DataError",
    "Dense",
    "ElasticNet",
    "Exam",
    "Family",
    "Goal",
    "GroupLasso",
    "Huber",
    "HuberRegressor",
    "LaunchError",
    "LeastSquares",
    "Linear",
    "LinearSVC",
    "Logistic",
    "LogisticRegression",
    "LogisticRegressionCV",
    "Loss",
    "Method",
    "MpioptError",
    "NumericalError",
    "PerFeature",
    "Perceptron",
    "Phase",
    "Poisson",
    "PoissonRegressor",
    "Reason",
    "Ridge",
    "Solution",
    "SquaredHinge",
    "Stop",
    "Team",
    "TorchModel",
    "Trained",
    "UnlikeError",
    "UsageError",
    "World",
    "Zero",
    "__version__",
    "catalogue",
    "find",
    "find_compressor",
    "find_loss",
    "fit",
    "load",
    "open_data",
    "read_run",
    "rounds",
    "run",
    "solve",
    "team_of",
    "train",
    "write_data",
]

# In a checkout, io/ and jobs/ stand beside this folder rather than inside it.
if not (_Path(__file__).parent / "io").is_dir():
    __path__.append(str(_Path(__file__).parents[1]))


def __getattr__(name: str) -> object:
    """A public name, loaded now that it is asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'mpiopt' has no attribute {name!r}")
    module, there = _PLACES[name]
    found = globals()[name] = getattr(_import(module), there)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
