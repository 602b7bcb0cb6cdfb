"""The file of bench family: a line for every method on every shape, from which it goes on."""

import csv
from collections.abc import Mapping
from math import inf, isfinite, nan
from pathlib import Path
from typing import Literal, NamedTuple

from mpiopt.errors import UsageError


class Spent(NamedTuple):
    """What a method took on a shape; infinitely many vector rounds where it was not done within its limit.

    form : that it ended in, where it has several.
    """

    vector_rounds: float = inf
    rounds: int = 0
    bytes: int = 0
    seconds: float = inf
    form: str = ""


class Raced(NamedTuple):
    """The objective to come down to on a shape, nan where no optimum was found; and who did at what cost."""

    goal: float
    spent: dict[str, Spent]

    @property
    def known(self) -> bool:
        """Whether an optimum was found."""
        return isfinite(self.goal)


Results = dict[str, Raced]  # by shape
HEAD = ("shape", "target", "goal", "method", *Spent._fields)


def resumed(file: Path, target: float) -> Results:
    """What a file says, but for a line that was cut off, which is given up. Raises UsageError."""
    if not file.exists():
        write({}, target, file, "w")
        return {}
    text = file.read_text(encoding="utf-8")
    found: Results = {}
    try:
        for line in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            if float(line["target"]) != target:
                raise UsageError(
                    f"{file} is of --target {line['target']}, and this is {target:g}: name another file with --csv"
                )
            raced = found.setdefault(line["shape"], Raced(float(line["goal"]), {}))
            if line["method"]:
                raced.spent[line["method"]] = _spent(line)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is not of this bench ({error}): name another file with --csv") from error
    write(found, target, file, "w")
    return found


def _spent(line: Mapping[str, str]) -> Spent:
    kinds = zip(Spent._fields, (float, int, int, float, str), strict=True)
    return Spent(*[kind(line[name]) for name, kind in kinds])


def write(found: Results, target: float, file: Path, mode: Literal["w", "a"]) -> None:
    """A line for every shape and method; one without a method for a shape without an optimum. Raises OSError."""
    with file.open(mode, newline="", encoding="utf-8") as lines:
        to = csv.writer(lines, lineterminator="\n")
        if mode == "w":
            to.writerow(HEAD)
        for shape, raced in found.items():
            spent = raced.spent if raced.known else {"": Spent()}
            to.writerows((shape, target, raced.goal, method, *each) for method, each in spent.items())


NOWHERE = Raced(nan, {})
