"""What the history of a method without a centre has beside that of others: how far its nodes are apart, and what they did."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpiopt.engine.drive import Standing
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Reason
from mpiopt.methods.nodes import Decentralised
from mpiopt.problems.problem import Team
from mpiopt.training.method import WithBuffers, spread

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
        run, world = at.begun, self._team.world
        if isinstance(run.states, WithBuffers):  # of a training, as its checkpoint keeps it
            run = run._replace(states=run.states.states)
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
