"""What the history of some methods has beside that of others, noted after every record.

NodeColumns      without a centre: how far nodes are apart, and what they did and said
UnlikeColumn     redundant data: how unlike the workers' gradients are
FigureColumns    trainings: metrics of one's own, and further test rows
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpiopt.engine.drive import Standing
from mpiopt.engine.method import Method, Run
from mpiopt.engine.stop import Reason
from mpiopt.methods.nodes import Decentralised
from mpiopt.problems.problem import Team
from mpiopt.training.diversity import diversity
from mpiopt.training.method import Training, WithBuffers, spread

Note = Callable[[Mapping[str, float]], None]  # numbers beside the last record; collective


class NodeColumns:
    """A keeper, called after every record; collective.

    consensus : root mean square distance of the points from the answer. gradients, exchanges : of a node, so far. edge_bytes :
    said along an edge, one way, since the record before, in the mean over those on which anything was said.
    """

    def __init__(self, method: Decentralised, team: Team[Any], note: Note) -> None:
        self._method, self._team, self._note = method, team, note
        self._said = self._along()

    @staticmethod
    def of(method: Method, team: Team[Any], note: Note) -> "list[NodeColumns]":
        """One where a method has nodes, else none. Collective."""
        return [NodeColumns(method, team, note)] if isinstance(method, Decentralised) else []

    def __call__(self, at: Standing[Any], reason: Reason | None) -> None:
        """Collective."""
        run, world = plain(at.begun), self._team.world
        done = self._method.done(run)
        apart = spread(run, self._team, self._method.answer(run, self._team).x)
        before, self._said = self._said, self._along()
        news = {edge: much - before.get(edge, 0) for edge, much in self._said.items()}
        mine = [[much for edge, much in news.items() if edge[0] == worker and much] for worker in world.hosted]
        much, edges = world.total([np.array([sum(each), len(each)], np.float64) for each in mine])
        counts = {"gradients": done.gradients, "exchanges": done.exchanges, "edge_bytes": float(much / max(edges, 1))}
        self._note({"consensus": apart, **counts})

    def _along(self) -> dict[tuple[int, int], int]:
        return dict(self._team.world.tally.by_edge)


class UnlikeColumn:
    """A keeper of a training. diversity : of the gradients at the answer over the samples of the round's number; collective."""

    def __init__(self, method: Training, team: Team[Any], note: Note) -> None:
        self._method, self._team, self._note = method, team, note

    @staticmethod
    def of(name: str, method: Training, team: Team[Any], note: Note) -> "list[UnlikeColumn]":
        """One for ri_sgd, whose theory speaks of it."""
        return [UnlikeColumn(method, team, note)] if name == "ri_sgd" else []

    def __call__(self, at: Standing[Any], reason: Reason | None) -> None:
        """Collective."""
        run = plain(at.begun)
        self._note({"diversity": diversity(self._team, self._method.answer(run, self._team).x, run.round)})


class FigureColumns:
    """What was examined in a round besides loss and accuracy, by column; told by an examination, noted after the record."""

    def __init__(self) -> None:
        self._found: Mapping[str, float] = {}

    def tell(self, found: Mapping[str, float]) -> None:
        """Not collective."""
        self._found = found

    def keeper(self, note: Note) -> Callable[[Standing[Any], Reason | None], None]:
        """Collective."""

        def keep(at: Standing[Any], reason: Reason | None) -> None:
            if self._found:
                note(self._found)
            self._found = {}

        return keep


def plain(run: Run) -> Run:
    """A run without what a training's checkpoint keeps beside it."""
    return run._replace(states=run.states.states) if isinstance(run.states, WithBuffers) else run
