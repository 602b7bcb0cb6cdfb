"""scikit-learn's callbacks (from version 1.9 on), told of every round of a fit; the loop is that of any solve."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["CallbackSupportMixin", "FitTasks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an earlier scikit-learn

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nobody can set callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """The method as it is."""
        return method


class FitTasks:
    """The rounds of one fit as tasks. fitted : from a point (dim,) to the attributes of a model that was fitted there.

    Asked on every rank after every round; the word of one rank ends a fit on all, after the round that follows.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, fitted: Callable[[Any], Mapping[str, Any]]) -> None:
        self._estimator, self._data, self._fitted = estimator, {"X": X, "y": y}, fitted
        self._asked = bool(getattr(estimator, "_skl_callbacks", ()))
        self._round: Any = None
        self.word = ""
        if hasattr(estimator, "_init_callback_context"):
            self._whole = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self._whole.call_on_fit_task_begin(estimator=estimator, **self._data)

    def after(self, x: Any) -> None:
        """A round has come to x (dim,); the first is the start."""
        if not self._asked:
            return
        if self._round is not None and self._ended(self._round, x):
            self.word = "a callback asked for it"
        self._round = self._whole.subcontext(task_name="round")
        self._round.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def close(self, x: Any) -> None:
        """The fit has ended at x; the round that was begun last never ran."""
        if self._asked and self._round is not None:
            self._round.call_on_fit_task_end(estimator=self._estimator)
        if hasattr(self, "_whole"):
            self._ended(self._whole, x)

    def _ended(self, task: Any, x: Any) -> bool:
        told = {"reconstruction_attributes": dict(self._fitted(x))} if self._asked else {}
        return bool(task.call_on_fit_task_end(estimator=self._estimator, **self._data, **told))
