"""What bench family found: how often which method is near the best, how far ours is from it, and where it is worst."""

from collections import Counter
from math import inf, isfinite
from statistics import median
from typing import Any, NamedTuple

from mpiopt.jobs.benches.family_lines import Results
from mpiopt.jobs.cli.console import table

OURS, FAR, WORST = "spcg", 2.0, 10


def near(most: float) -> float:
    """Vector rounds that are about as good as ``most``: 1.2 times as many, or 2 more."""
    return max(1.2 * most, most + 2.0)


class Against(NamedTuple):
    """How ours stands on a shape."""

    shape: str
    ours: float  # vector rounds
    best: float  # of the others
    form: str
    other: str  # the best of the others

    @property
    def ratio(self) -> float:
        """Ours over the best; 1 where none is there."""
        return self.ours / self.best if isfinite(self.best) else 1.0 if isfinite(self.ours) else inf

    @property
    def near(self) -> bool:
        """Whether ours is about the best."""
        return self.ours <= near(self.best) and isfinite(self.ours)

    @property
    def far(self) -> bool:
        """Whether it is another one that should have been taken."""
        return not self.near and self.ratio > FAR


def standings(found: Results) -> list[Against]:
    """Of ours on every shape whose optimum is known, the worst first."""
    stands = []
    for shape, (_, spent) in ((shape, raced) for shape, raced in found.items() if raced.known):
        others = {name: each.vector_rounds for name, each in spent.items() if name != OURS}
        best = min(others, key=others.__getitem__)
        stands.append(Against(shape, spent[OURS].vector_rounds, others[best], spent[OURS].form, best))
    return sorted(stands, key=lambda at: (at.near, -at.ratio))


def report(found: Results, target: float) -> str:
    """Tables of the methods, of the forms of ours, and of the worst shapes."""
    stands = standings(found)
    lines = [
        f"{len(stands)} shapes, to {target:g}, vector rounds by bytes; {OURS} within 1.2 times the best or 2 vector "
        f"rounds on {sum(at.near for at in stands)}, above {FAR:g} times on {sum(at.far for at in stands)}",
        *(f"no optimum found, left out: {shape}" for shape, raced in found.items() if not raced.known),
        "",
        _methods(found),
        "",
        _forms(stands),
        "",
        _worst(stands),
    ]
    return "\n".join(lines)


def _methods(found: Results) -> str:
    """How often a method sends least, and about as little as the one that does."""
    known = [{name: each.vector_rounds for name, each in raced.spent.items()} for raced in found.values() if raced.known]
    rows = []
    for name in dict.fromkeys(name for vectors in known for name in vectors):
        pairs = [(vectors[name], min(vectors.values())) for vectors in known]
        close = sum(mine <= near(best) for mine, best in pairs if isfinite(mine))
        rows.append([name, str(sum(mine == best < inf for mine, best in pairs)), str(close)])
    return table(["method", "sends least", "near that"], rows, "lrr")


def _forms(stands: list[Against]) -> str:
    """How the forms do."""
    rows = []
    for form, count in Counter(at.form for at in stands).most_common():
        of = [at for at in stands if at.form == form]
        ratios = [at.ratio for at in of if isfinite(at.ratio)]
        shown = [f"{median(ratios):.2f}", f"{max(ratios):.2f}"] if ratios else ["-", "-"]
        rows.append([form or "-", str(count), str(sum(at.near for at in of)), str(sum(at.far for at in of)), *shown])
    return table([f"form of {OURS}", "shapes", "near", "far", "median ratio to the best other", "worst"], rows, "lrrrrr")


def _worst(stands: list[Against]) -> str:
    rows = [[f"{at.ours:.1f}", at.form, f"{at.best:.1f}", at.other, at.shape] for at in stands[:WORST]]
    return table([OURS, "form", "best", "other", f"the worst {WORST} shapes"], rows, "rlrll")


def facts(found: Results, target: float, seed: int) -> dict[str, Any]:
    """The same for programs."""
    stands = standings(found)
    return {
        "seed": seed,
        "target": target,
        "shapes": len(found),
        "unknown": [shape for shape, raced in found.items() if not raced.known],
        "near": sum(at.near for at in stands),
        "far": sum(at.far for at in stands),
        "worst": [at._asdict() for at in stands[:WORST]],
        "spent": {shape: {name: each._asdict() for name, each in raced.spent.items()} for shape, raced in found.items()},
    }
