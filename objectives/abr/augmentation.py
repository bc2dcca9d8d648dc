"""Noise and small shifts of time for waveforms.

They are drawn from a generator of one's own, so that an epoch that is trained again sees the same records.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from objectives.abr.records import SAMPLES, SAMPLING_RATE


def augment(batch: Mapping[str, Tensor], generator: torch.Generator, noise: float, shift: int) -> dict[str, Tensor]:
    """Return a batch with noise added and moved in time.

    The click reaches the ear through a tube whose length is not known to the sample: so a record moves, with its target
    and its latency. At the end that it leaves open, its first or last sample is repeated.

    Args:
        batch: signal and target (n, 1, 200), latency (n,) in ms, and others, which stay as they are.
        generator: The source of all draws.
        noise: Standard deviation of white noise added to the signal, whose own is 1; not to the target.
        shift: The most samples that a record moves either way.

    Raises:
        ValueError: The noise or the shift is negative, or the shift is not a whole number.
    """
    if not noise >= 0:
        raise ValueError(f"augmentation.noise is {noise!r}; expected a number from 0")
    if not isinstance(shift, int) or shift < 0:
        raise ValueError(f"augmentation.shift is {shift!r}; expected a whole number of samples from 0")
    changed, device = dict(batch), batch["signal"].device
    count = len(batch["signal"])
    if shift:
        by = torch.randint(-shift, shift + 1, (count, 1), generator=generator)
        source = (torch.arange(SAMPLES) - by).clamp(0, SAMPLES - 1).unsqueeze(1).to(device)
        changed |= {name: batch[name].gather(2, source) for name in ("signal", "target")}
        changed["latency"] = batch["latency"] + by.squeeze(1).to(device) * (1000 / SAMPLING_RATE)
    if noise:
        changed["signal"] = changed["signal"] + noise * torch.randn(count, 1, SAMPLES, generator=generator).to(device)
    return changed
