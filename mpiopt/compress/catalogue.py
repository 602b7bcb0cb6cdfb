"""The compressors by name, and how a line of text says which one is meant.

topk:0.01   topk:k=100   randk:0.1,shared=yes   qsgd:bits=4,bucket=512   kashin:bits=2,frame=orthogonal   powersgd:rank=2
topk:0.01+natural         the numbers that top-k keeps, by natural compression; also then:topk:0.01+natural
shrunk:qsgd:bits=4        divided by 1 + omega, which makes an unbiased compressor a contraction
blocks:topk:0.01          of each matrix and vector of a model by itself
"""

from collections.abc import Callable

from mpiopt.compress.bins import Bins
from mpiopt.compress.compressor import Compressor
from mpiopt.compress.halves import Bf16, Fp16
from mpiopt.compress.kashin import Kashin
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.compress.natural import Natural, NaturalDithering
from mpiopt.compress.per_block import PerBlock
from mpiopt.compress.quantise import Qsgd, TernGrad
from mpiopt.compress.sampled import PermK, RandK, RandomBlock
from mpiopt.compress.signs import ScaledSign, Sign, TwoMeans
from mpiopt.compress.sketch import CountSketch
from mpiopt.compress.sparse import ChunkTopK, Identity, TopK
from mpiopt.compress.then import Shrunk, Then, reducer
from mpiopt.errors import UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry

_QSGD = "Alistarh, Grubic, Li, Tomioka, Vojnovic, QSGD, 2017"
_NATURAL = "Horvath, Ho, Horvath, Sahu, Canini, Richtarik, Natural compression for distributed deep learning, 2022"
_SPARSE = "Sarfi, Therien, Lidin, Belilovsky, Communication efficient LLM pre-training with SparseLoCo, 2025"

CATALOGUE: Registry[Spelt] = Registry(
    "compressor",
    (
        Spelt(Identity, "-", name="identity"),
        Spelt(Fp16, "IEEE 754-2008", name="fp16"),
        Spelt(Bf16, "Kalamkar and others, A study of BFLOAT16 for deep learning training, 2019", name="bf16"),
        Spelt(TopK, "Aji, Heafield, Sparse communication for distributed gradient descent, 2017", "fraction", name="topk"),
        Spelt(ChunkTopK, _SPARSE, "k", name="chunk_topk"),
        Spelt(RandK, "Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018", "fraction", name="randk"),
        Spelt(RandomBlock, "Vogels, Karimireddy, Jaggi, PowerSGD, 2019", "fraction", name="block"),
        Spelt(PermK, "Szlendak, Tyurin, Richtarik, Permutation compressors, 2022", "workers", name="permk"),
        Spelt(Sign, "Bernstein, Wang, Azizzadenesheli, Anandkumar, signSGD, 2018", name="sign"),
        Spelt(
            ScaledSign, "Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD, 2019", "bucket", name="scaled_sign"
        ),
        Spelt(TwoMeans, "Seide, Fu, Droppo, Li, Yu, 1-bit stochastic gradient descent, 2014", "bucket", name="two_means"),
        Spelt(Qsgd, _QSGD, "bits", name="qsgd"),
        Spelt(Bins, _SPARSE, "bits", name="bins"),
        Spelt(TernGrad, "Wen, Xu, Yan, Wu, Wang, Chen, Li, TernGrad, 2017", "bucket", name="terngrad"),
        Spelt(Natural, _NATURAL, name="natural"),
        Spelt(NaturalDithering, _NATURAL, "levels", name="natural_dithering"),
        Spelt(
            CountSketch,
            "Charikar, Chen, Farach-Colton, Finding frequent items in data streams, 2002",
            "fraction",
            name="sketch",
        ),
        Spelt(Kashin, "Safaryan, Shulgin, Richtarik, Uncertainty principle for compression, 2021", "bits", name="kashin"),
        Spelt(PowerSgd, "Vogels, Karimireddy, Jaggi, PowerSGD, 2019", "rank", name="powersgd"),
    ),
    "mpiopt.compressors",
)


def register(paper: str, name: str = "", first: str = "") -> Callable[[type], type]:
    """The decorator that makes a dataclass of the kind of `Compressor` known by a name, that of the class unless given.

    first : the parameter that needs no name. Raises UsageError for a name that is taken.
    """

    def known(kind: type) -> type:
        CATALOGUE.add(Spelt(kind, paper, first, name=name))
        return kind

    return known


def find(text: str) -> Compressor | PowerSgd:
    """The compressor that a text describes. Raises UsageError in a sentence that says what is possible."""
    head, _, rest = text.strip().partition(":")
    if head == "then":
        return _chain(rest, text)
    if head == "blocks":
        return PerBlock(_plain(find(rest), text))
    if head == "shrunk":
        inner = find(rest)
        return PerBlock(Shrunk(inner.inner)) if isinstance(inner, PerBlock) else Shrunk(_plain(inner, text))
    if "+" in text:
        return _chain(text, text)
    return CATALOGUE.find(head, more="; vote; shrunk:ONE; blocks:ONE; ONE+ANOTHER").spelt(rest)


def _chain(text: str, whole: str) -> Then:
    """One compressor after the other, from the left."""
    first, plus, rest = text.partition("+")
    if not plus:
        raise UsageError(f"the compressor {whole!r} names one stage: join two with +, as in topk:0.01+natural")
    return Then(reducer(_plain(find(first), whole)), _plain(find(rest), whole))


def _plain(found: Compressor | PowerSgd, whole: str) -> Compressor:
    if isinstance(found, PowerSgd):
        raise UsageError(f"the compressor {whole!r} combines powersgd with another: powersgd works on matrices, by itself")
    if isinstance(found, PerBlock):
        raise UsageError(f"the compressor {whole!r} has blocks: within another: put it first, as in blocks:topk:0.01+natural")
    return found
