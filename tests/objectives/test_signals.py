"""Distances of signals: by hand, by plain dynamic programming, and against SciPy and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import periodogram
from scipy.stats import pearsonr

from objectives.metrics.signals import dtw_distance, peak_errors, signal_correlation, spectral_distance

NAN = float("nan")
TIME = np.arange(200) / 20_000  # 10 ms


def tone(frequency: float, amplitude: float = 1.0) -> NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * frequency * TIME)[None]


def warped(a: list[float], b: list[float], window: int | None = None) -> float:
    """The recurrence of dynamic time warping, cell by cell."""
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            if window is None or abs(i - j) <= window:
                cost[i, j] = abs(a[i - 1] - b[j - 1]) + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
    return float(cost[-1, -1])


def test_peaks_by_hand() -> None:
    # Of three peaks that exist: 0.5, 0, 0.25 off.
    assert peak_errors([1, 0, 1, 1], [5.6, NAN, 6.0, 7.0], [6.1, 99.0, 6.0, 6.75]) == pytest.approx(0.75 / 3)
    assert peak_errors(np.array([True, False]), np.array([2.0, NAN]), np.array([1.0, NAN])) == 1


def test_peaks_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(ValueError, match="no peak exists, so there is no error to measure; expected one at least"):
        peak_errors([0, 0], [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="exists is empty"):
        peak_errors([], [], [])
    with pytest.raises(ValueError, match="predicted has nan in 1 of 2 places; expected finite numbers"):
        peak_errors([1, 1], [1.0, 2.0], [NAN, 2.0])
    with pytest.raises(ValueError, match="true has nan in 1 of 2 places"):
        peak_errors([1, 1], [NAN, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"exists has shape \(2,\), predicted \(3,\); expected the same"):
        peak_errors([1, 1], [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"exists holds 0\.5; expected 0 or 1"):
        peak_errors([0.5, 1], [1.0, 2.0], [1.0, 2.0])


def test_correlation_by_hand() -> None:
    true = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 4, 4]]
    predicted = [[10, 20, 30], [3, 2, 1], [1, 3, 2], [1, 2, 3]]
    # 1, -1, 1/2 (products 0 + 0 + 1 over 2), and a constant record 0.
    assert signal_correlation(true, predicted) == pytest.approx((1 - 1 + 0.5 + 0) / 4)


def test_correlation_as_scipy() -> None:
    true, predicted = np.random.default_rng(0).normal(size=(2, 20, 200)) + 5
    each = [pearsonr(a, b).statistic for a, b in zip(true, predicted, strict=True)]
    assert signal_correlation(true, predicted) == pytest.approx(np.mean(each))
    assert signal_correlation(true, 3 * predicted - 8) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9])
def test_a_constant_record_correlates_with_nothing(value: float) -> None:
    """The mean of equal numbers may miss them by a rounding, and roundings correlate perfectly."""
    noise = np.random.default_rng(0).normal(size=(2, 200))
    assert signal_correlation(np.full((2, 200), value), noise) == 0
    assert signal_correlation(np.full((2, 200), value), np.full((2, 200), value)) == 0


def test_warping_by_hand() -> None:
    # 1 3 against 1 2 3: the 2 costs 1 wherever it is matched.
    assert dtw_distance([[1, 3]], [[1, 2, 3]]) == 1
    # A plateau costs nothing, however long.
    assert dtw_distance([[0, 1, 0]], [[0, 0, 1, 1, 1, 0]]) == 0
    # Each sample of a against the one of b: 1 + 2 + 3. No step may be left out.
    assert dtw_distance([[1, 2, 3]], [[0]]) == 6
    # The mean over records.
    assert dtw_distance([[0, 0], [1, 1]], [[0, 0], [3, 3]]) == (0 + 4) / 2
    # A band of 0 is the sum of differences sample by sample; of 1 it lets the shift be followed, but for its end.
    assert dtw_distance([[0, 1, 2, 3]], [[1, 2, 3, 4]], window=0) == 4
    assert dtw_distance([[0, 1, 2, 3]], [[1, 2, 3, 4]], window=1) == 2


def test_a_delay_costs_little() -> None:
    wave = np.exp(-(((np.arange(200) - 80) / 12) ** 2))
    late = np.roll(wave, 15)
    assert np.abs(wave - late).sum() > 10
    assert dtw_distance(wave[None], late[None]) < 0.01
    assert dtw_distance(wave[None], late[None], window=5) > 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_warping_as_the_plain_recurrence(seed: int, n: int, m: int, records: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(records, n)), rng.normal(size=(records, m))
    if tied:
        a, b = np.round(a), np.round(b)
    for window in (None, abs(n - m), abs(n - m) + 1, abs(n - m) + 4):
        each = [warped(x, y, window) for x, y in zip(a, b, strict=True)]
        assert dtw_distance(a, b, window) == pytest.approx(np.mean(each), abs=1e-12)
    assert dtw_distance(a, b) == pytest.approx(dtw_distance(b, a))
    assert dtw_distance(a, a) == 0


def test_warping_whole_records_as_the_plain_recurrence() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 2, 200))
    for window in (None, 0, 10):
        each = [warped(x, y, window) for x, y in zip(a, b, strict=True)]
        assert dtw_distance(a, b, window) == pytest.approx(np.mean(each))
    assert dtw_distance(a, b, 0) == pytest.approx(np.abs(a - b).sum(axis=1).mean())


def test_a_window_no_path_fits_in_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 2; expected at least 3, for signals of 4 and 7 samples"):
        dtw_distance(np.zeros((1, 4)), np.zeros((1, 7)), window=2)
    with pytest.raises(ValueError, match="window is -1; expected at least 0"):
        dtw_distance(np.zeros((1, 4)), np.zeros((1, 4)), window=-1)
    with pytest.raises(ValueError, match="a has 1 records, b 2; expected as many"):
        dtw_distance(np.zeros((1, 4)), np.zeros((2, 4)))


def test_spectra_by_hand() -> None:
    # 200 samples at 20 kHz: 30 frequencies from 100 to 3000 Hz. A tone is one of them, the others are at the floor.
    assert spectral_distance(tone(1000), tone(1000), 20_000) == 0
    double = 20 * math.log10(2)
    assert spectral_distance(tone(1000), tone(1000, 2), 20_000) == pytest.approx(double / math.sqrt(30))
    # Another tone: 80 dB above the floor in one spectrum and in the other, at two frequencies of 30.
    assert spectral_distance(tone(1000), tone(2000), 20_000) == pytest.approx(80 * math.sqrt(2 / 30))
    # Against silence: at one.
    assert spectral_distance(tone(1000), tone(1000, 0), 20_000) == pytest.approx(80 * math.sqrt(1 / 30))
    assert spectral_distance(tone(1000, 0), tone(1000, 0), 20_000) == 0
    # The mean over records.
    both = np.concatenate([tone(1000), tone(1000)]), np.concatenate([tone(1000), tone(1000, 2)])
    assert spectral_distance(*both, 20_000) == pytest.approx(double / math.sqrt(30) / 2)


def test_what_is_outside_the_band_is_not_heard() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 200))
    assert spectral_distance(noise, noise + 5 + tone(5000, 9), 20_000) == pytest.approx(0, abs=1e-9)
    assert spectral_distance(noise, noise + tone(3000, 9), 20_000) > 1, "its edges are part of the band"
    assert spectral_distance(noise, noise + tone(100, 9), 20_000) > 1
    assert spectral_distance(noise, noise + tone(5000, 9), 20_000, (4900, 5100)) > 1


def test_a_factor_is_its_decibels_and_a_delay_is_nothing() -> None:
    noise = np.random.default_rng(0).normal(size=(5, 200))
    assert spectral_distance(noise, 10 * noise, 20_000) == pytest.approx(20)
    assert spectral_distance(noise, -noise, 20_000) == pytest.approx(0)
    assert spectral_distance(noise, np.roll(noise, 30, axis=1), 20_000) == pytest.approx(0, abs=1e-9)


def test_spectra_as_scipy() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 10, 200))
    frequencies, power_a = periodogram(a, 20_000, detrend=False)
    _, power_b = periodogram(b, 20_000, detrend=False)
    inside = (frequencies > 50) & (frequencies < 3050)
    decibels = 10 * np.log10(power_a[:, inside] / power_b[:, inside])
    assert spectral_distance(a, b, 20_000) == pytest.approx(np.sqrt((decibels**2).mean(axis=1)).mean())
    assert spectral_distance(a, b, 20_000) == pytest.approx(spectral_distance(b, a, 20_000))


def test_spectra_that_cannot_be_compared_are_refused() -> None:
    noise = np.ones((2, 20))
    with pytest.raises(ValueError, match="rate is 0; expected more than 0 samples a second"):
        spectral_distance(noise, noise, 0)
    with pytest.raises(
        ValueError,
        match=r"band is 100 to 900 Hz, but 20 samples at 20000 Hz have frequencies 1000 Hz apart up to 10000 Hz",
    ):
        spectral_distance(noise, noise, 20_000, (100, 900))
    with pytest.raises(ValueError, match=r"a has shape \(2, 20\), b \(1, 20\); expected the same"):
        spectral_distance(noise, noise[:1], 20_000)


@pytest.mark.parametrize(
    "metric", [signal_correlation, dtw_distance, lambda a, b: spectral_distance(a, b, 20_000)], ids=["r", "dtw", "dB"]
)
def test_signals_that_are_none_are_refused(metric: object) -> None:
    good = np.random.default_rng(0).normal(size=(2, 200))
    for wrong, message in (
        (np.zeros((0, 200)), "is empty; there is nothing to measure"),
        (np.zeros(200), r"has shape \(200,\); expected \(records, samples\)"),
        (np.full((2, 200), NAN), "has nan in 400 of 400 places; expected finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            metric(wrong, good)
        with pytest.raises(ValueError, match=message):
            metric(good, wrong)
