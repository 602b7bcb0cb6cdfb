"""Logistic regression along falling penalties, the one of them chosen by rows that are held out, in scikit-learn's manner."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from sklearn.model_selection import check_cv

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.stop import Stop
from mpiopt.estimators.callbacks import FitTasks
from mpiopt.estimators.classifiers import LogisticRegression
from mpiopt.estimators.fit import LinearSolution, Place, factors_given, linear_losses, watched
from mpiopt.estimators.here import here
from mpiopt.methods import find
from mpiopt.paths.choice import chosen
from mpiopt.paths.fitting import under
from mpiopt.paths.folds import folds, without_fold
from mpiopt.paths.path import Along, PathFits, follow
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team


class LogisticRegressionCV(LogisticRegression):
    """Two classes by their log-odds, C and l1_ratio chosen by folds; C stands beside the sum of the losses, as scikit-learn's.

    Cs : the candidates, or how many between 1e-4 and 1e4; l1_ratios : shares of l1. cv : how many folds, or what makes them of
    arrays that every rank has (`sklearn.model_selection`), each row held out once. choose : loss, by the mean loss of held-out
    rows; auc, by their area under the ROC curve; 1se, the smallest C within one standard error of the least loss. tol : as of
    `LogisticRegression`; what was chosen is fitted from where the path was there. Folds of l2 are fitted at once: a pass over
    the rows serves all of them. penalty_factors : (features,), what the penalty of each is multiplied by, 0 for none.

    Attributes besides those of `LogisticRegression`, whose n_iter_ counts the rounds of all fits: C_, l1_ratio_; Cs_; losses_,
    areas_ : (l1_ratios, Cs, folds), of held-out rows; coefs_paths_ : (l1_ratios, Cs, features, and one more for the intercept),
    of all rows.
    """

    several = False
    warm_start = False

    def __init__(
        self,
        Cs: int | Sequence[float] = 10,
        l1_ratios: Sequence[float] = (0.0,),
        cv: Any = 5,
        choose: Literal["loss", "auc", "1se"] = "loss",
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str | None = None,
        tol: float = 1e-9,
        max_iter: int = 1000,
        rows: str = "same",
        penalty_factors: Any = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.cv = cv
        self.choose = choose
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.rows = rows
        self.penalty_factors = penalty_factors

    def _solved(self, X: Any, y: Any, weight: Any, offset: Any, before: Any) -> LinearSolution:
        world, free = here(), int(self.fit_intercept)
        candidates, shares = self._candidates(), [float(share) for share in self.l1_ratios]
        if not shares or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"l1_ratios is {self.l1_ratios!r}: give shares of l1 from 0 to 1")
        columns = y, weight, offset
        losses = linear_losses(world, cast(Place, self.rows), X, columns, "logistic", self.fit_intercept, self._class_words(X))
        team = Team.of(world, losses, ElasticNet(free=free))
        of = self._folds(world, team, X, y)
        unit = 1 / team.weight
        paths = [[ElasticNet(r * unit / C, (1 - r) * unit / C, free=free) for C in candidates] for r in shares]
        stop = Stop(rounds=self.max_iter, gap=self.tol * self._loss_at_zero(team))
        count = 1 + max(int(each.max(initial=0)) for each in world.tell_all(np.concatenate(of)))
        teams = (team, *(without_fold(team, of, k) for k in range(count)))
        inner = find(self.solver or "spcg").make()
        factors = None if self.penalty_factors is None else factors_given(self.penalty_factors, losses[0].features)
        fits = PathFits(inner, teams, tuple(of), tuple(map(tuple, paths)), stop, True, factors)
        state = follow(fits, team.zeros(), Along(len(fits.points))).at.begun.states
        pick = chosen(state.held[:, :, 0], state.held[:, :, 1], fits.paths, self.choose)
        self._tell(candidates, shares, state, pick)
        tasks = FitTasks(self, X, y, self._answer)
        best = under(team, fits.whole(fits.points[pick]))
        found = watched(inner, best, state.path[pick], stop, tasks.after, lambda: tasks.word)
        tasks.close(found.x)
        coef, b = (found.x[:-1], float(found.x[-1])) if self.fit_intercept else (found.x, 0.0)
        return LinearSolution(coef, b, found)

    def _found(self, found: Any) -> Any:
        super()._found(found)
        self.n_iter_ += self._rounds
        return self

    def _candidates(self) -> np.ndarray:
        """C by C, ascending. Raises ValueError."""
        given = np.geomspace(1e-4, 1e4, self.Cs) if isinstance(self.Cs, int) else np.array(self.Cs, np.float64)
        if not (given.ndim == 1 and given.size and np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(f"Cs is {self.Cs!r}: give finite numbers above 0, or how many")
        return np.unique(given)

    def _folds(self, world: World, team: Team[Linear], X: Any, y: Any) -> list[np.ndarray]:
        """The fold of each row, for every hosted worker. Raises ValueError, UsageError."""
        if self.rows != "same" or isinstance(X, str | Path):
            if not isinstance(self.cv, int):
                raise ValueError(
                    "cv makes folds of arrays that every rank has: of a data set, or of rows of one's own, say how many"
                )
            return folds(team, self.cv)
        if isinstance(self.cv, int) and self.cv > (rarest := min(int((y > 0).sum()), int((y < 0).sum()))):
            raise ValueError(f"{self.cv} folds cannot be made of {rarest} rows of the rarer class: give fewer folds")
        of = np.full(X.shape[0], -1)
        for k, (_, held) in enumerate(check_cv(self.cv, y, classifier=True).split(X, y)):
            if (of[held] >= 0).any():
                raise ValueError("cv holds rows out more than once: give one that holds each row out once, such as KFold")
            of[held] = k
        if (of < 0).any():
            raise ValueError("cv holds some rows out never: give one that holds each row out once, such as KFold")
        bounds = even(len(of), world.workers)
        return [of[bounds[w] : bounds[w + 1]] for w in world.hosted]

    def _loss_at_zero(self, team: Team[Linear]) -> float:
        zeros = team.zeros()
        parts = [np.array([site.share * site.loss.value(site.loss.point(zeros))]) for site in team.sites]
        return float(team.world.total(parts)[0])

    def _tell(self, candidates: np.ndarray, shares: list[float], state: Any, pick: int) -> None:
        shape, self._rounds = (len(shares), len(candidates)), int(state.rounds.sum())
        self.Cs_, self.C_, self.l1_ratio_ = candidates, float(candidates[pick % shape[1]]), shares[pick // shape[1]]
        self.losses_, self.areas_ = (state.held[:, :, k].reshape(*shape, -1) for k in range(2))
        self.coefs_paths_ = state.path.reshape(*shape, -1)
