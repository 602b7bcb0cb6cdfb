"""The local rule of a training, and its step size over time, from the options of the job."""

from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.cli.method_options import RULE
from mpiopt.numerics.schedules import Constant, Cosine, Growing, Inverse, Later, Piecewise, Schedule, Stretched, WarmUp
from mpiopt.training.torch.optimizers import MARK, rule_named
from mpiopt.transforms.bounds import ClipNorm, Decay
from mpiopt.transforms.side_by_side import Groups
from mpiopt.transforms.transform import Transform, chain

if TYPE_CHECKING:
    from mpiopt.jobs.cli.train_options import Train


def rate_of(job: "Train", per_epoch: float) -> Schedule:
    """The step size of a worker's step. per_epoch : steps of each worker in an epoch. Raises UsageError."""
    default = rule_named(job.rule or RULE).parameters.get("lr")
    lr = job.lr if job.lr is not None else 1.0 if default is None else default.default
    warm, total = ceil(job.warmup * per_epoch), max(1, round(job.epochs * per_epoch))
    if job.lr_range is not None:
        return Growing(*range_of(job.lr_range), total)
    if job.schedule == "cosine":
        schedule: Schedule = Later(Cosine(lr, max(1, total - warm)), warm)
    elif job.schedule == "step":
        schedule = Piecewise((lr, lr / 10, lr / 100), (max(1, total // 2), max(2, total * 3 // 4)))
    elif job.schedule == "inverse":
        schedule = Inverse(lr * per_epoch, per_epoch)
    else:
        schedule = Constant(lr)
    return WarmUp(schedule, warm) if warm else schedule


def range_of(text: str) -> tuple[float, float]:
    """The least and the largest step size of --lr-range. Raises UsageError."""
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = 0.0, 0.0
    if not 0 < found[0] < found[1] < inf:
        raise UsageError(f"--lr-range {text}: give LOW:HIGH, two numbers above 0, as 1e-5:1")
    return found


SETTINGS = ("decay", "lr", "momentum", "rule")  # that a group may have of its own


def rule_of(job: "Train", rate: Schedule) -> Transform:
    """The rule, with clipping in front, weight decay, and groups. Raises UsageError for an option that it does not take."""
    rest = _plain(job, rate)
    choices = tuple(_group(text, job, rate) for text in job.group)
    return chain(*_clip(job), Groups(rest, choices) if choices else rest)


def _group(text: str, job: "Train", rate: Schedule) -> tuple[str, Transform]:
    """The pattern of a group, and its rule: the job's with what is different. Raises UsageError."""
    pattern, colon, rest = text.rpartition(":")
    given = dict(item.partition("=")[::2] for item in rest.split(","))
    if not colon or not pattern or not all(given.values()) or not set(given) <= set(SETTINGS):
        raise UsageError(f"--group {text}: give PATTERN:decay=0,lr=2, of {', '.join(SETTINGS)}")
    try:
        numbers = {name: float(value) for name, value in given.items() if name != "rule"}
    except ValueError:
        numbers = {"decay": -1.0}
    if not all(0 <= value < inf for value in numbers.values()):
        raise UsageError(f"--group {text}: give numbers of at least 0")
    times, own = numbers.pop("lr", 1.0), given.get("rule") or job.rule or RULE
    if times != 1 and "lr" not in rule_named(own).parameters:
        raise UsageError(f"--group {text}: {own} finds its step size itself, leave lr out")
    changed = replace(job, rule=own, decay=numbers.get("decay", job.decay), momentum=numbers.get("momentum", job.momentum))
    return pattern, _plain(changed, rate if times == 1 else Stretched(rate, 1, times))


def _plain(job: "Train", rate: Schedule) -> Transform:
    """The rule of all parameters alike, without clipping."""
    entry = rule_named(job.rule or RULE)
    given: dict[str, object] = {}
    if "lr" in entry.parameters:
        given["lr"] = rate
    elif job.lr is not None or job.schedule != "constant" or job.warmup or job.lr_range:
        raise UsageError(f"{entry.name} finds its step size itself: leave --lr, --lr-range, --schedule and --warmup out")
    if job.device == "gpu" and entry.name.startswith(MARK):
        raise CapabilityError(f"--rule {entry.name} moves what is in the memory of the CPU: leave --device gpu out")
    if job.momentum is not None:
        name = next((name for name in ("gamma", "b1") if name in entry.parameters), None)
        if name is None:
            raise UsageError(f"{entry.name} has no momentum: leave --momentum out, or choose another --rule")
        given[name] = job.momentum
    if job.decay is not None and "decay" in entry.parameters:  # decoupled, at the end of the rule
        return chain(entry.make(**given, decay=job.decay))
    decay = (Decay(job.decay),) if job.decay else ()
    return chain(*decay, entry.make(**given))


def _clip(job: "Train") -> tuple[Transform, ...]:
    return () if job.clip is None else (ClipNorm(job.clip),)
