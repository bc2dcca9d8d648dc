"""Three U-Nets: (n, 1, H, W) images to (n, 1, H, W) logits, H and W multiples of 16.

Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Oktay et al., "Attention U-Net", MIDL 2018
(additive gates on the skips); the residual blocks are those of He et al., "Deep Residual Learning", 2016.
Convolutions are padded, blocks normalise, and the way up doubles by the nearest pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 5


class UNet(nn.Module):
    """A U-Net of widths f, 2f, 4f, 8f, 16f with f = `base_width`.

    The published size is 64 (31.4 M parameters, the running statistics of the normalisation counted, as Keras does).
    `gated` puts an attention gate on each skip (37.3 M); `residual` makes blocks with a shortcut (39.1 M with gates).
    """

    def __init__(self, base_width: int = 64, gated: bool = False, residual: bool = False) -> None:
        super().__init__()
        block = ResidualBlock if residual else Block
        widths = [base_width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([1, *widths], widths, strict=False))
        # From the bottom up: (what comes from below, what comes over the skip).
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.gates = nn.ModuleList(AttentionGate(skip, below) if gated else FirstOf() for below, skip in steps)
        self.up = nn.ModuleList(block(below + skip, skip) for below, skip in steps)
        self.head = nn.Conv2d(base_width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n, 1, H, W), for images of the same shape."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for gate, block in zip(self.gates, self.up, strict=True):
            skip = gate(skips.pop(), x)
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def convolution(inputs: int, outputs: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    """Build a padded convolution and its normalisation."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2), nn.BatchNorm2d(outputs)


class Block(nn.Sequential):
    """Twice 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*convolution(inputs, outputs), nn.ReLU(), *convolution(outputs, outputs), nn.ReLU())


class ResidualBlock(nn.Module):
    """Residual block: ReLU of shortcut + body.

    The shortcut is a normalised 1x1 convolution, the body a Block but for its last ReLU.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(inputs, outputs), nn.ReLU(), *convolution(outputs, outputs))
        self.shortcut = nn.Sequential(*convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, H, W)."""
        return F.relu(self.shortcut(x) + self.body(x))


class AttentionGate(nn.Module):
    """A gate that returns skip * a, a in (0, 1) for every pixel.

    a = sigmoid(psi(relu(W_x x + W_g g))) (Oktay et al., eq. 1 and 2). The gating signal g comes from below, at half the
    skip's height and width, so the skip x is brought there by a strided convolution, and a is doubled by bilinear
    interpolation.
    """

    def __init__(self, skip: int, below: int) -> None:
        super().__init__()
        self.signal = nn.Sequential(*convolution(below, skip, 1), nn.ReLU())
        self.of_skip = nn.Conv2d(skip, skip, 2, stride=2)
        # Two convolutions without a step between them: so the published network, and its 37.3 M.
        self.of_signal = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.Conv2d(skip, skip, 3, padding=1))
        self.psi = nn.Conv2d(skip, 1, 1)
        self.out = nn.Sequential(*convolution(skip, skip, 1))

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """Return the skip weighted by attention, in its own shape."""
        joined = F.relu(self.of_skip(skip) + self.of_signal(self.signal(below)))
        attention = F.interpolate(self.psi(joined).sigmoid(), scale_factor=2.0, mode="bilinear", align_corners=False)
        gated: Tensor = self.out(skip * attention)
        return gated


class FirstOf(nn.Module):
    """The stand-in for a gate where there is none."""

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """Return the skip as it is."""
        return skip


ARCHITECTURES = {
    "unet": {},
    "attention_unet": {"gated": True},
    "attention_resunet": {"gated": True, "residual": True},
}


def build(architecture: str, base_width: int = 64) -> UNet:
    """Build the network called `architecture`; raise ValueError when there is none of that name."""
    if architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise ValueError(f"architecture is {architecture!r}; expected one of {expected}")
    return UNet(base_width, **ARCHITECTURES[architecture])
