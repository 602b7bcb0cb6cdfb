"""The exception tree: what jobs rely on when they turn an error into a sentence and an exit code."""

import inspect
import pickle

import pytest

from mpiopt import errors

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_the_tree_is_the_one_drawn_in_its_docstring():
    for kind in ALL:
        assert f"{kind.__name__} " in errors.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_one_base_catches_all_and_the_code_is_1_or_2(kind):
    assert issubclass(kind, errors.MpioptError)
    assert kind.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)


@pytest.mark.parametrize("kind", ALL)
def test_an_error_travels_between_ranks(kind):
    copy = pickle.loads(pickle.dumps(kind("a sentence")))
    assert type(copy) is kind and str(copy) == "a sentence"
