"""What neighbours send each other: each worker's message as one row, whole or compressed, and how rows are added up."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace, on_host
from mpiopt.compress.compressor import Compressor, Payload, Stream
from mpiopt.engine.phase import Joint
from mpiopt.errors import NumericalError
from mpiopt.problems.problem import Message


class Whole(NamedTuple):
    """Messages on their way as they are, the scalars behind the vector. like : any of them."""

    like: Message

    def row(self, message: Message, worker: int) -> Array:
        """What is sent of a worker's message."""
        xp = namespace(message.vector)
        return xp.concatenate([message.vector, xp.asarray(message.scalars, message.vector.dtype)])

    def total(self, said: Sequence[tuple[int, Array, float]]) -> Message:
        """The sum of what workers said, each times a number: (worker, row, number)."""
        (_, row, much), *others = said
        total = much * row
        for _, row, much in others:
            total += much * row
        return Message(total[: self.like.vector.size], on_host(total[self.like.vector.size :]).astype(np.float64))

    def left(self, message: Message, row: Array, worker: int) -> float:
        """What was not sent of a vector."""
        return 0.0


class Short(NamedTuple):
    """The same in bytes: a compressor's, then scalars and a last one that is not finite where the vector was not."""

    like: Message
    compressor: Compressor
    purpose: str
    here: Joint

    def row(self, message: Message, worker: int) -> Array:
        """See `Whole`."""
        vector, flag = message.vector, 0.0
        try:
            payload = self.compressor.encode(vector, self._stream(worker))
        except NumericalError:
            payload, flag = self.compressor.encode(namespace(vector).zeros_like(vector), self._stream(worker)), np.nan
        return np.concatenate([payload.view(np.uint8), np.append(message.scalars, flag).view(np.uint8)])

    def total(self, said: Sequence[tuple[int, Array, float]]) -> Message:
        """See `Whole`."""
        vector = namespace(self.like.vector).zeros_like(self.like.vector)
        scalars = np.zeros(self.like.scalars.size + 1)
        for worker, row, much in said:
            scalars += much * row[self._cut :].copy().view(np.float64)
            self.compressor.add(self._payload(row), vector, self._stream(worker), much)
        if not np.isfinite(scalars[-1]):
            vector[:] = np.nan
        return Message(vector, scalars[:-1])

    def left(self, message: Message, row: Array, worker: int) -> Array:
        """See `Whole`."""
        return message.vector - self.compressor.decode(self._payload(row), message.vector, self._stream(worker))

    @property
    def _cut(self) -> int:
        return -8 * (self.like.scalars.size + 1)

    def _payload(self, row: Array) -> Payload:
        return row[: self._cut].copy().view(self.like.vector.dtype if self.compressor.linear else np.uint8)

    def _stream(self, worker: int) -> Stream:
        sites, world = self.here.team.sites, self.here.team.world
        return Stream.of(sites[0].streams, self.purpose, self.here.round, worker, world.workers)._replace(worker=worker)
