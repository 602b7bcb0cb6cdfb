"""Which compressors a method takes, and the constants of these that its step sizes follow from."""

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.errors import CapabilityError
from mpiopt.numerics.theory import Constants, Noise


def unbiased(text: str, method: str, force: bool) -> Compressor:
    """A compressor for methods whose proofs need E Q(x) = x. Raises CapabilityError with what to use instead."""
    c = contraction(text)
    if not c.unbiased and not force:
        raise CapabilityError(
            f"{method} needs an unbiased compressor, and {text} is not: take randk, qsgd or natural, or put error feedback "
            "around it (ef, ef21), or insist with `force=true`"
        )
    return c


def contraction(text: str) -> Compressor:
    """A compressor of vectors. Raises UsageError for PowerSGD, which needs the matrices of a model."""
    c = find(text)
    if not isinstance(c, Compressor):
        raise CapabilityError(f"{text} compresses the matrices of a model: use it in mpiopt train (`compress={text}`)")
    return c


def noise(c: Compressor, k: Constants, d: int) -> Noise:
    """Its variance constants among the workers of a problem; raises CapabilityError where it has none."""
    one, mean = c.among(k.workers).omega(d), c.among(k.workers).mean_omega(d, k.workers)
    if one is None or mean is None:
        raise CapabilityError(f"no variance constant is known of {c}: give the step size yourself (`gamma=0.01`)")
    return Noise(one, mean)


def delta(c: Compressor, k: Constants, d: int) -> float:
    """Its contraction constant among the workers of a problem; raises CapabilityError where it has none."""
    found = c.among(k.workers).delta(d)
    if found is None:
        raise CapabilityError(
            f"{c} is no contraction: take one that is, such as topk, scaled_sign, or shrunk:qsgd:bits=4, "
            "or give the step size yourself (`gamma=0.01`)"
        )
    return found
