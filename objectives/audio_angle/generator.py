"""Made-up impact sounds from six angles, for when there are no files.

A small plastic object is struck and rings for milliseconds near 3 kHz. Two things tell the angle between it and the
axis of the microphone. A second path (a reflection) comes the later the larger the angle is, and cuts notches into the
spectrum at odd multiples of 1 / (2 delay). The shadow of the housing takes away high frequencies.

Other things hide the angle: strikes, resonances and their tilt, loudness, noise, reverberation and the strength of the
reflection are drawn anew for each clip, and the true angle lies about that of the class. This module knows nothing of
spectrograms and splits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.audio_angle.files import CLASSES, Clips

Array = NDArray[Any]

RATE = 16_000  # samples a second, unless another is asked for
SECONDS = 0.5
RESONANCE = 3000.0  # Hz
DELAY = (1.5e-4, 9.0e-4)  # seconds by which the second path is longer, at 0 and at 180 degrees
SHADOW = (9000.0, 2500.0)  # Hz above which the housing shadows, at 0 and at 180 degrees
SPREAD = 6.0  # degrees, standard deviation of the true angle about that of its class
MODES = 10
CHUNK = 64  # clips that are computed together
LEAST_RATE, LEAST_SECONDS = 8000, 0.1


def generate(clips: int, seed: int, rate: int = RATE, seconds: float = SECONDS) -> Clips:
    """Make up sounds of as many samples, as many of each angle as may be; ranks 0 to 5 for deg000 to deg180.

    The same arguments give the same bytes.

    Raises:
        ValueError: Fewer clips than angles, a rate below 8000, less than 0.1 seconds, or a negative seed.
    """
    for name, value, least in (("clips", clips, len(CLASSES)), ("seed", seed, 0), ("sample_rate", rate, LEAST_RATE)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
    if not isinstance(seconds, int | float) or seconds < LEAST_SECONDS:
        raise ValueError(f"seconds is {seconds!r}; expected at least {LEAST_SECONDS}")
    rng = np.random.default_rng(seed)
    ranks = np.arange(clips) % len(CLASSES)
    samples = round(rate * seconds)
    waves = [_sounds(rng, ranks[first : first + CHUNK], rate, samples) for first in range(0, clips, CHUNK)]
    return Clips(
        waves=tuple(np.concatenate(waves)),
        rate=rate,
        ranks=ranks.astype(np.float64),
        names=tuple(f"plastic_{CLASSES[rank]}_3000hz_{k // len(CLASSES) + 1:04d}.wav" for k, rank in enumerate(ranks)),
        splits=("",) * clips,
        groups=None,
        levels=CLASSES,
    )


def _sounds(rng: np.random.Generator, ranks: NDArray[np.intp], rate: int, samples: int) -> NDArray[np.float32]:
    """Return sounds, (n, samples), with peaks from 0.1 to 0.9."""
    n = len(ranks)
    size = 2 * samples  # so that nothing runs around the end of the transform
    frequency = np.fft.rfftfreq(size, 1 / rate)
    angle = np.clip(36.0 * ranks + SPREAD * rng.standard_normal(n), 0, 180)[:, None]

    struck = np.fft.rfft(_strikes(rng, n, rate, samples), size) * _tilt(rng, n, frequency)
    heard = np.fft.irfft(struck * _direction(rng, angle, frequency), size)[:, :samples]
    room = np.fft.irfft(struck * np.fft.rfft(_tail(rng, n, rate, samples), size), size)[:, :samples]
    wet = 10 ** (rng.uniform(-26, -18, (n, 1)) / 20)
    clean = heard + wet * room * _rms(heard) / _rms(room)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal((n, samples))) / _pink(samples, rate), samples)
    noisy = clean + noise * _rms(clean) / _rms(noise) * 10 ** (-rng.uniform(10, 30, (n, 1)) / 20)
    peak = rng.uniform(0.1, 0.9, (n, 1))
    sounds: NDArray[np.float32] = (noisy * peak / np.abs(noisy).max(1, keepdims=True)).astype(np.float32)
    return sounds


def _strikes(rng: np.random.Generator, n: int, rate: int, samples: int) -> Array:
    """Return one to three strikes a clip, each a click and the clip's own modes of the object: (n, samples)."""
    time = np.arange(min(samples, round(0.2 * rate))) / rate  # by then it has rung out
    modes = rng.uniform(600, 0.45 * rate, (n, MODES, 1))
    modes[:, :3] = RESONANCE * (1 + 0.06 * rng.standard_normal((n, 3, 1)))
    decay = rng.uniform(0.004, 0.02, (n, MODES, 1))  # seconds to 1 / e: plastic is damped strongly
    strength = rng.lognormal(0, 0.6, (n, MODES, 1))
    ringing = (strength * np.exp(-time / decay) * np.sin(2 * np.pi * modes * time)).sum(1)
    click = rng.lognormal(2, 0.5, (n, 1)) * rng.standard_normal((n, len(time))) * np.exp(-time / 0.002)
    single = np.fft.rfft(ringing + click, 2 * samples)
    train = np.zeros((n, samples))
    for strike in range(3):
        there = rng.random(n) < (1.0, 0.6, 0.4)[strike]
        at = rng.integers(0, max(1, int(0.8 * samples)), n)
        train[np.arange(n), at] += there * rng.uniform(0.4, 1.0, n)
    return np.fft.irfft(single * np.fft.rfft(train, 2 * samples), 2 * samples)[:, :samples]


def _direction(rng: np.random.Generator, angle: Array, frequency: Array) -> Array:
    """Return the effect of the angle on a sound: (n, frequencies)."""
    part = (1 - np.cos(np.deg2rad(angle))) / 2  # 0 at 0 degrees, 1 at 180
    delay = DELAY[0] + (DELAY[1] - DELAY[0]) * part
    edge = SHADOW[0] * (SHADOW[1] / SHADOW[0]) ** part
    reflected = rng.uniform(0.55, 0.9, angle.shape) * np.exp(-2j * np.pi * frequency * delay)
    response: Array = (1 + reflected) / np.sqrt(1 + (frequency / edge) ** 2)
    return response


def _tilt(rng: np.random.Generator, n: int, frequency: Array) -> Array:
    """Return the brightness of a strike, by up to 3 decibels an octave either way: (n, frequencies)."""
    octaves = np.log2(np.maximum(frequency, 50) / 1000)
    tilt: Array = 10 ** (rng.uniform(-3, 3, (n, 1)) * octaves / 20)
    return tilt


def _tail(rng: np.random.Generator, n: int, rate: int, samples: int) -> Array:
    """Return a room that answers from everywhere, and so says nothing of the angle: (n, samples)."""
    fade = rng.uniform(0.05, 0.4, (n, 1)) / 6.9  # seconds to -60 decibels, to 1 / e
    tail: Array = rng.standard_normal((n, samples)) * np.exp(-np.arange(samples) / rate / fade)
    return tail


def _pink(samples: int, rate: int) -> Array:
    amplitude: Array = np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / rate), 50.0))
    return amplitude


def _rms(waves: Array) -> Array:
    rms: Array = np.sqrt((waves**2).mean(1, keepdims=True))
    return rms
