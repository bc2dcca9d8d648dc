"""Three small networks, (n, 1, 8, 8) images to (n,) logits of the rare digit."""

from __future__ import annotations

from torch import Tensor, nn


def build(architecture: str) -> nn.Module:
    """Build the network called `architecture`; raise ValueError when there is none of that name."""
    if architecture == "mlp":
        body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1),
        )  # fmt: skip
    elif architecture == "cnn":
        body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 4 * 4, 1),
        )  # fmt: skip
    elif architecture == "resnet":
        body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), Residual(16), nn.MaxPool2d(2), Residual(16),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1),
        )  # fmt: skip
    else:
        raise ValueError(f"architecture is {architecture!r}; expected 'mlp', 'cnn' or 'resnet'")
    return nn.Sequential(body, nn.Flatten(0))


class Residual(nn.Module):
    """x + f(x), normalised before each convolution (He et al., "Identity Mappings", 2016).

    Group instead of batch normalisation: the last batch of an epoch may hold few images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.GroupNorm(4, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(4, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x), in the shape of x."""
        residual: Tensor = self.f(x)
        return x + residual
