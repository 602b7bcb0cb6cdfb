"""Modules of one's own with data and losses (extra: torch), for the command line and for Python.

mpiexec -n 2 mpiopt train --model own_nets:TiedGpt --data own_nets:sentences --loss own_nets:next_token --test own_nets:others
mpiexec -n 2 mpiopt train --model own_nets:NormNet --data own_nets:rings
mpiexec -n 2 mpiopt train --model own_nets:Shop --data own_nets:orders --loss own_nets:of_orders --metric own_nets:accuracy

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


class Shop(nn.Module):
    """Two inputs, by name: a kind and sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.rest = nn.Embedding(5, 4, sparse=True), nn.Sequential(nn.Dropout(0.1), nn.LazyLinear(2))

    def forward(self, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """Kinds (b,) and sizes (b, 3) to outputs (b, 2)."""
        return self.rest(torch.cat([self.kinds(kind), size], dim=1))


class Orders(torch.utils.data.Dataset):
    """Items are dicts; sizes are measured anew, with an error, at every look."""

    def __init__(self, rows: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.kind, self.size = torch.randint(5, (rows,), generator=draw), torch.randn(rows, 3, generator=draw)
        self.y = ((self.kind > 2) | (self.size[:, 0] > 0.5)).long()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        size = self.size[number] + 0.01 * torch.randn(3)
        return {"kind": self.kind[number], "size": size, "bought": self.y[number]}


def orders() -> Orders:
    """Rows to train on."""
    return Orders(200, seed=0)


def of_orders(z: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss is given the whole batch; one number a row is as good as their mean."""
    return F.cross_entropy(z, batch["bought"], reduction="none")


def accuracy(z: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The share of rows that are told rightly."""
    return (z.argmax(dim=1) == batch["bought"]).double().mean()


if __name__ == "__main__":
    import mpiopt

    module = Shop()
    found = mpiopt.train(
        module, orders(), loss=of_orders, metrics={"accuracy": accuracy}, test=Orders(100, seed=1),
        method="diloco", period=10, rule="adamw", lr=0.01, batch=10, epochs=20,
    )  # fmt: skip
    if mpiopt.World().rank == 0:
        print(f"accuracy {found.accuracy:.2f} after {found.final.epoch:.0f} epochs")
        torch.save(module.state_dict(), "shop.pt")
