"""The checkpoint of a training from Python: where the same call goes on."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

from mpiopt.engine.drive import Keeper, Standing
from mpiopt.engine.stop import Reason
from mpiopt.errors import UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.problems.problem import Team


class GoingOn(AbstractContextManager["GoingOn"]):
    """A checkpoint that has its names while entered; without a path nothing. told : what makes the run this run. Collective.

    Raises UsageError where the checkpoint is of another run, DataError where it cannot be used, on every rank.
    """

    def __init__(self, path: str | Path | None, team: Team[Any], told: dict[str, Any]) -> None:
        self._team, self._told = team, told | {"workers": team.world.workers}
        self._store = None if path is None else Store(path, team.world, team.world.tell(uuid4().hex))

    def __enter__(self) -> "GoingOn":
        if self._store is not None:
            self._store.claim()
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def standing(self) -> Standing[Any] | None:
        """Where the run stood; None where there is no checkpoint."""
        found = None if self._store is None else self._store.find()
        if self._store is None or found is None:
            return None
        odd = [name for name, value in self._told.items() if found.identity.get(name) != value]
        if odd:
            then, now = found.identity.get(odd[0]), self._told[odd[0]]
            raise UsageError(
                f"{found.path} is of another run: {odd[0]} was {then} and is {now}; give `checkpoint` another name"
            )
        return self._store.load(found, self._team)

    @property
    def keepers(self) -> list[Keeper[Any]]:
        """What writes it after every record."""
        return [] if self._store is None else [self._keep]

    def _keep(self, at: Standing[Any], reason: Reason | None) -> None:
        if self._store is not None:
            self._store.save(at, self._told, self._team)
