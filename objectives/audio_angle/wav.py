"""Reader of one wav file as one channel of samples; what is wrong with it has a sentence."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from objectives.wording import first_line


def read_wav(path: Path) -> tuple[NDArray[np.float64], int]:
    """Return the samples of a wav file, (n,), and how many there are a second.

    PCM of 8, 16, 24 and 32 bits has full scale 1, floats stay as they are, channels are averaged.

    Raises:
        ValueError: The file cannot be read, was cut short, has NaN, or is silent throughout.
    """
    try:
        with warnings.catch_warnings():
            # Chunks that are not sound, such as the name of the recorder, may be skipped; the end may not be missing.
            warnings.filterwarnings("ignore", "Chunk", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
            rate, raw = wavfile.read(path)
    except Exception as error:  # damaged headers raise struct.error, UnboundLocalError and others
        problem = first_line(error).rstrip(".")
        raise ValueError(
            f"{path} cannot be read as wav ({problem}); expected a whole file of PCM with 8, 16, 24 or 32 bits, or of "
            "floats"
        ) from error
    if rate <= 0:
        raise ValueError(f"{path} has a sampling rate of {rate} Hz; expected more than 0")
    scaled = _full_scale(raw)
    if not (finite := np.isfinite(scaled)).all():
        count = scaled.size - int(finite.sum())
        raise ValueError(f"{path} has {count} samples that are NaN or infinite; expected none")
    wave = scaled.mean(axis=1) if scaled.ndim == 2 else scaled
    if len(wave) and not np.ptp(wave):
        mixed = f" once its {scaled.shape[1]} channels are mixed" if scaled.ndim == 2 else ""
        raise ValueError(f"{path} is silent throughout{mixed}; expected a sound, or the file left out")
    return wave, int(rate)


def resample(wave: NDArray[np.float64], rate: int, to: int) -> NDArray[np.float64]:
    """Return a sound with `to` samples a second instead of `rate`: ceil(n x to / rate) samples, polyphase."""
    if rate == to or not len(wave):
        return wave
    common = math.gcd(rate, to)
    resampled: NDArray[np.float64] = resample_poly(wave, to // common, rate // common)
    return resampled


def _full_scale(raw: NDArray[Any]) -> NDArray[np.float64]:
    if raw.dtype.kind == "u":  # 8 bits, the only ones without a sign
        return (raw.astype(np.float64) - 128) / 128
    if raw.dtype.kind == "i":  # SciPy gives 24 bits as the upper ones of 32
        return raw.astype(np.float64) / 2.0 ** (8 * raw.dtype.itemsize - 1)
    return raw.astype(np.float64)
