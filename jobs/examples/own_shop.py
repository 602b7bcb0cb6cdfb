"""A module of several inputs, batches that are dicts, a loss and a metric of one's own (extra: torch).

mpiexec -n 2 mpiopt train --model own_shop:Shop --data own_shop:orders --loss own_shop:of_orders --metric own_shop:accuracy
mpiexec -n 2 python -m mpi4py own_shop.py
"""

import torch
from torch import nn
from torch.nn import functional as F


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
    from mpiopt import World, train

    module = Shop()
    found = train(
        module, orders(), loss=of_orders, metrics={"accuracy": accuracy}, test=Orders(100, seed=1),
        method="diloco", period=10, rule="adamw", lr=0.01, batch=10, epochs=20,
    )  # fmt: skip
    if World().rank == 0:
        print(f"accuracy {found.accuracy:.2f} after {found.final.epoch:.0f} epochs")
        torch.save(module.state_dict(), "shop.pt")
