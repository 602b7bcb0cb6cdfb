"""Nearby points whose centre is no iterate: S-DANE, its accelerated form, and the accelerated extragradient.

A trial pulls every worker's model towards a centre y, mu being the pull, and learns from the gradients where that ends:

    y = x + c (v - x)
    z_w = argmin  f_w(z) + penalty(z) - <grad (f_w + penalty)(y) - grad F(y), z> + (mu/2)|z - y|^2
    z = sum_w share_w z_w,   G = sum_w share_w grad (f_w + penalty)(z_w);      of one server  z = z_0,  G = grad F(z)
    x' = z,   v' = v + p (z - v) - e G

    s_dane        c = 1              s = 1/mu             p = l2 s / (1 + l2 s),  e = s / (1 + l2 s)
    acc_s_dane    c = s / (r + s)    mu s^2 = r + s       the same, r' = (r + s) / (1 + l2 s), r = 0 at first
    aeg           c = min(1, (l2 / 2 mu)^(1/2))           p = l2 e,  e = min(1 / (2 l2), 1 / (2 l2 mu)^(1/2))

Jiang, Rodomanov, Stich, Stabilized proximal-point methods for federated optimization, NeurIPS 2024, algorithms 1 and 2, whose
A_r and B_r are here r = A/B, whose a_r is s B, and whose lambda is mu. Kovalev, Beznosikov, Borodich, Gasnikov, Scutari,
Optimal gradient sliding and its application to distributed optimization under similarity, NeurIPS 2022, algorithm 1 and theorem
1, where 1/theta = mu is twice the similarity and alpha = l2.

The line search (Jiang et al., section 5) knows no similarity: a trial is taken where

    sum_w share_w <grad (f_w + penalty)(z_w) - grad (f_w + penalty)(z) + grad F(z), y - z_w> >= |G|^2 / (2 mu)

which for one server is <G, y - z>; mu is halved then, and doubled where it is not.
"""

from math import sqrt

from mpiopt.errors import UsageError
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.methods.recentred import Stabilised
from mpiopt.methods.strides import accelerated, plainly, sliding
from mpiopt.work.corrected import Corrected
from mpiopt.work.exact import Exact, Nearby


def s_dane(
    mu: float | None = None,
    search: bool = False,
    server: bool = False,
    server_rows: int | None = None,
    accuracy: float | None = None,
) -> Stabilised:
    """Stabilised DANE.

    mu : the pull towards the centre. search : find it by trials. server : worker 0 alone solves, with a sample of its first
    ``server_rows`` rows. accuracy : the local gradient falls to this part of its value at y; None for the paper's
    condition, at most mu/2 times the length of the step.
    """
    return Stabilised(_model(mu, 0.5, accuracy, server, server_rows), plainly, search)


def acc_s_dane(
    mu: float | None = None,
    search: bool = True,
    server: bool = False,
    server_rows: int | None = None,
    accuracy: float | None = None,
) -> Stabilised:
    """Accelerated S-DANE. Parameters as of s_dane; mu is where the search begins."""
    return Stabilised(_model(mu, 0.5, accuracy, server, server_rows), accelerated, search)


def aeg(mu: float | None = None, server_rows: int | None = None, accuracy: float | None = None) -> Stabilised:
    """The accelerated extragradient, by one server.

    mu : twice what the server's Hessian differs by, found from the rows. accuracy : as of s_dane; None for the paper's
    condition, |grad A(z)| <= (mu/2) |y - argmin A| / 3^(1/2), by what is known of the minimiser.
    """
    return Stabilised(_model(mu, 1 / (2 * sqrt(3) + 1), accuracy, True, server_rows), sliding, times=2.0)


def _model(mu: float | None, part: float, accuracy: float | None, server: bool, rows: int | None) -> Corrected:
    within(0, mu=mu)
    within(0, 1, accuracy=accuracy)
    if rows is not None and not server:
        raise UsageError(
            f"`server_rows={rows}` is for one server, and here all workers solve: give `server=true`, or leave it out"
        )
    return Corrected(Nearby(part) if accuracy is None else Exact(accuracy), mu, server=server, rows=rows)


_STABLE = "Jiang, Rodomanov, Stich, Stabilized proximal-point methods for federated optimization, 2024"

ENTRIES = (
    Entry(s_dane, _STABLE, "mu (found from the rows)"),
    Entry(acc_s_dane, _STABLE, "nothing; without its search mu (found from the rows)"),
    Entry(
        aeg,
        "Kovalev, Beznosikov, Borodich, Gasnikov, Scutari, Optimal gradient sliding and its application to distributed "
        "optimization under similarity, 2022",
        "mu, a server sample (default: both found from the rows of worker 0)",
    ),
)
