"""Tell what gradient harmonizing (GHM) did in one training.

How the gradient norms were spread over its bins, what weights came of it, and what the reweighted loss was beside the
original one.

It reads arrays of epochs.npz beside `epoch`; any objective may write them (docs/report.md). All but the first are
optional:

    train_ghm_shares      (epochs, bins): percent of the samples (or their number) in each of equal bins of 0 to 1
    train_ghm_weights     (epochs, bins): mean weight of the samples of each bin
    train_ghm_histogram   (epochs, any number): the same norms in finer bins
    train_ghm_alpha, train_ghm_margin, train_ghm_momentum, train_ghm_mu   (epochs,): settings of the loss

and of the history the metrics `train_ghm_<statistic>` and, for train and val, accuracies and losses by the names below.

Source of the method: Li, Liu, Wang, "Gradient Harmonized Single-stage Detector", AAAI 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.training.curves import Curve, best_epoch, best_step, curve_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.translation.catalogue import mark

Array = NDArray[np.float64]

# With more than this in one bin nearly all samples have one weight, and reweighting changes next to nothing.
INERT_SHARE = 90.0
# Metrics without their `train_` or `val_`; the first that was reported counts.
ACCURACIES = ("pair_accuracy", "accuracy")
ORIGINALS = ("original", "bce")
REWEIGHTED = ("reweighted", "data_loss", "loss")
SETTINGS = ("alpha", "margin", "momentum", "mu")
STATISTICS = {
    "number": mark("number of samples"),
    "mean": mark("mean"),
    "median": mark("median"),
    "min": mark("smallest"),
    "max": mark("largest"),
    "std": mark("standard deviation"),
}


@dataclass(frozen=True)
class Change:
    """A metric over the training: first and last finite value, and that of the best epoch, None where it has none."""

    name: str
    first: float
    best: float | None
    last: float

    @property
    def difference(self) -> float:
        """Last value less first value."""
        return self.last - self.first

    @property
    def reduction(self) -> float | None:
        """Part of the first value that is gone, 1 at most; None unless the first value is positive."""
        return (self.first - self.last) / self.first if self.first > 0 else None


@dataclass(frozen=True)
class Spread:
    """Gradient norms of one epoch.

    Attributes:
        epoch: Number of the epoch.
        shares: Percent of the samples in each bin.
        weights: Mean weight in each bin; None where the bin is empty or none are recorded.
        statistics: By name, as far as reported.
    """

    epoch: int
    shares: tuple[float, ...]
    weights: tuple[float | None, ...]
    statistics: Mapping[str, float]

    @property
    def most(self) -> int:
        """Index of the fullest bin, the lowest of equals."""
        return int(np.argmax(self.shares))

    @property
    def least(self) -> int:
        """Index of the emptiest bin, the lowest of equals."""
        return int(np.argmin(self.shares))

    @property
    def evenness(self) -> float:
        """Population standard deviation of the shares (0: all alike; 30: all in one of ten)."""
        return float(np.std(self.shares))


@dataclass(frozen=True)
class GhmTraining:
    """A training with gradient harmonizing.

    Attributes:
        epochs: Those that the arrays have a row of.
        shares: (epochs, bins), percent.
        weights: (epochs, bins), NaN where a bin is empty; None if none are recorded.
        fine: (epochs, any number), percent in the finest bins known.
        settings: Of the loss, by name.
        accuracies: Curves of the accuracy.
        originals: Curves of the original loss.
        reweighted: Curves of the reweighted loss.
        statistics: Statistic -> epoch -> value.
        reweights: False if the recorded weights are all 1 although the bins differ.
        best: The epoch in which the training's metric was best; None if nobody knows.
    """

    epochs: tuple[int, ...]
    shares: Array
    weights: Array | None
    fine: Array
    settings: Mapping[str, float]
    accuracies: tuple[Curve, ...]
    originals: tuple[Curve, ...]
    reweighted: tuple[Curve, ...]
    statistics: Mapping[str, Mapping[int, float]]
    reweights: bool
    best: int | None

    @property
    def bins(self) -> int:
        """Number of bins."""
        return int(self.shares.shape[1])

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the first, the middle and the last recorded epoch."""
        n = len(self.epochs)
        return tuple(sorted({0, n // 2, n - 1}))

    def spread(self, index: int) -> Spread:
        """Return the gradient norms of the epoch `epochs[index]`."""
        epoch = self.epochs[index]
        weights = [None] * self.bins if self.weights is None else _known(self.weights[index])
        statistics = {name: values[epoch] for name, values in self.statistics.items() if epoch in values}
        return Spread(epoch, tuple(self.shares[index].tolist()), tuple(weights), statistics)

    @property
    def fullest(self) -> Array:
        """(epochs,): percent of the samples in the fullest bin."""
        return np.asarray(self.shares.max(axis=1))

    @property
    def inert(self) -> NDArray[np.bool_]:
        """(epochs,): True where one bin holds more than INERT_SHARE percent of the samples."""
        return self.fullest > INERT_SHARE

    @property
    def inert_from(self) -> int | None:
        """The epoch from which on it was inert until the end; None if it was not inert at the end."""
        working = np.flatnonzero(~self.inert)
        first = int(working[-1]) + 1 if len(working) else 0
        return self.epochs[first] if first < len(self.epochs) else None

    @property
    def changes(self) -> tuple[Change, ...]:
        """Changes of accuracies, original and reweighted losses, those of validation first."""
        curves = [*self.accuracies, *self.originals, *self.reweighted]
        curves.sort(key=lambda curve: not curve.name.startswith("val_"))
        found = ((curve.name, curve.finite) for curve in curves)
        return tuple(
            Change(name, points[0][1], dict(points).get(self.best) if self.best is not None else None, points[-1][1])
            for name, points in found
            if points
        )

    @property
    def ratios(self) -> tuple[Curve, ...]:
        """`train_ratio` and `val_ratio`: the reweighted loss as a multiple of the original one, where that is not 0."""
        originals = {_split(curve.name): curve for curve in self.originals}
        found = []
        for curve in self.reweighted:
            split = _split(curve.name)
            if split in originals:
                under = {step: value for step, value in originals[split].finite if value != 0}
                points = [(step, value / under[step]) for step, value in curve.finite if step in under]
                if points:
                    found.append(Curve(f"{split}_ratio", tuple(s for s, _ in points), tuple(v for _, v in points)))
        return tuple(found)


def ghm_of(log: TrainingLog) -> GhmTraining | None:
    """Return what gradient harmonizing did; None if the training recorded no shares that can be read.

    Such shares are not (epochs, bins), not finite, negative, or of an epoch without a sample.
    """
    epochs = tuple(int(epoch) for epoch in np.ravel(log.epochs.get("epoch", ())))
    shares = _matrix(log, "train_ghm_shares", len(epochs))
    if shares is None or not _counts(shares):
        return None
    shares = 100 * shares / shares.sum(axis=1, keepdims=True)
    weights = _matrix(log, "train_ghm_weights", len(epochs))
    if weights is not None:
        weights = np.where(shares > 0, weights, np.nan) if weights.shape == shares.shape else None
    recorded = {name: log.epochs.get(f"train_ghm_{name}") for name in SETTINGS}
    settings = {name: float(row[-1]) for name, row in recorded.items() if row is not None and row.ndim == 1}
    return GhmTraining(
        epochs,
        shares,
        weights,
        _finest(log, shares),
        settings,
        _curves(log, ACCURACIES),
        _curves(log, ORIGINALS),
        _curves(log, REWEIGHTED),
        {name: dict(log.series(f"train_ghm_{name}")) for name in STATISTICS},
        _reweights(shares, weights, settings),
        _best(log),
    )


def _matrix(log: TrainingLog, name: str, epochs: int) -> Array | None:
    found = log.epochs.get(name)
    if found is None or found.ndim != 2 or len(found) != epochs or found.shape[1] < 1 or not epochs:
        return None
    return np.asarray(found, dtype=np.float64)


def _counts(values: Array) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0).all() and (values.sum(axis=1) > 0).all())


def _finest(log: TrainingLog, shares: Array) -> Array:
    """Return a recorded histogram, or that of both classes together, if it is finer than the bins of the loss."""
    fine = _matrix(log, "train_ghm_histogram", len(shares))
    if fine is None:
        positive, negative = (_matrix(log, f"train_g_{kind}", len(shares)) for kind in ("positive", "negative"))
        if positive is not None and negative is not None and positive.shape == negative.shape:
            fine = positive + negative
    if fine is None or fine.shape[1] < shares.shape[1] or not _counts(fine):
        return shares
    return np.asarray(100 * fine / fine.sum(axis=1, keepdims=True))


def _curves(log: TrainingLog, names: Sequence[str]) -> tuple[Curve, ...]:
    """Return the curves of training and validation, under the first of `names` that either was reported under."""
    for name in names:
        curves = (curve_of(log, f"{split}_{name}") for split in ("train", "val"))
        if found := tuple(curve for curve in curves if curve.finite):
            return found
    return ()


def _reweights(shares: Array, weights: Array | None, settings: Mapping[str, float]) -> bool:
    if settings.get("alpha") == 0:
        return False
    if weights is None:
        return True
    alike = np.isnan(weights) | np.isclose(weights, 1.0, rtol=1e-6)
    # With all samples in one bin their weight is 1 whatever the loss is.
    return not (alike.all() and ((shares > 0).sum(axis=1) > 1).any())


def _best(log: TrainingLog) -> int | None:
    """Return the best epoch by the training's own metric; by the accuracy where it has none."""
    if (epoch := best_epoch(log)) is not None:
        return epoch
    points = [best_step(curve, "maximize") for curve in _curves(log, ACCURACIES)]
    return points[-1][0] if points and points[-1] is not None else None


def _split(name: str) -> str:
    return name.split("_", 1)[0]


def _known(row: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]
