"""A small decoder-only transformer, its loss, and text out of it."""

from math import sqrt
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.training.torch.library import Module, Tensor, torch_module


def gpt(vocabulary: int, block: int, layers: int = 4, width: int = 128, heads: int = 4, dropout: float = 0.0) -> Any:
    """Tokens (b, t <= block) to the next one's logits (b, t, vocabulary); the embedding of tokens is also the last layer.

    Normalisation in front of attention and of a perceptron four times as wide, places learnt. Radford, Wu, Child, Luan, Amodei,
    Sutskever, Language models are unsupervised multitask learners, 2019, section 2.3, and its start: normal of deviation 0.02,
    what ends a residual branch divided by the root of their number. Raises UsageError for sizes that do not fit.
    """
    torch = torch_module()
    if min(layers, width, heads, block) < 1 or width % heads or not 0 <= dropout < 1:
        raise UsageError(
            f"gpt:layers={layers},width={width},heads={heads},dropout={dropout:g} cannot be made: give whole numbers of at "
            "least 1, a width that the heads divide, and a dropout of at least 0 and below 1"
        )
    net = _gpt_class(torch)(vocabulary, block, layers, width, heads, dropout)
    for name, p in net.named_parameters():
        if p.ndim > 1:
            spread = 0.02 / sqrt(2 * layers) if name.endswith("out.weight") else 0.02
            torch.nn.init.normal_(p, std=spread)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(p)
    return net


def gpt_of(spec: str, vocabulary: int, block: int) -> Module:
    """The module that a text describes, as gpt or gpt:layers=2,width=64. Raises UsageError."""
    return Spelt(gpt, "", "layers", name="gpt").spelt(f"vocabulary={vocabulary},block={block},{spec.partition(':')[2]}")


def _gpt_class(torch: Any) -> Any:
    nn, functional = torch.nn, torch.nn.functional
    base: Any = nn.Module

    class Attention(base):
        def __init__(self, width, heads, dropout):
            super().__init__()
            self.heads, self.dropout = heads, dropout
            self.all, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            b, t, width = x.shape
            q, k, v = self.all(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            dropped = self.dropout if self.training else 0.0
            y = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropped, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(b, t, width))

    class DecoderLayer(base):
        def __init__(self, width, heads, dropout):
            super().__init__()
            self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width, heads, dropout), nn.LayerNorm(width)
            self.wide, self.out, self.drop = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.Dropout(dropout)

        def forward(self, x):
            x = x + self.drop(self.attention(self.norm1(x)))
            return x + self.drop(self.out(functional.gelu(self.wide(self.norm2(x)), approximate="tanh")))

    class Gpt(base):
        def __init__(self, vocabulary, block, layers, width, heads, dropout):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
            self.drop, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)
            self.layers = nn.ModuleList(DecoderLayer(width, heads, dropout) for _ in range(layers))

        def forward(self, tokens):
            x = self.drop(self.tokens(tokens) + self.places.weight[: tokens.shape[1]])
            for layer in self.layers:
                x = layer(x)
            return functional.linear(self.norm(x), self.tokens.weight)

    return Gpt


def next_token(z: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the tokens y (b, t) under the logits z (b, t, vocabulary), mean over all, in nats a token."""
    return torch_module().nn.functional.cross_entropy(z.flatten(0, 1), y.flatten())


def sampled(module: Module, prompt: Array, count: int, block: int, temperature: float, stream: np.random.Generator) -> Array:
    """``count`` tokens after those of ``prompt`` (n,), n > 0, each drawn from the softmax of the logits / temperature.

    The last ``block`` tokens are looked at. temperature : 0 for the likeliest.
    """
    torch, found = torch_module(), prompt.astype(np.int64).tolist()
    module.eval()
    with torch.inference_mode():
        for _ in range(count):
            z = module(torch.tensor([found[-block:]]))[0, -1].double().numpy()
            noise = temperature * stream.gumbel(size=z.size) if temperature else 0.0
            found.append(int((z + noise).argmax()))
    return np.array(found[len(prompt) :], np.int64)
