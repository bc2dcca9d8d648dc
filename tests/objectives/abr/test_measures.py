"""The metrics of a split by hand, and the score."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from objectives.abr.measures import measure, score

WEIGHTS = {"signal": 0.1, "class": 0.4, "peak": 0.1, "threshold": 0.4}


def outputs(signals: bool = True) -> dict[str, Tensor]:
    """Four records: NORMAL, NORMAL, SNIK, TOTAL, of which the second is taken for SNIK; the last has no peak."""
    found = {
        "class": torch.eye(5)[[0, 2, 2, 3]],
        "true_label": torch.tensor([0, 0, 2, 3]),
        "exists": torch.tensor([2.0, -1.0, 3.0, -2.0]),
        "true_exists": torch.tensor([True, True, True, False]),
        "latency": torch.tensor([5.6, 6.0, 7.0, 9.0]),
        "true_latency": torch.tensor([5.5, 6.2, 7.0, 0.0]),
        "amplitude": torch.tensor([400.0, 200.0, 100.0, 5000.0]),
        "true_amplitude": torch.tensor([0.5, 0.2, 0.1, 0.0]),
        "threshold": torch.tensor([12.0, 20.0, 50.0, 90.0]),
        "true_threshold": torch.tensor([10.0, 10.0, 54.0, 100.0]),
    }
    if signals:
        wave = torch.sin(torch.arange(200) * 0.1).repeat(4, 1, 1)
        wave[3] = 0
        found |= {"true_signal": wave, "signal": wave * torch.tensor([1.0, 2.0, -1.0, 1.0]).view(4, 1, 1)}
    return found


def test_by_hand() -> None:
    measured = measure(outputs(), 1000.0, WEIGHTS, 4)
    expected = {
        # F1 of NORMAL 2/3, of SNIK 2/3, of TOTAL 1; the other two are neither there nor predicted.
        "macro_f1": (2 / 3 + 2 / 3 + 1) / 3,
        "balanced_accuracy": (0.5 + 1 + 1) / 3,
        "accuracy": 0.75,
        "peak_accuracy": 0.75,
        "peak_auc": 1.0,
        "latency_mae": 0.1,  # (0.1 + 0.2 + 0) / 3
        "amplitude_mae": 0.1 / 3,
        "threshold_mae": (2 + 10 + 4 + 10) / 4,
        "recall_normal": 0.5,
        "recall_snik": 1.0,
        "recall_total": 1.0,
        "signal_correlation": (1 + 1 - 1) / 3,  # of the three records in which there is something
    }
    assert {name: measured[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert sorted(set(measured) - set(expected)) == ["dtw", "score", "spectral_distance"]
    parts = [1 / 3, 7 / 9, 1 / (1 + 0.1 / 0.2), 1 / (1 + 6.5 / 10)]
    assert measured["score"] == pytest.approx(0.1 * parts[0] + 0.4 * parts[1] + 0.1 * parts[2] + 0.4 * parts[3])


def test_without_signals_there_is_no_score_of_them() -> None:
    assert sorted(set(measure(outputs(), 1.0, WEIGHTS, 4)) - set(measure(outputs(False), 1.0, WEIGHTS, 4))) == [
        "dtw", "score", "signal_correlation", "spectral_distance",
    ]  # fmt: skip


def test_only_some_records_are_warped() -> None:
    """Of four records two are the first and the last: the one is right, the other too."""
    assert measure(outputs(), 1.0, WEIGHTS, 2)["dtw"] == 0.0
    assert measure(outputs(), 1.0, WEIGHTS, 4)["dtw"] > 1.0
    with pytest.raises(ValueError, match="metric_records is 0; expected a whole number of at least 1"):
        measure(outputs(), 1.0, WEIGHTS, 0)


def test_a_split_in_which_all_have_a_peak_and_one_in_which_none_has() -> None:
    with_peaks = outputs() | {"true_exists": torch.ones(4, dtype=torch.bool)}
    assert measure(with_peaks, 1.0, WEIGHTS, 4)["peak_auc"] == 0.5
    with pytest.raises(ValueError, match="no peak exists"):
        measure(outputs() | {"true_exists": torch.zeros(4, dtype=torch.bool)}, 1.0, WEIGHTS, 4)


def test_the_score_is_a_weighted_mean() -> None:
    best = {"signal_correlation": 1.0, "macro_f1": 1.0, "latency_mae": 0.0, "threshold_mae": 0.0}
    assert score(best, {"signal": 2.0, "class": 3.0, "peak": 0.0, "threshold": 1.0}) == pytest.approx(1.0)
    assert score(best | {"threshold_mae": 10.0}, dict.fromkeys(WEIGHTS, 1.0)) == pytest.approx(0.875)
    for weights in (dict.fromkeys(WEIGHTS, 0.0), WEIGHTS | {"peak": -0.1}):
        with pytest.raises(ValueError, match=r"score_weights are \{.*\}; expected numbers from 0, at least one"):
            score(best, weights)
