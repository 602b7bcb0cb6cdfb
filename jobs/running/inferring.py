"""``mpiopt solve --inference``: standard errors of the answer, beside it in the run file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpiopt.arrays import Array
from mpiopt.engine.drive import Solution
from mpiopt.errors import CapabilityError, MpioptError, UsageError
from mpiopt.inference.normal import Estimates
from mpiopt.inference.seen import Kind
from mpiopt.io.dataset.source import Source
from mpiopt.io.runs.beside_solution import ERRORS
from mpiopt.io.runs.coefficients import INTERCEPT
from mpiopt.jobs.running.feature_names import FeatureNames
from mpiopt.problems.columns import column, without
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.jobs.cli.solve_options import Solve

KINDS: tuple[Kind, ...] = ("hessian", "sandwich", "cluster")
FEW = 0.05  # a p below is told of


def check(job: "Solve") -> None:
    """Refuse what has no standard errors, before anything is read. Raises CapabilityError, UsageError. Not collective."""
    if job.inference is None:
        if job.inference_of is not None:
            raise UsageError("--inference-of says whose errors are wanted: say which, by --inference hessian or sandwich")
        return
    kind, feature = _split(job.inference)
    if kind not in KINDS or (kind == "cluster") is not bool(feature):
        raise UsageError(f"--inference {job.inference}: give hessian, sandwich or cluster:FEATURE")
    if job.kink:
        raise CapabilityError(
            f"--inference of a fit with {job.kink} would take for given which coefficients are at a kink or a wall: fit again "
            "without it, on other rows, with the features that were chosen"
        )
    if job.device == "gpu":
        raise CapabilityError("--inference computes on the CPU: leave --device gpu out")


def left_out(job: "Solve") -> str | None:
    """The feature that is no part of the model."""
    return None if job.inference is None else _split(job.inference)[1] or None


def _split(text: str) -> tuple[str, str]:
    kind, _, feature = text.partition(":")
    return kind, feature


@dataclass
class Inferring:
    """The errors of one solve. feature : that of the clusters; named : whose errors are wanted, None for all."""

    kind: Kind
    features: FeatureNames
    l2: float
    feature: int | None = None
    named: tuple[int, ...] | None = None
    clusters: tuple[Array, ...] = ()
    _wrong: MpioptError | None = None

    @staticmethod
    def of(job: "Solve", source: Source) -> "Inferring | None":
        """None where none are asked for. Raises UsageError for a feature that is not there. Not collective."""
        if job.inference is None:
            return None
        kind, text = _split(job.inference)
        made = Inferring(next(each for each in KINDS if each == kind), FeatureNames.of(source), job.l2)
        if text:
            made.feature = made.features.place(text, "clusters")
        if job.inference_of is not None:
            made.named = tuple(made.coordinate(each.strip(), job.intercept) for each in job.inference_of.split(","))
        return made

    def coordinate(self, text: str, intercept: bool) -> int:
        """The place of a coefficient. Raises UsageError."""
        if text == INTERCEPT and intercept:
            return self.features.total
        found = self.features.place(text, "errors")
        if found == self.feature:
            raise UsageError(f"--inference-of {text}: it says to which cluster a row belongs, and is no part of the model")
        return found

    def prepared(self, team: Team[Linear]) -> Team[Linear]:
        """The team, without the feature that says to which cluster a row belongs. Not collective."""
        if self.feature is None:
            return team
        self.clusters = column(team, self.feature)
        return without(team, self.feature)

    def beside(self, team: Team[Linear], found: Solution) -> tuple[str, dict[str, Array]]:
        """The standard errors (dim,) by the name that a run file has them under, and a line about them; without them, why not.

        Collective. What is wrong is raised by `demand`, once the solution is kept.
        """
        # a tenth of a second, which only those who ask for errors wait for
        from mpiopt.inference.named_errors import named_errors
        from mpiopt.inference.standard_errors import standard_errors

        apart = () if self.feature is None else (self.feature,)
        try:
            with team.world.tally.paused():
                about = self.kind, self.clusters, self.features.name, apart
                if self.named is None:
                    errors = standard_errors(team, found.x, *about)
                else:
                    errors = named_errors(team, found.x, self.named, *about)
        except MpioptError as error:
            self._wrong = error
            return "none", {}
        return self._line(found, errors), {ERRORS: errors}

    def demand(self) -> None:
        """Raise what stood in the way of the errors."""
        if self._wrong is not None:
            raise self._wrong

    def _line(self, found: Solution, errors: Array) -> str:
        told = len(errors) if self.named is None else len(self.named)
        clear = int((Estimates(found.x, errors).p < FEW).sum())
        about = " about the penalised estimate, shrinkage left aside" if self.l2 > 0 else ""
        unsure = "" if found.reason.converged else "; the solve had not converged, and they are of no optimum"
        return f"{self.kind}{about}: {counted(clear, 'coefficient')} of {told:,} with p < {FEW:g}{unsure}"
