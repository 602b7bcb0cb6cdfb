"""Some neurons of the dense layers of a torch network, as a smaller network.

A hidden layer can be divided where a `Sequential` has one linear module after another, with nothing between them but what
works on each neuron by itself, batch normalisation included. All else is in every part as a whole.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.model import Block

if TYPE_CHECKING:
    import torch

NEURONWISE = {"ReLU", "LeakyReLU", "GELU", "ELU", "SiLU", "Tanh", "Sigmoid", "Dropout", "Identity", "BatchNorm1d"}

Axes = dict[str, tuple[Array, ...]]  # by torch's name, what is kept along each axis of a parameter or buffer


def layers(torch: Any, module: "torch.nn.Module") -> list[tuple[int, int]]:
    """The places in a `Sequential` of the linear modules before and after every hidden layer that can be divided."""
    if not isinstance(module, torch.nn.Sequential):
        return []
    ends = [place for place, part in enumerate(module) if isinstance(part, torch.nn.Linear)]
    return [
        (before, after)
        for before, after in pairwise(ends)
        if {type(part).__name__ for part in module[before + 1 : after]} <= NEURONWISE
    ]


def axes_of(torch: Any, module: Any, kept: Sequence[Array]) -> Axes:
    """What of the parameters and buffers belongs to these neurons of every hidden layer; what belongs to all is left out."""
    own: dict[int, dict[int, Array]] = {}  # by module, what is kept along its axes: 0 of what it gives, 1 of what it takes
    for (before, after), neurons in zip(layers(torch, module), kept, strict=True):
        own.setdefault(after, {})[1] = neurons
        for place in range(before, after):
            own.setdefault(place, {})[0] = neurons
    return {
        f"{place}.{name}": tuple(ends.get(axis, np.arange(size)) for axis, size in enumerate(tensor.shape))
        for place, ends in own.items()
        for name, tensor in [*module[place].named_parameters(), *module[place].named_buffers()]
    }


def smaller(torch: Any, module: Any, kept: Sequence[Array], gain: float) -> "torch.nn.Module":
    """The network of these neurons of every hidden layer, whose outputs are multiplied by ``gain``."""
    made = list(deepcopy(module))
    takes = {after: len(neurons) for (_, after), neurons in zip(layers(torch, module), kept, strict=True)}
    gives = {
        place: len(neurons)
        for (before, after), neurons in zip(layers(torch, module), kept, strict=True)
        for place in range(before, after)
    }
    for place in takes.keys() | gives.keys():
        like = made[place]
        if isinstance(like, torch.nn.Linear):
            ends = takes.get(place, like.in_features), gives.get(place, like.out_features)
            made[place] = _linear(torch, like, *ends, gain if place in takes else 1.0)
            _as_trained(like, made[place])
        elif isinstance(like, torch.nn.BatchNorm1d):
            kind = like.weight.dtype if like.affine else None
            made[place] = torch.nn.BatchNorm1d(
                gives[place], like.eps, like.momentum, like.affine, like.track_running_stats, dtype=kind
            )
            _as_trained(like, made[place])
    return torch.nn.Sequential(*made)


def _as_trained(like: Any, made: Any) -> None:
    """Train what is trained in the whole."""
    for name, parameter in like.named_parameters():
        getattr(made, name).requires_grad_(parameter.requires_grad)


def _linear(torch: Any, like: Any, takes: int, gives: int, gain: float) -> Any:
    class Amplifying(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x * gain)

    return Amplifying(takes, gives, like.bias is not None, dtype=like.weight.dtype)


def places(blocks: Sequence[Block], axes: Axes) -> Array:
    """Where the x of the smaller network lies in that of the whole, int64."""
    found, at = [], 0
    for name, shape in blocks:
        whole = at + np.arange(prod(shape)).reshape(shape)
        found.append((whole[np.ix_(*axes[name])] if name in axes else whole).ravel())
        at += prod(shape)
    return np.concatenate(found)


def put_in(whole: Mapping[str, Any], part: Mapping[str, Any], axes: Axes) -> None:
    """Give a part what is kept beside x, tensors by name, from the whole."""
    for name, tensor in part.items():
        tensor.detach()[...] = whole[name].detach()[_kept(axes, name)]


def put_back(whole: Mapping[str, Any], part: Mapping[str, Any], axes: Axes) -> None:
    """Write it where it belongs in the whole."""
    for name, tensor in part.items():
        whole[name].detach()[_kept(axes, name)] = tensor.detach()


def _kept(axes: Axes, name: str) -> Any:
    return np.ix_(*axes[name]) if axes.get(name) else ...
