"""SPCG: every worker's own loss is a model of the whole, and conjugate gradients make up for what it lacks.

    mean      Gradient -> Changes; Corrected(mu) -> Narrowed   PlaneSearch of the last step
    counts    Gradient -> Changes; Counted(mu) -> Narrowed     PlaneSearch of the last steps
    alone     the same, solved to the end                     one worker, whose rows are all rows
    hessian   Newton's method from the summed Hessian           `lazy_newton`
    dual      one worker's dual coordinate ascent               `dual_search`
    gathered  one worker has a copy of all rows                 `gathering`
    face      proximal Newton, where the penalty has kinks      `prox_newton`
    classes   as counts, each class against the rest            `class_by_class`

One name, whose form follows from the problem (`spcg_rule`), or is asked for, in fewer coordinates where there are many rare
features (`reducing`). Long messages of counts and mean travel in 32 bits a number (`exchange.narrow`).
"""

from dataclasses import astuple, replace

from mpiopt.engine.forms import Forms
from mpiopt.engine.method import Composed, Method
from mpiopt.engine.phase import Outer, Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.narrow import Changes, Narrowed
from mpiopt.methods.by_owner import ALWAYS, AUTO, NEVER, ByOwner
from mpiopt.methods.class_by_class import ClassByClass
from mpiopt.methods.dual_search import DualSearch
from mpiopt.methods.entry import Entry
from mpiopt.methods.gathering import Gathering
from mpiopt.methods.lazy_newton import LazyNewton
from mpiopt.methods.prox_newton import ProxNewton
from mpiopt.methods.ranges import within
from mpiopt.methods.reducing import Reducing
from mpiopt.methods.spcg_rule import AskedFor, ByCost
from mpiopt.outer.plane_search import PlaneSearch
from mpiopt.work.corrected import Corrected
from mpiopt.work.counted import Counted
from mpiopt.work.gradient import Gradient
from mpiopt.work.local_solvers import LOOSELY, TO_THE_END, Auto, CGThenFactor, DualDescent, Factored, NewtonCG

REACHED: dict[str, set[str]] = {  # what parameters change a form; all do change those that are not here
    "alone": {"mu", "accuracy", "jacobi"},
    "gathered": {"accuracy"},
    "hessian": {"jacobi"},
    "dual": set(),
    "face": set(),
    "classes": {"accuracy", "epochs"},
}
ALONE = 1e-6  # of the gradient is left of it in a round of a worker that has all rows


def spcg(
    form: str = AUTO,
    mu: float = 0.0,
    accuracy: float | None = None,
    epochs: int = 8,
    jacobi: bool = False,
    replicate: str = AUTO,
    parts: str = AUTO,
) -> Reducing:
    """Statistically preconditioned conjugate gradient, plane search.

    form : mean, counts, alone or dual for one worker, hessian, gathered on one worker, face where the penalty has kinks or
    walls, or classes where each class is a problem of its own; auto for what serves the problem best. accuracy : what a local
    solve reduces its error to, None for 0.003 of few features and 0.1 of many; epochs : at most so many of dual coordinate
    descent a round; jacobi : search along the Jacobi direction too, which helps where workers hold few rows. replicate :
    whether auto may have all rows sent to one worker, once, where that is less than what it saves; auto or never. parts :
    whether each rank of counts keeps the coordinates of its rows alone, where that sends less; auto, always (the form is then
    counts) or never. Where mu, accuracy, epochs or jacobi are given, auto takes a form that they change.
    """
    within(0, mu=mu)
    within(1e-12, 0.9, accuracy=accuracy)
    within(1, epochs=epochs)
    loose = 0.1 if accuracy is None else accuracy
    solver = Auto(
        DualDescent(loose**2, epochs),
        NewtonCG(loose),
        few=CGThenFactor(0.003 if accuracy is None else accuracy, products=500),
    )
    modelled = replace(solver, difficulty=LOOSELY)
    whole = ALONE if accuracy is None else accuracy
    exact, plane = NewtonCG(whole, 60, 1000), PlaneSearch(jacobi, wide=True)
    forms: dict[str, Method] = {
        "counts": ByOwner(
            *_blocks(Counted(replace(modelled, dual=replace(solver.dual, anew=True)), mu), plane, 20 + jacobi), parts=parts
        ),
        "mean": Composed(*_blocks(Corrected(modelled, mu), PlaneSearch(jacobi), 14 + jacobi)),
        "alone": Composed(*_blocks(Counted(exact, mu), plane, 20 + jacobi)),
        "hessian": LazyNewton(plane=plane),
        "dual": DualSearch(),
        "face": ProxNewton(),
        "gathered": Gathering(Auto(DualDescent(whole**2, 200), exact, TO_THE_END, few=Factored(*astuple(exact)))),
        "classes": ClassByClass(solver, None if replicate == NEVER else DualDescent(whole**2, 200)),
    }
    if parts not in (AUTO, ALWAYS, NEVER):
        raise UsageError(f"spcg cannot have parts {parts!r}: choose {AUTO}, {ALWAYS} or {NEVER}")
    if replicate not in (AUTO, NEVER):
        raise UsageError(f"spcg cannot replicate rows {replicate!r}: choose {AUTO} or {NEVER}")
    if replicate == NEVER:
        del forms["gathered"]
    given = {"mu": mu != 0, "accuracy": accuracy is not None, "epochs": epochs != 8, "jacobi": jacobi}
    asked = {name for name, told in given.items() if told}
    if form == AUTO and parts != ALWAYS:
        return Reducing(Forms({name: each for name, each in forms.items() if asked <= REACHED.get(name, asked)}, ByCost()))
    form = "counts" if form == AUTO else form
    if form not in forms:
        raise UsageError(f"spcg has no form {form!r}: choose {AUTO} or one of {', '.join(forms)}")
    if parts == ALWAYS and form != "counts":
        raise UsageError(f"the form {form} of spcg has no parts: leave `parts=always` out, or choose form counts")
    if beside := asked - REACHED.get(form, asked):
        raise UsageError(f"the form {form} of spcg has no `{min(beside)}`: leave it out, or choose form counts or mean")
    return Reducing(Forms({form: forms[form]}, AskedFor()))


def _blocks(work: Corrected | Counted, plane: PlaneSearch, dvectors: int) -> tuple[Phase, tuple[Phase, ...], Outer, int]:
    return Phase(Gradient(), Changes()), (Phase(work, Narrowed()),), plane, dvectors


ENTRIES = (
    Entry(
        spcg,
        "mpiopt; statistical preconditioning after Shamir, Srebro, Zhang 2014 and Hendrikx et al. 2020",
        "nothing",
        smooth_only=False,
    ),
)
