"""Training: the driver loop with examinations on held-out rows, clock and tally paused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import Keeper, Standing, always, drive, undisturbed
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Run
from mpiopt.engine.stop import Limits, Reason, Watcher
from mpiopt.errors import NumericalError
from mpiopt.problems.buffers import agreed, held, put
from mpiopt.problems.flaws import demand_sound
from mpiopt.problems.likeness import demand_alike
from mpiopt.problems.model import Model, ScoreSums
from mpiopt.problems.problem import Team
from mpiopt.training.method import Training, spread
from mpiopt.words import counted


class Answer(NamedTuple):
    """What is examined and saved: a point (dim,) and, by name, what a model keeps beside it (`mpiopt.problems.buffers`)."""

    x: Array
    buffers: dict[str, Array]


class Marks(NamedTuple):
    """How answers do on rows: means, NaN where there are no rows."""

    loss: float
    accuracy: float  # NaN where the loss does not say what is right
    figures: tuple[float, ...]  # of the models' own


class Calendar:
    """The rounds at whose end something is due: each time when ``interval`` further steps of a worker are done.

    steps_in : round -> steps that a worker makes in it. end : every round is due once so many steps are done.
    """

    def __init__(self, steps_in: Callable[[int], float], interval: float, end: float = float("inf")) -> None:
        self._steps_in, self._interval, self._end, self._done = steps_in, interval, end, [0.0]

    def __call__(self, round: int) -> bool:  # noqa: A002 - the field's word
        """Whether the end of the round before ``round`` is due; 0, the start, always is."""
        while len(self._done) <= round:
            self._done.append(self._done[-1] + self._steps_in(len(self._done) - 1))
        before, now = self._done[max(round - 1, 0)], self._done[round] * (1 + 1e-12)
        return round == 0 or now >= self._end or now // self._interval > before * (1 + 1e-12) // self._interval


class Lesson(NamedTuple):
    """One line of the history of a training. Counts are cumulative, over all ranks; NaN where there was no examination."""

    round: int
    seconds: float
    objective: float  # running training loss, mean over the workers
    bytes_sent: int
    vector_rounds: int
    messages: int
    steps: int  # of all workers
    epoch: float  # rows looked at over rows there are
    test_loss: float
    accuracy: float  # of the answer on held-out rows, 0 to 1
    own_accuracy: float  # mean over the workers of their own points'
    leader_accuracy: float  # of the point of the worker with the lowest running loss
    leader: int  # that worker
    consensus: float  # root mean square distance of the workers' points from the answer


@dataclass(frozen=True)
class Goal(Limits[Lesson]):
    """When training ends: at the first of these, or at a limit. accuracy : on held-out rows, 0 to 1."""

    epochs: float | None = None
    accuracy: float | None = None

    def _holding(self, history: Sequence[Lesson]) -> Iterator[tuple[Reason, str]]:
        now = history[-1]
        if self.accuracy is not None and now.accuracy >= self.accuracy:
            yield Reason.TARGET, f"accuracy {now.accuracy:.4f} >= {self.accuracy:g}"
        if self.epochs is not None and now.epoch >= self.epochs * (1 - 1e-9):
            yield Reason.EPOCHS, counted(now.epoch, "epoch", form=".4g")
        yield from super()._holding(history)


@dataclass(frozen=True)
class Exam:
    """Held-out rows. models : one for each hosted worker, over its share of the rows. due : the rounds with an examination.

    own, leader : also examine the workers' own points, and the leader's. figures : what the models' own are called. also :
    more sets of rows, by name, on which the answer alone is examined. tell : called on every rank after an examination with
    what is in no record: the answer's own figures, and the loss, accuracy and figures on each further set, as NAME_loss.
    """

    models: tuple[Model, ...]
    due: Callable[[int], bool] = always
    own: bool = False
    leader: bool = False
    figures: tuple[str, ...] = ()
    also: Mapping[str, tuple[Model, ...]] = field(default_factory=dict)
    tell: Callable[[Mapping[str, float]], object] = dict

    def score(self, team: Team, answers: Sequence[Answer], models: tuple[Model, ...] | None = None) -> Marks:
        """Of answers, one for each hosted worker, on the workers' shares. models : of other rows. Collective."""
        parts = []
        for model, (x, buffers) in zip(self.models if models is None else models, answers, strict=True):
            put(model, buffers)
            found = model.evaluate(x) if model.rows else ScoreSums(0.0, 0.0, 0, (0.0,) * len(self.figures))
            parts.append(np.array([found.rows, found.loss, found.correct, *found.figures]))
        rows, *sums = team.world.total(parts).tolist()
        loss, accuracy, *figures = (each / rows if rows else np.nan for each in sums)
        return Marks(loss, accuracy, tuple(figures))

    def whole(self, team: Team, answer: Answer) -> tuple[Marks, dict[str, float]]:
        """The score of the answer, and by name what `tell` is called with. Collective."""
        answers = [answer] * len(team.sites)
        first = self.score(team, answers)
        more = dict(zip(self.figures, first.figures, strict=True))
        for name, models in self.also.items():
            score = self.score(team, answers, models)
            kinds = ("loss", "accuracy", *self.figures)
            more |= {f"{name}_{kind}": each for kind, each in zip(kinds, (*score[:2], *score.figures), strict=True)}
        return first, {name: each for name, each in more.items() if not np.isnan(each)}


