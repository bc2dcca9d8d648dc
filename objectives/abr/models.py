"""A hierarchical multi-task 1-D U-Net: one waveform and its statics to denoised signal, class, wave V and threshold.

Each head builds on those before it, as a reader of such records does. The decoder denoises. An attention over its
output decides where to look for a peak. The class is told from there and from the encoder. Wave V is measured knowing
the class, the threshold knowing the class and the peak. Gradients flow back all the way.

Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, with one dimension; Perez et al., "FiLM: Visual Reasoning
with a General Conditioning Layer", AAAI 2018: at each level the statics scale and shift the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.abr.records import CLASSES, SAMPLES, SAMPLING_RATE, STATICS
from objectives.wording import meant

LEVELS = 5  # of 200, 100, 50, 25 and 12 samples
# Widths of the first level; the parameters are about 3,700 times their square.
ARCHITECTURES = {"tiny": 8, "small": 16, "full": 148}


class ABRNet(nn.Module):
    """The network, of widths f, 2f, 4f, 8f, 16f with f = `width`.

    No output is scaled to what its targets are like. `dropout` is that of what the heads share.
    """

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        shared, hidden, condition = 16 * width, 4 * width, 4 * width
        self.condition = nn.Sequential(
            nn.Linear(len(STATICS), condition), nn.ReLU(), nn.Linear(condition, condition), nn.ReLU()
        )
        self.down = nn.ModuleList(Block(i, o, condition) for i, o in zip([1, *widths], widths, strict=False))
        # From the bottom up: (what comes from below, what comes over the skip).
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(Block(below + skip, skip, condition) for below, skip in steps)
        self.signal = nn.Conv1d(width, 1, 1)
        self.attention = nn.Conv1d(width, 1, 1)
        self.register_buffer("times", torch.arange(SAMPLES) * (1000 / SAMPLING_RATE), persistent=False)

        seen = 2 * widths[-1] + width + condition + 1
        self.shared = nn.Sequential(nn.Linear(seen, shared), nn.ReLU(), nn.Dropout(dropout))
        self.classes = nn.Sequential(nn.Linear(shared, hidden), nn.ReLU(), nn.Linear(hidden, len(CLASSES)))
        self.peak = nn.Sequential(nn.Linear(shared + len(CLASSES), hidden), nn.ReLU())
        self.peak_out = nn.Linear(hidden, 3)
        self.threshold = nn.Sequential(
            nn.Linear(shared + len(CLASSES) + hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, signal: Tensor, statics: Tensor) -> dict[str, Tensor]:
        """Return the outputs for signal (n, 1, 200) and statics (n, 4).

        They are signal (n, 1, 200), class (n, 5) logits, exists (n,) logit, latency (n,) in ms, amplitude (n,) in the
        unit it is trained on, and threshold (n,) in dB.
        """
        condition = self.condition(statics)
        x, skips = signal, []
        for level, block in enumerate(self.down):
            x = block(F.max_pool1d(x, 2) if level else x, condition)
            skips.append(x)
        bottom = skips.pop()
        for block in self.up:
            skip = skips.pop()
            # To the skip's own length: halving dropped the last of 25 samples.
            x = block(torch.cat([F.interpolate(x, size=skip.shape[-1], mode="nearest"), skip], dim=1), condition)

        attention = self.attention(x).float().softmax(dim=-1)  # (n, 1, 200), of sum 1
        position = (attention * self.times).sum(-1)  # (n, 1), ms: times of half-precision numbers are too coarse
        looked_at = (x * attention).sum(-1)
        seen = torch.cat([bottom.mean(-1), bottom.amax(-1), looked_at, condition, position], dim=1)
        shared = self.shared(seen)
        logits = self.classes(shared)
        known = torch.cat([shared, logits.float().softmax(dim=1)], dim=1)
        peak = self.peak(known)
        exists, correction, amplitude = self.peak_out(peak).float().unbind(1)
        threshold = self.threshold(torch.cat([known, peak], dim=1)).squeeze(1)
        return {
            "signal": self.signal(x),
            "class": logits,
            "exists": exists,
            "latency": position.squeeze(1) + correction,
            "amplitude": amplitude,
            "threshold": threshold,
        }


class Block(nn.Module):
    """Convolution of 3 samples, batch normalisation, ReLU, twice; before the second ReLU the channels are modulated."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(inputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv1d(outputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs))
        self.film = Film(outputs, condition)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (n, outputs, samples) for (n, inputs, samples) and the condition (n, c)."""
        return F.relu(self.film(self.second(self.first(x)), condition))


class Film(nn.Module):
    """Modulation of channels, (1 + gamma) x + beta (Perez et al., eq. 1 and 2).

    gamma and beta of each channel are linear in the condition, and 0 at the start, so that an untrained network passes
    on what it sees.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return x (n, channels, samples) modulated by the condition (n, c)."""
        gamma, beta = self.linear(condition).unsqueeze(-1).chunk(2, dim=1)
        modulated: Tensor = (1 + gamma) * x + beta
        return modulated


def build(architecture: str, dropout: float = 0.0) -> ABRNet:
    """Build the network called `architecture`; raise ValueError when there is none of that name."""
    if architecture not in ARCHITECTURES:
        expected = f"expected one of {', '.join(ARCHITECTURES)}.{meant(architecture, ARCHITECTURES)}"
        raise ValueError(f"architecture is {architecture!r}; {expected}")
    return ABRNet(ARCHITECTURES[architecture], dropout)
