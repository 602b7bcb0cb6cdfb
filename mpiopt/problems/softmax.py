"""Softmax regression, the linear model of several classes: mean of log sum_c exp(z_c) - z_y,  z = W^T a + b.

x is W (features, classes) and then b (classes,), so that a penalty that leaves the intercepts alone has ``free=classes``.
With two classes it is logistic regression in the difference of W's columns. It is convex: its start is 0.
"""

from mpiopt.problems.examples import Flat
from mpiopt.problems.heads import CrossEntropy
from mpiopt.problems.perceptron import Perceptron


def Softmax(data: Flat, classes: int) -> Perceptron:
    """Softmax regression on dense or sparse rows, as a perceptron without hidden layers. Raises DataError, UsageError."""
    return Perceptron(data, (data.features, classes), head=CrossEntropy())
