"""Made-up sounds: the same for the same arguments, and nothing but the angle's own cues tells the angle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from objectives.audio_angle.files import CLASSES, Clips
from objectives.audio_angle.generator import DELAY, generate
from objectives.metrics.ranking import pair_accuracy


@pytest.fixture(scope="module")
def clips() -> Clips:
    return generate(360, seed=1)


def test_the_same_bytes_for_the_same_arguments() -> None:
    clips, again, other = generate(70, seed=1), generate(70, seed=1), generate(70, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(clips.waves, again.waves, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(clips.waves, other.waves, strict=True))


def test_as_many_of_each_angle(clips: Clips) -> None:
    assert np.bincount(clips.ranks.astype(int)).tolist() == [60] * 6
    assert clips.levels == CLASSES
    assert clips.names[7] == "plastic_deg036_3000hz_0002.wav"
    assert np.bincount(generate(10, 0, 8000, 0.1).ranks.astype(int)).tolist() == [2, 2, 2, 2, 1, 1]


def test_they_are_sounds(clips: Clips) -> None:
    assert clips.rate == 16000
    for wave in clips.waves:
        assert wave.dtype == np.float32
        assert wave.shape == (8000,)
        assert 0.099 < np.abs(wave).max() < 0.901
    assert {wave.shape for wave in generate(6, 0, 44100, 0.25).waves} == {(11025,)}


def test_level_and_brightness_do_not_tell_the_angle(clips: Clips) -> None:
    waves = np.stack(clips.waves)
    power = np.abs(np.fft.rfft(waves)) ** 2
    frequency = np.fft.rfftfreq(8000, 1 / 16000)
    level, brightness = (waves**2).mean(1), (power * frequency).sum(1) / power.sum(1)
    assert abs(kendalltau(clips.ranks, level).statistic) < 0.1
    assert 0.3 < pair_accuracy(clips.ranks, brightness) < 0.7


def test_the_second_path_comes_later_the_larger_the_angle(clips: Clips) -> None:
    """The mean cepstrum of a class has its peak at the delay of the echo (Bogert, Healy, Tukey, 1963)."""
    waves = np.stack(clips.waves)
    cepstra = np.fft.irfft(np.log(np.abs(np.fft.rfft(waves)) ** 2 + 1e-12))
    delays = []
    for rank in range(6):
        mean = cepstra[clips.ranks == rank].mean(0)[: round(1.2 * DELAY[1] * 16000)]
        spread = (1 - np.cos(np.deg2rad(36 * rank))) / 2
        expected = (DELAY[0] + (DELAY[1] - DELAY[0]) * spread) * 16000
        near = np.abs(np.arange(len(mean)) - expected) <= 2
        assert mean[near].max() > np.median(mean[2:]) + 0.02, rank
        delays.append(expected)
    assert delays == sorted(delays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0), r"clips is 5; expected a whole number of at least 6"),
        (("600", 0), r"clips is '600'; expected a whole number"),
        ((6, -1), r"seed is -1; expected a whole number of at least 0"),
        ((6, 0, 4000), r"sample_rate is 4000; expected a whole number of at least 8000"),
        ((6, 0, 8000, 0.01), r"seconds is 0\.01; expected at least 0\.1"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)
