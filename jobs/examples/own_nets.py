"""Modules of one's own with data and losses (extra: torch): a tied transformer, and a net with batch normalisation.

mpiexec -n 2 mpiopt train --model own_nets:TiedGpt --data own_nets:sentences --loss own_nets:next_token --test own_nets:others
mpiexec -n 2 mpiopt train --model own_nets:NormNet --data own_nets:rings
mpiexec -n 2 python -m mpi4py own_nets.py
"""

import torch
from torch import nn
from torch.nn import functional as F

BLOCK, TOKENS = 8, 12


class TiedGpt(nn.Module):
    """One causal layer; what reads tokens also writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.place = nn.Embedding(TOKENS, 16), nn.Parameter(0.1 * torch.randn(BLOCK, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.write = nn.Linear(16, TOKENS, bias=False)
        self.write.weight = self.read.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (b, t) to what may come next (b, t, tokens)."""
        ahead = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.write(self.layer(self.read(tokens) + self.place[: tokens.shape[1]], ahead))


def next_token(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean loss of all places."""
    return F.cross_entropy(z.flatten(0, 1), y.flatten())


def sentences(rows: int = 160, seed: int = 0) -> torch.utils.data.TensorDataset:
    """Counting up, from anywhere, in steps of 1 or 2: (tokens, the tokens after each)."""
    draw = torch.Generator().manual_seed(seed)
    first, step = (torch.randint(n, (rows, 1), generator=draw) for n in (TOKENS, 2))
    text = (first + (1 + step) * torch.arange(BLOCK + 1)) % TOKENS
    return torch.utils.data.TensorDataset(text[:, :-1], text[:, 1:])


def others() -> torch.utils.data.TensorDataset:
    """Other sentences."""
    return sentences(80, seed=1)


class NormNet(nn.Sequential):
    """With batch normalisation, whose running statistics belong to the answer."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def rings() -> torch.utils.data.TensorDataset:
    """Two rings, one about the other."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(2, (200,), generator=draw)
    angle = 6.28 * torch.rand(200, generator=draw)
    return torch.utils.data.TensorDataset((1.0 + y)[:, None] * torch.stack([angle.cos(), angle.sin()], 1), y)


if __name__ == "__main__":
    from mpiopt import train

    print(train(NormNet, rings(), test=rings(), rule="adamw", lr=0.01, batch=10, epochs=5).accuracy)
