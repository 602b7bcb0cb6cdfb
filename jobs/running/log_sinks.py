"""Where a run is also told of, record by record, for others to watch: --log jsonl:FILE, tensorboard:DIR, mlflow:URI.

What goes wrong there once a run is under way is a warning, and the last that is said to that place: watching ends no run.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mpiopt.errors import DataError, UsageError

Numbers = Mapping[str, float]


class LogSink(Protocol):
    """A place that hears of a run. On one rank; not collective."""

    def add(self, number: int, values: Numbers) -> None:
        """Numbers of the round ``number``, by name, some perhaps not finite."""

    def close(self) -> None:
        """The run has ended."""


class LogBegun(NamedTuple):
    """Of which run. last : its last recorded round, of one that goes on; None for a start."""

    options: Mapping[str, str]
    run_id: str
    last: int | None
    overwrite: bool


class JsonLines:
    """A line of JSON with the round and what is told of it: a record, or numbers beside one; null for what is not finite."""

    def __init__(self, path: Path, begun: LogBegun) -> None:
        kept = self._before(path, begun)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._file.writelines(f"{line}\n" for line in kept)

    @staticmethod
    def _before(path: Path, begun: LogBegun) -> list[str]:
        """The lines so far of a run that goes on. Raises DataError for a file of something else."""
        if not path.exists():
            return []
        if begun.last is not None:
            with suppress(ValueError, TypeError, KeyError):
                lines = path.read_text(encoding="utf-8").splitlines()
                return [line for line in lines if json.loads(line)["round"] <= begun.last]
        if begun.overwrite:
            return []
        raise DataError(f"{path} exists: name another file with --log, or give --overwrite to replace it")

    def add(self, number: int, values: Numbers) -> None:
        """See `LogSink`."""
        told = {"round": number} | {name: value if isfinite(value) else None for name, value in values.items()}
        self._file.write(f"{json.dumps(told, default=float)}\n")

    def close(self) -> None:
        """See `LogSink`."""
        self._file.close()


class TensorBoard:
    """Scalars of TensorBoard by name, in a folder of event files."""

    def __init__(self, folder: str, begun: LogBegun) -> None:
        from tensorboard.summary import Writer

        self._writer = Writer(folder)

    def add(self, number: int, values: Numbers) -> None:
        """See `LogSink`."""
        for name, value in values.items():
            if isfinite(value) and name != "round":
                self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def close(self) -> None:
        """See `LogSink`."""
        self._writer.close()


class MlFlow:
    """A run of MLflow with the options as parameters; one that goes on is another, with the same tag mpiopt.run_id."""

    def __init__(self, uri: str, begun: LogBegun) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_tracking_uri(uri)
        mlflow.start_run(tags={"mpiopt.run_id": begun.run_id})
        mlflow.log_params(begun.options)

    def add(self, number: int, values: Numbers) -> None:
        """See `LogSink`."""
        finite = {name: float(value) for name, value in values.items() if isfinite(value) and name != "round"}
        self._mlflow.log_metrics(finite, step=number)

    def close(self) -> None:
        """See `LogSink`."""
        self._mlflow.end_run()


def _json_lines(target: str, begun: LogBegun) -> LogSink:
    return JsonLines(Path(target), begun)


KINDS: Mapping[str, Callable[[str, LogBegun], LogSink]] = {"jsonl": _json_lines, "tensorboard": TensorBoard, "mlflow": MlFlow}


def parted_target(text: str) -> tuple[str, str]:
    """The kind and the target of --log. Raises UsageError."""
    kind, colon, target = text.partition(":")
    if kind not in KINDS or not colon or not target:
        raise UsageError(f"--log {text}: give jsonl:FILE, tensorboard:DIR or mlflow:URI")
    return kind, target


class RunLogs:
    """All the places of a run, on the rank that tells them. warn : called with a sentence."""

    def __init__(self, sinks: Mapping[str, LogSink], warn: Callable[[str], object]) -> None:
        self._sinks, self._warn, self._number = dict(sinks), warn, 0

    def record(self, values: Mapping[str, Any]) -> None:
        """A record."""
        self._number = int(values["round"])
        self.beside(values)

    def beside(self, values: Numbers) -> None:
        """Numbers beside the last record."""
        for text in list(self._sinks):
            try:
                self._sinks[text].add(self._number, values)
            except Exception as error:
                self._warn(f"warning: --log {text} hears no more of this run ({_told(error)})")
                del self._sinks[text]

    def close(self) -> None:
        """The run has ended."""
        for text, sink in self._sinks.items():
            try:
                sink.close()
            except Exception as error:
                self._warn(f"warning: --log {text} may lack the end of this run ({_told(error)})")


@contextmanager
def logs(texts: Sequence[str], begun: LogBegun, warn: Callable[[str], object]) -> Iterator[RunLogs]:
    """The places that --log names, open while entered. Raises DataError, UsageError where one cannot be opened."""
    opened = RunLogs({text: _opened(text, begun) for text in texts}, warn)
    try:
        yield opened
    finally:
        opened.close()


def _opened(text: str, begun: LogBegun) -> LogSink:
    kind, target = parted_target(text)
    try:
        return KINDS[kind](target, begun)
    except ImportError as error:
        raise UsageError(f"--log {text} needs {kind}, which is not installed: pip install 'mpiopt[{kind}]'") from error
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"--log {text} cannot be written: {_told(error)}") from error


def _told(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return (reason.splitlines() or [type(error).__name__])[0]
