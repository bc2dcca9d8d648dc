"""Residual networks that give a spectrogram one score: (n, 1, bins, frames) to (n,).

The last features are averaged over time, but only partly over frequency, since the place of a notch in the spectrum
tells its angle.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with the basic block of 3x3
convolutions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = 3
BANDS = 8  # along the frequencies, seen by the last layer


class ResidualRanker(nn.Module):
    """A stem, three stages of widths f, 2f, 4f (f = `base_width`), and a linear layer over 8 bands.

    Each stage has `blocks` residual blocks, the second and third at half the resolution of the one before. Weights are
    initialised after He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 14 (fan out). The last layer has no
    bias, since only differences of scores matter.
    """

    def __init__(self, base_width: int = 16, blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, base_width, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(base_width), nn.ReLU()
        )
        stages: list[nn.Module] = []
        inputs = base_width
        for stage in range(STAGES):
            outputs = base_width * 2**stage
            for block in range(blocks):
                stages.append(Residual(inputs, outputs, stride=2 if stage and not block else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d((BANDS, 1))
        self.head = nn.Linear(BANDS * inputs, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each spectrogram, (n,)."""
        scores: Tensor = self.head(self.pool(self.stages(self.stem(x))).flatten(1))
        return scores.squeeze(1)


class Residual(nn.Module):
    """Residual block: ReLU of shortcut + body.

    The body is two normalised 3x3 convolutions with a ReLU between, the shortcut a normalised 1x1 convolution where the
    shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, bins / stride, frames / stride)."""
        return F.relu(self.shortcut(x) + self.body(x))


# Residual blocks in each stage, and how many times base_width the stem is wide.
ARCHITECTURES = {"resnet_small": (1, 1), "resnet_deep": (3, 1), "resnet_wide": (1, 2)}


def build(architecture: str, base_width: int = 16) -> ResidualRanker:
    """Build the network called `architecture`; raise ValueError when there is none of that name."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture is {architecture!r}; expected one of {', '.join(ARCHITECTURES)}")
    blocks, times = ARCHITECTURES[architecture]
    return ResidualRanker(base_width * times, blocks)
