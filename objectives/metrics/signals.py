"""Metrics of a signal, or of a peak in it, against the true one.

Signals are (records, samples), finite; each metric is the mean over records. A ValueError refuses other or empty
input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from objectives.metrics.checks import binary, finite, same_shape

# 1e-4 of the largest magnitude, 80 dB below it: less is the rounding of a spectrum, not a part of a signal.
SPECTRAL_FLOOR = 1e-4


def peak_errors(exists: ArrayLike, true: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute error over the peaks that exist, in the unit of `true`.

    Args:
        exists: (n,) of 0 and 1.
        true: (n,); where no peak exists it may be anything, NaN included.
        predicted: (n,), likewise.

    Raises:
        ValueError: No peak exists.
    """
    there = binary("exists", exists).astype(bool)
    values = {"true": np.asarray(true, dtype=np.float64), "predicted": np.asarray(predicted, dtype=np.float64)}
    same_shape(exists=there, **values)
    if not there.any():
        raise ValueError("no peak exists, so there is no error to measure; expected one at least")
    return float(np.abs(finite("true", values["true"][there]) - finite("predicted", values["predicted"][there])).mean())


def signal_correlation(true: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over records of Pearson's correlation; a record that is constant in either counts 0."""
    a, b = _signals(true=true, predicted=predicted)
    same_shape(true=a, predicted=b)
    # By its range: the mean of equal numbers is not always that number, and the rest would correlate.
    flat = (np.ptp(a, axis=1) == 0) | (np.ptp(b, axis=1) == 0)
    a, b = _unit(a[~flat]), _unit(b[~flat])
    return float((a * b).sum() / len(flat))


def dtw_distance(a: ArrayLike, b: ArrayLike, window: int | None = None) -> float:
    """Return the distance by dynamic time warping, in the unit of the signals times samples.

    It is the smallest sum of |a_i - b_j| along a path from (0, 0) to (n - 1, m - 1) that goes on by one sample in a, in
    b or in both, each step weighing 1. The sum is not divided by the length of the path.

    Source: Sakoe & Chiba, "Dynamic programming algorithm optimization for spoken word recognition", 1978, without slope
    constraint, unweighted.

    Args:
        a: (records, n).
        b: (records, m).
        window: The most samples that i and j may be apart (the band of that paper); None: any.

    Raises:
        ValueError: Besides, the window is negative or less than |n - m|: no path would fit in.
    """
    first, second = _signals(a=a, b=b)
    (records, n), (others, m) = first.shape, second.shape
    if records != others:
        raise ValueError(f"a has {records} records, b {others}; expected as many")
    if window is not None and window < abs(n - m):
        raise ValueError(f"window is {window}; expected at least {abs(n - m)}, for signals of {n} and {m} samples")
    width = max(n, m) if window is None else window

    # Along the diagonals i + j = k, whose cells depend on the two diagonals before alone: all records and all cells of
    # one at once. Row i + 1 of a diagonal is cell (i, k - i); what lies outside stays infinite.
    x, y = np.ascontiguousarray(first.T), np.ascontiguousarray(second.T[::-1])
    before, last, current = np.full((3, n + 1, records), np.inf)
    before[0] = 0  # "(-1, -1)", from where the path starts
    for k in range(n + m - 1):
        start = max(0, k - m + 1, (k - width + 1) // 2)
        end = min(k, n - 1, (k + width) // 2) + 1
        cost = np.abs(x[start:end] - y[m - 1 - k + start : m - 1 - k + end])
        reached = np.minimum(last[start + 1 : end + 1], last[start:end])
        np.minimum(reached, before[start:end], out=reached)
        current.fill(np.inf)
        np.add(cost, reached, out=current[start + 1 : end + 1])
        before, last, current = last, current, before
    return float(last[n].mean())


def spectral_distance(a: ArrayLike, b: ArrayLike, rate: float, band: tuple[float, float] = (100.0, 3000.0)) -> float:
    """Return the log-spectral distance in dB, 0 to 80.

    It is the root mean square, over the frequencies in `band`, of the difference of both magnitude spectra in decibels.
    The spectra are those of the whole records (rFFT, no window, frequencies rate / samples apart). A magnitude counts
    as at least 1e-4 of the largest one of both records in the band, so that nothing is compared with nothing.

    Source: Gray & Markel, "Distance measures for speech processing", 1976, with the band and the floor added: a
        denoised
    signal has next to nothing outside, and logarithms of next to nothing would be most of the distance.

    Args:
        a: (records, samples).
        b: The same shape.
        rate: Samples a second.
        band: Lowest and highest frequency in Hz, both included; by default the usual band of brainstem responses.

    Raises:
        ValueError: Besides, no frequency of the spectrum is in the band.
    """
    first, second = _signals(a=a, b=b)
    same_shape(a=first, b=second)
    if not 0 < rate < np.inf:
        raise ValueError(f"rate is {rate}; expected more than 0 samples a second")
    samples = first.shape[1]
    frequencies = np.arange(samples // 2 + 1) * rate / samples  # rfftfreq would round the edges of the band
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    if not inside.any():
        raise ValueError(
            f"band is {band[0]:g} to {band[1]:g} Hz, but {samples} samples at {rate:g} Hz have frequencies "
            f"{rate / samples:g} Hz apart up to {rate / 2:g} Hz; expected one of them in the band"
        )
    magnitudes = np.abs(np.fft.rfft(np.stack([first, second])))[..., inside]
    floor = SPECTRAL_FLOOR * magnitudes.max(axis=(0, 2))[:, None]
    floor[floor == 0] = 1.0  # both silent: both at the floor
    levels = 20 * np.log10(np.maximum(magnitudes, floor))
    return float(np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=1)).mean())


def _signals(**signals: ArrayLike) -> list[NDArray[np.float64]]:
    return [finite(name, values, ndim=2) for name, values in signals.items()]


def _unit(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each record less its mean, over its length."""
    centred: NDArray[np.float64] = signals - signals.mean(axis=1, keepdims=True)
    lengths: NDArray[np.float64] = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / lengths
