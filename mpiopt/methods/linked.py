"""Any method with the mean of its last phase replaced by an agreement in fewer bytes."""

from dataclasses import replace

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.exchange.compressed import Compressed, LowRank, Vote
from mpiopt.exchange.feedback import ErrorFeedback, TwoWay
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.shifted import Shifted
from mpiopt.method import Composed, Method
from mpiopt.phase import Exchange

TYPICAL = 10**6  # a dim at which constants are looked at before the model is known
LINKS = ("plain", "ef", "ef21", "diana")


def linked(
    method: Method, name: str, compress: str, link: str = "plain", back: str | None = None, force: bool = False
) -> Method:
    """``method`` with its last mean compressed.

    name : what the method is called. compress : a compressor, or vote. link : plain; ef, error feedback; ef21, shifts that
    take in all that was sent; diana, shifts learnt at 1 / (1 + omega). back : compresses what was agreed once more. force :
    also where the theory asks for another link. Raises UsageError, CapabilityError.
    """
    if not (isinstance(method, Composed) and method.phases and method.phases[-1].exchange == Mean()):
        raise CapabilityError(f"{name} does not end its rounds with a mean that could be compressed: use one that does, such "
                              "as sgd, local_sgd, ri_sgd, slowmo, diloco, dane or spcg")  # fmt: skip
    if getattr(method, "own", False):
        raise CapabilityError(f"{name} agrees on points, which do not become small: compress sgd or local_sgd, whose messages "
                              "are steps")  # fmt: skip
    exchange = _exchange(compress, link, force)
    if back is not None:
        again = find(back)
        if not isinstance(again, Compressor):
            raise UsageError(f"{back} cannot be used on the way back: take a compressor of vectors, such as topk:0.01")
        exchange = TwoWay(exchange, again)
    return replace(method, phases=(*method.phases[:-1], method.phases[-1]._replace(exchange=exchange)))


def _exchange(compress: str, link: str, force: bool) -> Exchange:
    if link not in LINKS:
        raise UsageError(f"there is no link {link!r}: choose one of {', '.join(LINKS)}")
    if compress == "vote":
        if link != "plain":
            raise UsageError(f"a vote keeps nothing that a link of kind {link} could remember: leave the link out")
        return Vote()
    compressor = find(compress)
    if not isinstance(compressor, Compressor):
        if link not in ("plain", "ef"):
            raise CapabilityError(f"{compress} goes with error feedback (--link ef), not with {link}")
        inner: Exchange = LowRank(compressor)
    else:
        inner = Compressed(compressor)
    if link in ("ef", "ef21") and isinstance(compressor, Compressor) and compressor.delta(TYPICAL) is None and not force:
        raise CapabilityError(f"{compress} is no contraction, and error feedback would let the memory grow: take "
                              f"shrunk:{compress}, or --link diana")  # fmt: skip
    biased = not getattr(compressor, "unbiased", False)
    if biased and link in ("plain", "diana") and not force:
        raise CapabilityError(
            f"{compress} is biased, and without error feedback a method may go astray: add --error-feedback (or --link ef21), "
            "or insist with --force"
        )
    return {"plain": inner, "ef": ErrorFeedback(inner), "ef21": Shifted(inner, 1.0), "diana": Shifted(inner)}[link]
