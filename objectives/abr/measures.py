"""Metrics of the network's outputs for a split, and the one score made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from objectives.abr.records import CLASSES, SAMPLING_RATE
from objectives.metrics.classes import balanced_accuracy, macro_f1
from objectives.metrics.screening import auc
from objectives.metrics.signals import dtw_distance, peak_errors, signal_correlation, spectral_distance

WINDOW = 20  # samples (1 ms) that warping may move a sample
# Errors at which a part of the score is one half.
HALF_LATENCY, HALF_THRESHOLD = 0.2, 10.0  # ms, dB


def measure(
    outputs: Mapping[str, Tensor], unit: float, score_weights: Mapping[str, float], metric_records: int | None
) -> dict[str, float]:
    """Return the metrics of one split.

    They are: macro_f1, balanced_accuracy, accuracy, recall_<class> of the classes that are there; peak_accuracy and
    peak_auc of wave V's existence (0.5 where all records have one); latency_mae (ms) and amplitude_mae (uV) over
    existing peaks; threshold_mae (dB). With signals: signal_correlation over records in which there is something to
    find; dtw and spectral_distance; and `score`.

    Args:
        outputs: Those of ABRNet but for `signal`, and of the same records `true_label`, `true_exists`, `true_latency`,
            `true_amplitude` (uV), `true_threshold`, all (n, ...) on the CPU; `signal` and `true_signal`, (n, 1, 200),
            if signals are to be compared.
        unit: A microvolt in the unit of `amplitude`.
        score_weights: The weights of `score`.
        metric_records: The most records, evenly taken, for dtw and spectral_distance; None: without these two.

    Raises:
        ValueError: No record has a wave V, or metric_records is not at least 1.
    """
    if metric_records is not None and metric_records < 1:
        raise ValueError(f"metric_records is {metric_records!r}; expected a whole number of at least 1")
    values = {name: tensor.numpy() for name, tensor in outputs.items()}
    label, predicted = values["true_label"], values["class"].argmax(axis=1)
    exists = values["true_exists"]
    found = {
        "macro_f1": macro_f1(label, predicted, len(CLASSES)),
        "balanced_accuracy": balanced_accuracy(label, predicted, len(CLASSES)),
        "accuracy": float((label == predicted).mean()),
        "latency_mae": peak_errors(exists, values["true_latency"], values["latency"]),
        "amplitude_mae": peak_errors(exists, values["true_amplitude"], values["amplitude"] / unit),
        "peak_accuracy": float(((values["exists"] > 0) == exists).mean()),
        "peak_auc": auc(exists, values["exists"]) if not exists.all() else 0.5,
        "threshold_mae": float(np.abs(values["threshold"] - values["true_threshold"]).mean()),
    }
    for code in np.unique(label):
        found[f"recall_{CLASSES[code].lower()}"] = float((predicted[label == code] == code).mean())
    if "signal" not in values:
        return found
    true, denoised = values["true_signal"][:, 0], values["signal"][:, 0]
    some = np.ptp(true, axis=1) > 0
    found["signal_correlation"] = signal_correlation(true[some], denoised[some])
    if metric_records is None:
        return found | {"score": score(found, score_weights)}
    chosen = np.unique(np.linspace(0, len(true) - 1, min(metric_records, len(true))).round().astype(int))
    found["dtw"] = dtw_distance(true[chosen], denoised[chosen], WINDOW)
    found["spectral_distance"] = spectral_distance(true[chosen], denoised[chosen], SAMPLING_RATE)
    return found | {"score": score(found, score_weights)}


def score(found: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the weighted mean of four parts from 0 (worse: signal may be negative) to 1.

    They are signal, the correlation; class, macro-F1; peak, 1 / (1 + latency error / 0.2 ms); threshold, 1 / (1 +
    threshold error / 10 dB).

    Raises:
        ValueError: A weight is below 0, or none is above.
    """
    if not (min(weights.values()) >= 0 and sum(weights.values()) > 0):
        raise ValueError(f"score_weights are {dict(weights)}; expected numbers from 0, at least one of them above 0")
    parts = {
        "signal": found["signal_correlation"],
        "class": found["macro_f1"],
        "peak": 1 / (1 + found["latency_mae"] / HALF_LATENCY),
        "threshold": 1 / (1 + found["threshold_mae"] / HALF_THRESHOLD),
    }
    return sum(weights[name] * part for name, part in parts.items()) / sum(weights.values())
