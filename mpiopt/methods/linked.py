"""Any method with the mean of its last phase replaced by an agreement in fewer bytes."""

from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, TypeGuard, TypeVar, cast

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.engine.forms import Forms
from mpiopt.engine.method import Composed, Method
from mpiopt.engine.phase import Exchange
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.exchange.compressed import Compressed, Vote
from mpiopt.exchange.feedback import ErrorFeedback, TwoWay
from mpiopt.exchange.lowrank import LowRank
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.shifted import Shifted
from mpiopt.methods.reducing import Reducing
from mpiopt.numerics.schedules import Relative, Schedule

TYPICAL = (10**6, 10**12)  # dims at which constants are looked at before the model is known
LINKS = ("plain", "ef", "ef21", "diana")
C = TypeVar("C", bound=Method)
LEARNT = ("ef21", "diana")  # those with shifts


class Advice(NamedTuple):
    """What sentences may recommend to those who asked: methods, and whether they can name a link and have matrices."""

    methods: str
    links: bool


TRAINING = Advice("sgd, local_sgd, ri_sgd, slowmo, diloco, dane or spcg", True)
SOLVING = Advice("spcg, dane or giant", False)


def linked(
    method: C,
    name: str,
    compress: str,
    link: str = "plain",
    back: str | None = None,
    force: bool = False,
    advice: Advice = TRAINING,
) -> C:
    """``method`` with its last mean compressed.

    name : what the method is called. compress : a compressor, or vote. link : plain; ef, error feedback; ef21, shifts that
    take in all that was sent; diana, shifts learnt at 1 / (1 + omega). back : compresses what was agreed once more. force :
    also where the theory asks for another link. advice : for the sentences. Of a method of several forms those that end their
    rounds so are left. Raises UsageError, CapabilityError.
    """
    if isinstance(method, Reducing):
        return cast(C, replace(method, inner=linked(method.inner, name, compress, link, back, force, advice)))
    if isinstance(method, Forms) and (able := method.only(lambda form: form if _ends_in_mean(form) else None)).forms:
        return cast(C, able.only(lambda form: linked(form, name, compress, link, back, force, advice)))
    if not _ends_in_mean(method):
        raise CapabilityError(
            f"{name} does not end its rounds with a mean that could be compressed: use one that does, such as {advice.methods}"
        )
    if method.own:
        raise CapabilityError(
            f"{name} agrees on points, which do not become small: compress sgd or local_sgd, whose messages are steps"
        )
    last, rate = method.phases[-1], _unit(method)
    exchange = _exchange(compress, link, force, advice, rate)
    if exchange.needs_all and not method.clients.all:
        what = f"`link={link}`" if link in LEARNT else compress
        raise CapabilityError(
            f"{what} needs all workers in every round: leave `clients` and `dead` out, or use a compressor of vectors plainly "
            "or with `error_feedback`"
        )
    if back is not None:
        exchange = TwoWay(exchange, _returning(back, force), rate)
    return cast(C, replace(method, phases=(*method.phases[:-1], last._replace(exchange=exchange))))


def _ends_in_mean(method: Method) -> TypeGuard[Composed]:
    return isinstance(method, Composed) and bool(method.phases) and isinstance(method.phases[-1].exchange, Mean)


def _unit(method: Composed) -> Schedule:
    """What the step multiplies an agreement by, over what it was at first: the unit of what is remembered for later."""
    return Relative(method.outer.step_size)


def _returning(back: str, force: bool) -> Compressor:
    """The compressor of the way back, which has a memory of what it did not send."""
    again = find(back)
    if not isinstance(again, Compressor):
        raise UsageError(f"{back} cannot be used on the way back: take a compressor of vectors, such as topk:0.01")
    if not (force or contracts(again)):
        raise CapabilityError(
            f"{back} is no contraction, and the memory of the way back would grow: take shrunk:{back} "
            "where it is unbiased, or topk:0.01, or insist with `force`"
        )
    return again


def _exchange(compress: str, link: str, force: bool, advice: Advice, rate: Schedule) -> Exchange:
    if link not in LINKS:
        raise UsageError(f"there is no link {link!r}: choose one of {', '.join(LINKS)}")
    if compress == "vote":
        if link != "plain":
            memory, out = (f"a link of kind {link}", "the link") if advice.links else ("error feedback", "`error_feedback`")
            raise UsageError(f"a vote keeps nothing that {memory} could remember: leave {out} out")
        return Vote()
    compressor = find(compress)
    if isinstance(compressor, Compressor):
        _demand_fit(compressor, compress, link, force, advice)
        inner: Exchange = Compressed(compressor)
    else:
        inner = _low_rank(compressor, compress, link, force, advice)
    if link in LEARNT:
        return Shifted(inner, 1.0 if link == "ef21" else None)
    return ErrorFeedback(inner, rate) if link == "ef" else inner


def _low_rank(power: PowerSgd, compress: str, link: str, force: bool, advice: Advice) -> Exchange:
    if not advice.links:
        raise CapabilityError(
            f"{compress} compresses the matrices of a model, and a linear one has none: take topk:0.01 with "
            f"`error_feedback`, or use it in mpiopt train (`compress={compress}`)"
        )
    if link not in ("plain", "ef"):
        raise CapabilityError(f"{compress} goes with error feedback (`link=ef`), not with {link}")
    if link == "plain" and not force:
        raise CapabilityError(_astray(compress, ef21=False))
    return LowRank(power)


def _demand_fit(compressor: Compressor, compress: str, link: str, force: bool, advice: Advice) -> None:
    """Raise CapabilityError where the proofs of a link are not for this compressor."""
    if force:
        return
    if link in ("ef", "ef21") and not contracts(compressor):
        instead = f"shrunk:{compress}, or {'`link=diana`' if advice.links else 'leave `error_feedback` out'}"
        raise CapabilityError(
            f"{compress} is no contraction, and error feedback would let the memory grow: take "
            f"{instead if compressor.unbiased else 'scaled_sign or topk:0.01'}, or insist with `force`"
        )
    if link == "diana" and not compressor.unbiased:
        raise CapabilityError(
            f"{compress} is biased, and the shifts of `link=diana` are for unbiased compressors: take "
            "`link=ef21` or ef, or a compressor such as qsgd:bits=4, or insist with `force`"
        )
    if link == "plain" and not compressor.unbiased:
        able = contracts(compressor)
        raise CapabilityError(_astray(compress, advice.links and able, "" if able else "take scaled_sign or topk:0.01 and "))


def _astray(compress: str, ef21: bool, first: str = "") -> str:
    return (
        f"{compress} is biased, and without error feedback a method may go astray: {first}add `error_feedback`"
        f"{' (or `link=ef21`)' if ef21 else ''}, or insist with `force`"
    )


def contracts(compressor: Compressor) -> bool:
    """Whether it has a contraction constant for long vectors."""
    with suppress(UsageError):
        compressor = compressor.among(2)  # for permk, which else does not know
    for d in TYPICAL:
        with suppress(UsageError):  # fewer than the coordinates that it keeps
            return compressor.delta(d) is not None
    return False
