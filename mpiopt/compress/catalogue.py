"""The compressors by name, and how a line of text says which one is meant.

topk:0.01   topk:k=100   randk:0.1,shared=yes   qsgd:bits=4,bucket=512   kashin:bits=2,frame=orthogonal   powersgd:rank=2
topk:0.01+natural         the numbers that top-k keeps, by natural compression; also then:topk:0.01+natural
shrunk:qsgd:bits=4        divided by 1 + omega, which makes an unbiased compressor a contraction
"""

import inspect
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import get_args

from mpiopt.compress.compressor import Compressor
from mpiopt.compress.halves import Bf16, Fp16
from mpiopt.compress.kashin import Kashin
from mpiopt.compress.lowrank import PowerSgd
from mpiopt.compress.natural import Natural, NaturalDithering
from mpiopt.compress.quantise import Qsgd, TernGrad
from mpiopt.compress.sampled import PermK, RandK, RandomBlock
from mpiopt.compress.signs import ScaledSign, Sign, TwoMeans
from mpiopt.compress.sketch import CountSketch
from mpiopt.compress.sparse import Identity, TopK
from mpiopt.compress.then import Shrunk, Then
from mpiopt.errors import UsageError

_QSGD = "Alistarh, Grubic, Li, Tomioka, Vojnovic, QSGD, 2017"
_NATURAL = "Horvath, Ho, Horvath, Sahu, Canini, Richtarik, Natural compression for distributed deep learning, 2022"


@dataclass(frozen=True)
class Entry:
    """One named compressor. build : its class; paper : authors, title, year; first : the parameter that needs no name."""

    name: str
    build: type
    paper: str
    first: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return " ".join((inspect.getdoc(self.build) or "").split("\n\n")[0].split()).rstrip(".").replace("``", "")

    @property
    def parameters(self) -> Mapping[str, Field]:
        """Names, types and defaults."""
        return {field.name: field for field in fields(self.build)}

    def make(self, text: str = "") -> Compressor | PowerSgd:
        """Build it from "0.01,shared=yes". Raises UsageError."""
        given: dict[str, object] = {}
        for item in filter(None, text.split(",")):
            name, _, value = item.rpartition("=")
            name = name.strip() or self._unnamed(value)
            if name not in self.parameters or name in given:
                takes = ", ".join(self.parameters) or "no parameters"
                raise UsageError(f"{self.name} takes {takes}; got {item!r}: leave that out")
            given[name] = self._value(name, value.strip())
        return self.build(**given)

    def _unnamed(self, value: str) -> str:
        """The parameter that a bare value is for: of a fraction and a count, the count if it is a whole number."""
        return "k" if self.first == "fraction" and "k" in self.parameters and value.strip().isdigit() else self.first

    def _value(self, name: str, text: str) -> object:
        kinds = get_args(self.parameters[name].type) or (self.parameters[name].type,)
        kind = kinds[0]
        try:
            return {"yes": True, "true": True, "no": False, "false": False}[text] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            wanted = {int: "a whole number", float: "a number", bool: "yes or no"}[kind]
            raise UsageError(f"{name} of {self.name} is {text!r}: give {wanted}") from error


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry("identity", Identity, "-"),
        Entry("fp16", Fp16, "IEEE 754-2008"),
        Entry("bf16", Bf16, "Kalamkar and others, A study of BFLOAT16 for deep learning training, 2019"),
        Entry("topk", TopK, "Aji, Heafield, Sparse communication for distributed gradient descent, 2017", "fraction"),
        Entry("randk", RandK, "Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018", "fraction"),
        Entry("block", RandomBlock, "Vogels, Karimireddy, Jaggi, PowerSGD, 2019", "fraction"),
        Entry("permk", PermK, "Szlendak, Tyurin, Richtarik, Permutation compressors, 2022", "workers"),
        Entry("sign", Sign, "Bernstein, Wang, Azizzadenesheli, Anandkumar, signSGD, 2018"),
        Entry("scaled_sign", ScaledSign, "Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD, 2019", "bucket"),
        Entry("two_means", TwoMeans, "Seide, Fu, Droppo, Li, Yu, 1-bit stochastic gradient descent, 2014", "bucket"),
        Entry("qsgd", Qsgd, _QSGD, "bits"),
        Entry("terngrad", TernGrad, "Wen, Xu, Yan, Wu, Wang, Chen, Li, TernGrad, 2017", "bucket"),
        Entry("natural", Natural, _NATURAL),
        Entry("natural_dithering", NaturalDithering, _NATURAL, "levels"),
        Entry("sketch", CountSketch, "Charikar, Chen, Farach-Colton, Finding frequent items in data streams, 2002", "fraction"),
        Entry("kashin", Kashin, "Safaryan, Shulgin, Richtarik, Uncertainty principle for compression, 2021", "bits"),
        Entry("powersgd", PowerSgd, "Vogels, Karimireddy, Jaggi, PowerSGD, 2019", "rank"),
    )
}


def find(text: str) -> Compressor | PowerSgd:
    """The compressor that a text describes. Raises UsageError in a sentence that says what is possible."""
    head, _, rest = text.strip().partition(":")
    if head == "then":
        return _chain(rest, text)
    if head == "shrunk":
        return Shrunk(_plain(find(rest), text))
    if "+" in text:
        return _chain(text, text)
    if head not in CATALOGUE:
        raise UsageError(f"there is no compressor {head!r}: choose one of {', '.join(CATALOGUE)}; vote; shrunk:ONE; "
                         "ONE+ANOTHER")  # fmt: skip
    return CATALOGUE[head].make(rest)


def _chain(text: str, whole: str) -> Then:
    """One compressor after the other, from the left."""
    first, plus, rest = text.partition("+")
    if not plus:
        raise UsageError(f"the compressor {whole!r} names one stage: join two with +, as in topk:0.01+natural")
    return Then(_plain(find(first), whole), _plain(find(rest), whole))


def _plain(found: Compressor | PowerSgd, whole: str) -> Compressor:
    if isinstance(found, PowerSgd):
        raise UsageError(f"the compressor {whole!r} combines powersgd with another: powersgd works on matrices, by itself")
    return found
