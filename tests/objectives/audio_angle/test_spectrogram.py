"""Decibels: by hand from the definition, by SciPy's transform, and where they must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import stft

from objectives.audio_angle.spectrogram import fitted, spectrogram

Array = NDArray[np.float64]


def clip(samples: int = 5000, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(samples) * 0.3) * np.exp(-np.arange(samples) / 900) + 0.01 * rng.standard_normal(samples)


def by_hand(wave: Array, n_fft: int, hop: int, window: int) -> Array:
    """|S| frame by frame: silence of half a frame at each end, a window in the middle of each frame."""
    shape = np.zeros(n_fft)
    first = (n_fft - window) // 2
    shape[first : first + window] = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.concatenate([np.zeros(n_fft // 2), wave, np.zeros(n_fft // 2)])
    frames = [padded[t : t + n_fft] * shape for t in range(0, len(wave) + 1, hop)]
    return np.abs(np.fft.rfft(frames)).T


@pytest.mark.parametrize(("n_fft", "hop", "window"), [(2048, 256, 2048), (256, 128, 256), (512, 100, 300), (64, 7, 33)])
def test_it_is_the_definition_in_float64(n_fft: int, hop: int, window: int) -> None:
    wave = clip()
    magnitude = by_hand(wave, n_fft, hop, window)
    expected = 20 * np.log10(np.maximum(magnitude / magnitude.max(), 1e-10))
    found = spectrogram(torch.from_numpy(wave)[None], n_fft, hop, window)[0]
    assert found.dtype == torch.float64
    assert found.shape == (n_fft // 2 + 1, 5000 // hop + 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.max() == 0


def test_it_is_scipys_transform() -> None:
    wave = clip()
    _, _, transformed = stft(wave, window="hamming", nperseg=2048, noverlap=2048 - 256, boundary="zeros", padded=False)
    magnitude = np.abs(transformed)
    expected = 20 * np.log10(np.maximum(magnitude / magnitude.max(), 1e-10))
    found = spectrogram(torch.from_numpy(wave)[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_defaults_are_the_published_ones() -> None:
    wave = torch.from_numpy(clip())[None]
    assert torch.equal(spectrogram(wave), spectrogram(wave, 2048, 256, 2048, 1e-10, None))


def test_a_tone_is_in_its_bin_and_loudness_is_nowhere() -> None:
    time = torch.arange(8000, dtype=torch.float64) / 8000
    tone = torch.sin(2 * torch.pi * 1000 * time)
    both = torch.stack([tone, 1e-3 * tone])
    found = spectrogram(both, 256, 64)
    assert found[0].mean(1).argmax() == 32  # 1000 Hz x 256 / 8000
    torch.testing.assert_close(found[0], found[1])


def test_silence_after_a_sound_lies_at_the_floor() -> None:
    wave = torch.zeros(1, 4096, dtype=torch.float64)
    wave[0, 10] = 1
    assert spectrogram(wave, 256, 256)[0, :, 5:].unique().tolist() == [-200]
    assert spectrogram(wave, 256, 256, floor=1e-4)[0, :, 5:].unique().tolist() == pytest.approx([-80])


def test_bands_are_roots_of_mean_powers() -> None:
    wave = clip()
    power = by_hand(wave, 62, 31, 62)[:, :10] ** 2  # 32 bins
    bands = np.sqrt(power.reshape(8, 4, 10).mean(1))
    found = spectrogram(torch.from_numpy(wave)[None, :280], 62, 31, bands=8)[0]
    power_of_280 = by_hand(wave[:280], 62, 31, 62) ** 2
    bands = np.sqrt(power_of_280.reshape(8, 4, -1).mean(1))
    np.testing.assert_allclose(found, 20 * np.log10(bands / bands.max()), atol=1e-9)


def test_no_more_bands_than_bins() -> None:
    wave = torch.from_numpy(clip())[None]
    assert torch.equal(spectrogram(wave, 64, 32, bands=33), spectrogram(wave, 64, 32))
    assert torch.equal(spectrogram(wave, 64, 32, bands=500), spectrogram(wave, 64, 32))


def test_a_clip_does_not_depend_on_those_beside_it() -> None:
    waves = torch.stack([torch.from_numpy(clip(seed=k)) for k in range(3)]) * torch.tensor([[1.0], [5.0], [0.1]])
    together = spectrogram(waves, 256, 64)
    torch.testing.assert_close(together, torch.cat([spectrogram(wave[None], 256, 64) for wave in waves]))


def test_clips_are_cut_or_followed_by_silence() -> None:
    waves = [torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])]
    assert fitted(waves, 3).tolist() == [[1, 2, 0], [1, 2, 3], [1, 2, 3]]
