"""Sounds as pictures: the short-time Fourier transform in decibels below its maximum.

The transform is that of librosa.stft and of scipy.signal.ShortTimeFFT: frames centred on every `hop`-th sample, silence
before and after the clip, a periodic Hamming window 0.54 - 0.46 cos(2 pi k / window).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def spectrogram(
    waves: Tensor, n_fft: int = 2048, hop: int = 256, window: int | None = None, floor: float = 1e-10,
    bands: int | None = None,
) -> Tensor:  # fmt: skip
    """Turn sounds, (n, samples), into decibels, (n, bins, frames), of the same floating type.

    There are n_fft // 2 + 1 bins, or `bands` if that is fewer, and samples // hop + 1 frames. A value is
    20 log10(max(|S| / M, floor)), M the largest |S| of the clip: 0 at the maximum and 20 log10(floor) at least, -200
    for 1e-10, and the same for a louder recording. The clips must not be silent.

    Args:
        waves: The sounds.
        n_fft: Samples of a transform.
        hop: Samples between two frames.
        window: Samples of the window, centred in n_fft; None: n_fft.
        floor: The least magnitude, as a part of the largest.
        bands: |S| is then the root of the mean power of neighbouring bins, as many for each band as may be.
    """
    shape = torch.hamming_window(window or n_fft, periodic=True, dtype=waves.dtype, device=waves.device)
    transformed = torch.stft(
        waves, n_fft, hop, window or n_fft, shape, center=True, pad_mode="constant", return_complex=True
    )
    magnitude = transformed.abs()
    if bands is not None and bands < magnitude.shape[1]:
        # Along the bins alone, which adaptive pooling wants last.
        power = F.adaptive_avg_pool1d((magnitude**2).transpose(1, 2), bands).transpose(1, 2)
        magnitude = power.sqrt()
    relative = magnitude / magnitude.amax((1, 2), keepdim=True)
    return 20 * relative.clamp(min=floor).log10()


def fitted(waves: list[Tensor], samples: int) -> Tensor:
    """Return clips of any length as (n, samples): longer ones cut at the end, shorter ones followed by silence."""
    return torch.stack([F.pad(wave[:samples], (0, max(0, samples - len(wave)))) for wave in waves])
