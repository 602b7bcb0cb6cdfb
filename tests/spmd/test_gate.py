"""The one gate: tally and watchers see all that World, its parts and its windows say over MPI, and nothing else is said."""

import re

import numpy as np
import pytest

from mpiopt.comm.gate import ALONE, GROUP, WHOLE
from mpiopt.comm.window import Window
from mpiopt.comm.world import World

X, KIND = np.ones(3), np.dtype(float)
COUNTED = {
    "sum": lambda w: w.sum([X]),
    "total": lambda w: w.total([X]),
    "dots": lambda w: w.dots([(X, X)]),
    "gather": lambda w: w.gather(X),
    "each": lambda w: list(w.each(X, most=1)),
    "alltoall": lambda w: w.alltoall([X] * w.size),
    "bcast": lambda w: w.bcast(X.copy()),
    "swap": lambda w: w.swap([X] * 2, [(w.rank + 1) % w.size, (w.rank - 1) % w.size]),
    "extremes": lambda w: w.extremes(X),
    "best": lambda w: w.best([1.0]),
}
CONTROL = {  # set-up and agreements, which watchers see but no tally counts
    "tell": lambda w: w.tell(1),
    "tell_all": lambda w: w.tell_all(1),
    "together": lambda w: nothing(w),
    "tallied": lambda w: w.tallied(0.0),
    "demand_alike": lambda w: w.demand_alike({}, "now"),
    "barrier": lambda w: w.barrier(),
    "rest": lambda w: w.rest(),
    "split": lambda w: w.split(0).free(),
    "by_node": lambda w: w.by_node().free(),
    "group": lambda w: w.group(1),
    "window": lambda w: w.window("w", 3, KIND),
    "free": lambda w: w.split(0).free(),
}
AT_WINDOWS = {
    "get": lambda w: w.get(),
    "add": lambda w: w.add(X),
    "fetch_and_add": lambda w: w.fetch_and_add(1.0),
}


def nothing(world: World) -> None:
    with world.together("counting"):
        pass


class Watcher:
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen, self.inside = [], 0

    def entered(self, name: str, who: str) -> None:
        self.seen.append((name, who))
        self.inside += 1

    def left(self, who: str) -> None:
        self.inside -= 1


class Spied:
    """MPI's own communicator or window, which a rank must not touch but by the gate."""

    def __init__(self, own, watcher: Watcher) -> None:
        self._own, self._watcher = own, watcher

    def __getattr__(self, name: str):
        found = getattr(self._own, name)
        if callable(found) and name != "Sync":  # which is between this rank and its memory
            assert self._watcher.inside, f"{name} was called past the gate"
        return found


def collectives(kind: type) -> set[str]:
    """The public methods that say that they are."""
    said = {name: getattr(kind, name).__doc__ or "" for name in dir(kind) if not name.startswith("_")}
    return {name for name, doc in said.items() if re.search(r"\bCollective\b", doc)}


def test_the_lists_are_whole():
    assert collectives(World) == {*COUNTED, *CONTROL}
    assert {name for name in vars(Window) if not name.startswith("_")} - {"put"} == {*AT_WINDOWS, "free"}


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize("which", ["whole", "split", "group"])
def test_every_call_is_seen_and_none_goes_past_the_gate(world, monkeypatch, which):
    here = {"whole": lambda: world, "split": lambda: world.split(0), "group": lambda: world.group(1)}[which]()
    watcher, who = Watcher(), WHOLE if here is world else GROUP
    here.window("w", 3, KIND)  # MPI makes windows of its own communicators alone
    world.watches.append(watcher)
    spied = Spied(here._comm, watcher)
    monkeypatch.setattr(here, "_comm", spied)
    monkeypatch.setattr(here._wire, "_comm", spied)
    for name, call in (COUNTED | CONTROL).items():
        sent, before = here.tally.messages, len(watcher.seen)
        call(here)
        assert watcher.seen[before:] or name in ("window", "group"), name  # those that are there already
        assert {kind for _, kind in watcher.seen[before:]} <= {who, GROUP}, name
        assert (here.tally.messages > sent) == (name in COUNTED), name
    monkeypatch.undo()
    at_windows(here, world, watcher)
    if which == "split":
        here.free()


def at_windows(here: World, world: World, watcher: Watcher) -> None:
    window = here.window("v", 3, KIND)
    assert watcher.seen[-1][0] == "window"
    window._win, own = Spied(window._win, watcher), window._win
    window.put(X)
    for name, call in AT_WINDOWS.items():
        sent, before = here.tally.messages, len(watcher.seen)
        call(window)
        assert [kind for _, kind in watcher.seen[before:]] == [ALONE] and here.tally.messages == sent + 1, name
    window._win = own
    with world.waiting("clocks"):
        assert watcher.seen[-1] == ("clocks", ALONE) and watcher.inside == 1
