"""Networks to train on images, made by torch: rows (height, width) or (height, width, colours), colours last.

They draw their start from torch's generator, as `TorchModel` wants. UsageError is raised where torch is not installed.
"""

from itertools import pairwise
from typing import Any

from mpiopt.errors import UsageError
from mpiopt.training.torch.library import Module, torch_module


def small_cnn(shape: tuple[int, ...] = (28, 28), classes: int = 10) -> Module:
    """Two 5 x 5 convolutions of 16 and 32 channels, each halved by maxima, and 128 hidden units.

    shape : of one image, at least 16 x 16. After LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to
    document recognition, 1998, with rectifiers.
    """
    nn = torch_module().nn
    height, width = (((side - 4) // 2 - 4) // 2 for side in shape[:2])
    if min(height, width) < 1:
        raise UsageError(f"images of shape {shape} are too small for this network: it needs at least 16 x 16")
    return nn.Sequential(
        _colours_first(),
        nn.Conv2d(_colours(shape), 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * height * width, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def resnet20(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Module:
    """Three stages of three residual blocks with 16, 32 and 64 channels; 0.27 million parameters.

    shape : of one image. He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2, with
    shortcuts that drop every other pixel and pad the channels with zeros, and He's start.
    """
    nn = torch_module().nn
    widths = [16, *[16] * 3, *[32] * 3, *[64] * 3]
    blocks = [_residual(here, there) for here, there in pairwise(widths)]
    net = nn.Sequential(
        _colours_first(),
        nn.Conv2d(_colours(shape), 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    return net


def _colours(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _colours_first() -> Module:
    """(b, height, width, colours) or (b, height, width) to (b, colours, height, width), without a copy."""

    base: Any = torch_module().nn.Module

    class ColoursFirst(base):
        def forward(self, x):
            return x.permute(0, 3, 1, 2) if x.ndim == 4 else x.unsqueeze(1)

    return ColoursFirst()


def _residual(channels: int, wider: int) -> Module:
    """relu(x + norm(conv(relu(norm(conv(x)))))), the first convolution halving the picture where there are more channels."""
    nn = torch_module().nn
    base: Any = nn.Module

    class Residual(base):
        def __init__(self):
            super().__init__()
            self.stride = 1 if wider == channels else 2
            self.way = nn.Sequential(
                nn.Conv2d(channels, wider, 3, self.stride, 1, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(),
                nn.Conv2d(wider, wider, 3, 1, 1, bias=False),
                nn.BatchNorm2d(wider),
            )

        def forward(self, x):
            short = x[:, :, :: self.stride, :: self.stride]
            return nn.functional.relu(self.way(x) + nn.functional.pad(short, (0, 0, 0, 0, 0, wider - channels)))

    return Residual()
