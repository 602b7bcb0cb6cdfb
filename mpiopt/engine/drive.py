"""The one driver loop: rounds, the record, the stopping rules, and the answer with its certificate."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from time import perf_counter
from typing import Generic, NamedTuple

from mpiopt.arrays import Array, is_array
from mpiopt.engine.aim import aimed
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Method, Run, at_hand, proved_above, whole
from mpiopt.engine.stop import R, Reason, Record, Rule, Stop, Watcher, ended
from mpiopt.engine.verdict import Best, Examiner, judged
from mpiopt.errors import DataError, MpioptError, NumericalError, UsageError
from mpiopt.problems.certificate import Certificate, certify
from mpiopt.problems.dual_bound import above
from mpiopt.problems.lifted import lifted
from mpiopt.problems.problem import Team


@dataclass(frozen=True)
class Solution:
    """What a solve found. ``x`` is (dim,), the intercept, if any, last; equal on every rank.

    It is the best point of the run, which methods with momentum and runs that fail may have left again.
    """

    x: Array
    reason: Reason
    reason_text: str
    history: tuple[Record, ...]
    certificate: Certificate
    run: Run | None = field(repr=False)  # None where a solve that went on broke at once

    @property
    def final(self) -> Record:
        """The last line of the history."""
        return self.history[-1]


class Standing(NamedTuple, Generic[R]):
    """Where a solve stands after a round: all that another one needs to go on as if it had never stopped."""

    run: Run | None = None
    history: tuple[R, ...] = ()
    fresh: tuple[bool, ...] = ()  # per record whether the answer may have changed since the one before
    best: Best | None = None  # of the points so far, where the run keeps it

    @property
    def begun(self) -> Run:
        """The run. Raises UsageError before there is one."""
        if self.run is None:
            raise UsageError("no round has been run, so that there is no run yet: run one")
        return self.run

    def after(self, run: Run, record: R, fresh: bool) -> "Standing[R]":
        """Where it stands one round later."""
        return self._replace(run=run, history=(*self.history, record), fresh=(*self.fresh, fresh))

    @property
    def judged(self) -> list[R]:
        """What stopping rules look at: the records of rounds that may have changed the answer, and the last."""
        return [*compress(self.history[:-1], self.fresh), *self.history[-1:]]


Keeper = Callable[[Standing[R], Reason | None], None]  # with the reason for which the solve ends here, if it does


def rounds(method: Method, team: Team, run: Array | Run) -> Iterator[Run]:
    """The run at the start x (dim,) and after every round, or after every further round of a run; without end.

    Collective at every step.
    """
    run = method.step(run, team) if isinstance(run, Run) else method.init(run, team)
    while True:
        yield run
        run = method.step(run, team)


@contextmanager
def _going_on(kept: bool) -> Iterator[None]:
    """What is done with a run that was ``kept``, perhaps in a file that somebody has changed. Raises DataError.

    Types say what a state is made of, but for what it keeps of other blocks, and for shapes: those tell as they are used.
    """
    try:
        yield
    except (MpioptError, MemoryError, OSError, RuntimeError):  # which say something else, of whatever state
        raise
    except Exception as error:
        if not kept:
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        raise DataError(f"the run cannot go on from what was kept of it ({told}): start anew with `resume=never`") from error


def undisturbed() -> str:
    """Nothing asks the solve to end early."""
    return ""


def always(round: int) -> bool:  # noqa: A002 - the field's word
    """Every round."""
    return True


def solve(
    method: Method,
    team: Team,
    x: Array | Standing[Record],
    stop: Stop,
    watch: Sequence[Watcher[Record]] = (),
    keep: Sequence[Keeper[Record]] = (),
    interruption: Callable[[], str] = undisturbed,
) -> Solution:
    """Run ``method`` from ``x`` until a stopping rule holds. Collective.

    x : (dim,), the same on every rank; or where an earlier solve of the same problem stood, to go on from there: neither
    a start nor a round is repeated, and the history, seconds, bytes and messages continue.
    watch, keep : called on every rank after every round, keepers with all that a checkpoint needs; what they do is not
    collective, or collective on all ranks. interruption : asked on every rank after every round for what ends the solve
    early, in a few words, or for ""; one rank's word is enough.

    A loss without margins is `Lifted`. Seconds, bytes and messages leave recording, keeping and the final certificate out.
    The reason is what the certificate, computed afresh, bears out. Where the objective ceases to be finite the answer is
    the best point before; raises NumericalError on every rank where there is none, and UnlikeError where ranks hold unlike
    numbers (`fingerprint`).
    """
    team, method = lifted(team), aimed(method, stop.gap)
    begun = x if isinstance(x, Standing) else Standing()
    examiner = Examiner.of(method, team, stop, begun.history, begun.best)
    start, latest = [x], [begun._replace(run=None)]
    del x, begun  # what a run of old has held is given up as it is replaced

    def kept(at: Standing[Record], reason: Reason | None) -> None:
        latest[:] = [at._replace(best=examiner.best)]
        for keeper in keep:
            keeper(latest[0], reason)

    if isinstance(start[0], Standing) and start[0].run is not None:
        _demand_kept(method, team, start[0].run)
    try:
        at, reason, text = drive(method, team, start.pop(), examiner, examiner, watch, [kept], interruption)
    except NumericalError as error:
        if not latest[0].history:
            raise
        at, reason, text = latest[0], *ended(Reason.BROKEN, str(error))
    with team.world.tally.paused():
        if at.run is not None:
            team.world.demand_alike(fingerprint(at.run, not method.own), f"after round {at.run.round}")
        return _answered(method, team, at, reason, text, examiner)


def _answered(method: Method, team: Team, at: Standing[Record], reason: Reason, text: str, examiner: Examiner) -> Solution:
    """The best point with its certificate; the last one where only that reaches the tolerance. Collective."""
    lower, held = proved_above(method, at.run, team), at_hand(method, at.run, team)
    last, gap = at.history[-1], examiner.stop.gap
    near = gap is not None and above(lower, last.objective) <= gap  # and products would prove little more
    effort = 0 if near or reason is Reason.INTERRUPTED else max(10, last.vector_rounds)
    candidates = [] if examiner.best is None else [whole(method, examiner.best.x, team)]
    if reason.converged or not candidates:
        candidates.append(method.answer(at.begun, team).x)
    for x in candidates:
        proved = certify(team, x, effort, lower, held and held.inverse)
        found, said = judged(reason, text, proved, examiner.stop, team.rows)
        if found.converged or not reason.converged:
            break
    return Solution(x, found, said, at.history, proved, at.run)


Recorder = Callable[[Run, float, str], tuple[R, bool, str]]  # run, clock, word -> record, whether fresh, agreed word


class Driven(NamedTuple, Generic[R]):
    """Where a run ended, and why."""

    at: Standing[R]
    reason: Reason
    text: str


def drive(
    method: Method,
    team: Team,
    x: Array | Standing[R],
    recorder: Recorder[R],
    stop: Rule[R],
    watch: Sequence[Watcher[R]] = (),
    keep: Sequence[Keeper[R]] = (),
    interruption: Callable[[], str] = undisturbed,
    due: Callable[[int], bool] = always,
) -> Driven[R]:
    """The loop of `solve`, with anybody's records. Collective.

    recorder : makes the record of a round, collectively. due : the rounds, alike on all ranks, that are recorded besides the
    last one that ``stop`` allows; what lies between is not looked at.
    """
    at = x if isinstance(x, Standing) else Standing()
    kept = at.run is not None
    if not kept:
        _demand_start(x, team)
    steps, tally = rounds(method, team, x if at.run is None else at.run), team.world.tally
    del x  # what a run of old has held is given up as it is replaced
    clock, found = (_taken_up(at, team, stop)) if at.history else (0.0, None)
    while found is None:
        start = perf_counter()
        with _going_on(kept):
            run = next(steps)
        clock += perf_counter() - start
        if not due(run.round) and run.round != stop.rounds:
            continue
        with tally.paused():
            with _going_on(kept):
                record, fresh, word = recorder(run, clock, interruption())
            at = at.after(run, record, fresh)
            for watcher in watch:
                watcher(record)
            found = stop.reached(at.judged) or (ended(Reason.INTERRUPTED, word) if word else None)
            for keeper in keep:
                keeper(at, found and found[0])
    return Driven(at, *found)


def _demand_start(x: Array, team: Team) -> None:
    """See that x is a point. Collective. Raises UsageError on every rank."""
    with team.world.together("looking at the start"):
        if not is_array(x) or x.shape != (team.dim,):
            told = f"of shape {x.shape}" if is_array(x) else f"a {type(x).__name__}"
            raise UsageError(f"the start is {told}: give an array of shape ({team.dim},), such as team.zeros()")


def _demand_kept(method: Method, team: Team, run: Run) -> None:
    """See that a run that was kept answers with a point of this problem. Collective. Raises DataError on every rank."""
    with team.world.tally.paused(), _going_on(True):
        x = method.answer(run, team).x
    with team.world.together("looking at the run"):
        if x.shape != (team.dim,):
            raise DataError(
                f"the run cannot go on from what was kept of it (its point is of shape {x.shape}, and the problem has "
                f"{team.dim:,} coefficients): start anew with `resume=never`"
            )


def _taken_up(at: Standing[R], team: Team, stop: Rule[R]) -> tuple[float, tuple[Reason, str] | None]:
    """The clock of a solve that goes on, and whether it has nothing left to do; its tally is put back. Not collective."""
    last, tally = at.history[-1], team.world.tally
    tally.bytes = last.bytes_sent if team.world.rank == 0 else 0  # known as the sum over the ranks
    tally.messages, tally.vector_rounds = last.messages, last.vector_rounds
    return last.seconds, stop.reached(at.judged)