@dataclass(frozen=True)
class Trained:
    """What a training found. ``x`` is (dim,), ``buffers`` what models keep beside it, both equal on every rank.

    figures : of the answer, by name, what `Exam.tell` is called with.
    """

    x: Array
    buffers: dict[str, Array]
    test_loss: float
    accuracy: float
    reason: Reason
    reason_text: str
    history: tuple[Lesson, ...]
    run: Run = field(repr=False)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def final(self) -> Lesson:
        """The last line of the history."""
        return self.history[-1]


def train(
    method: Training,
    team: Team,
    x: Array | Standing[Lesson],
    goal: Goal,
    exam: Exam | None = None,
    watch: Sequence[Watcher[Lesson]] = (),
    keep: Sequence[Keeper[Lesson]] = (),
    interruption: Callable[[], str] = undisturbed,
    due: Callable[[int], bool] = always,
    rows: int | None = None,
) -> Trained:
    """Run ``method`` from x (dim,), the same on every rank, or from where an earlier training stood. Collective.

    All ranks must be given the same start, method, goal and kind of model, which is looked at first: UsageError else.
    due : the rounds that are recorded. rows : of an epoch, those of all workers together unless given: fewer where workers
    share them. The rest is as in `mpiopt.engine.drive.solve`. Raises on every rank once a worker's loss is not finite:
    DataError where rows are not, else NumericalError.
    """
    start = x.run.round if isinstance(x, Standing) and x.run is not None else x
    given = {"start": start, "method": method, "goal": goal, "penalty": team.penalty, "seed": team.sites[0].streams.seed}
    demand_alike(team, given | {"examination": exam and (exam.own, exam.leader)}, rows)
    if isinstance(x, Standing) and x.run is not None:
        x = x._replace(run=method.taken_up(x.run, team))
    recorder = partial(lesson, method, team, exam, team.rows if rows is None else rows)
    keep = [partial(_keep, keeper, method, team) for keeper in keep]
    try:
        at, reason, text = drive(method, team, x, recorder, goal, watch, keep, interruption, due)
    except NumericalError:  # on every rank
        demand_sound(team)
        raise
    with team.world.tally.paused():
        answer = answered(method, at.begun, team)
        score, figures = (Marks(np.nan, np.nan, ()), {}) if exam is None else exam.whole(team, answer)
        return Trained(*answer, score.loss, score.accuracy, reason, text, at.history, at.begun, figures)


def answered(method: Training, run: Run, team: Team) -> Answer:
    """The answer of a run, the same on every rank. Collective; leaves no trace."""
    x = method.answer(run, team).x
    return Answer(x, agreed(team, x))


def _keep(keeper: Keeper[Lesson], method: Training, team: Team, at: Standing[Lesson], reason: Reason | None) -> None:
    keeper(at._replace(run=method.kept(at.begun, team)), reason)


def lesson(
    method: Training, team: Team, exam: Exam | None, rows: int, run: Run, clock: float, word: str
) -> tuple[Lesson, bool, str]:
    """The record of a round. Collective; the tally is paused by the caller."""
    world, logs = team.world, method.logs(run)
    done = method.progress(run, team)
    alike = fingerprint(run, shared=not method.own), f"after round {run.round}"
    sent, seconds, word = world.tallied(clock, word, *alike)
    leader = world.best([log.loss for log in logs])
    test_loss, accuracy, own, led, consensus = (np.nan,) * 5
    if exam is not None and exam.due(run.round):
        test_loss, accuracy, own, led, consensus = _examined(method, team, exam, run, leader)
    counts = sent, world.tally.vector_rounds, world.tally.messages, done.steps
    record = Lesson(run.round, seconds, done.loss, *counts, done.rows / rows, test_loss, accuracy, own, led, leader, consensus)
    return record, True, word


def _examined(method: Training, team: Team, exam: Exam, run: Run, leader: int) -> tuple[float, float, float, float, float]:
    """Test loss, accuracy, own and leader's accuracy, consensus distance. Collective."""
    sites, answer = team.sites, answered(method, run, team)
    (loss, accuracy, _), figures = exam.whole(team, answer)
    exam.tell(figures)
    own = led = np.nan
    if exam.own:
        points = [Answer(at.x, held(site.loss)) for at, site in zip(run.points, sites, strict=True)]
        own = exam.score(team, points).accuracy
    if exam.leader:
        led = exam.score(team, [_of(leader, team, run)] * len(sites)).accuracy
    apart = spread(run, team, answer.x) if team.world.workers > 1 and method.own else 0.0
    return loss, accuracy, own, led, apart


def _of(leader: int, team: Team, run: Run) -> Answer:
    """The point and the statistics of one worker. Collective."""
    world, here = team.world, leader - team.world.hosted.start
    mine = leader in world.hosted
    at = here if mine else 0
    x, buffers = run.points[at].x.copy(), held(team.sites[at].loss)
    for array in (x, *buffers.values()):
        world.bcast(array, world.host_of(leader))
    return Answer(x, buffers)
