"""Weights of the components of a loss, with spikes, rounding and weights that change."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reading import epochs

from hpo.analysis.training.diagnosis import Diagnosis, diagnose
from hpo.analysis.training.log_files import read_log
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.weights import is_weighting, recovered
from hpo.curves import predicates
from hpo.reports.sections.training import losses_section
from hpo.reports.sections.verdict_text import recommendation

Array = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "data" / "logs"


def log_of(parts: dict[str, Array], loss: Array, per_epoch: int, **params: object) -> TrainingLog:
    """A training with the means of its steps by epoch, as Lightning's log has them."""
    steps = {"loss": loss, **parts}
    n = len(loss) // per_epoch
    means = {f"train_{name}": [float(v) for v in np.nanmean(values.reshape(n, per_epoch), axis=1)]
             for name, values in steps.items()}  # fmt: skip
    index = np.repeat(np.arange(n), per_epoch)
    val = [80 - 2 * (1 - math.exp(-k)) for k in range(n)]
    return TrainingLog("x", epochs(0, **means, val_loss=val), params, steps={**steps, "epoch": index})


def falling(n: int, start: float, end: float, seed: int, noise: float = 0.1) -> Array:
    values = end + (start - end) * np.exp(-np.arange(n) / (0.2 * n))
    return np.asarray(values * (1 + noise * np.random.default_rng(seed).standard_normal(n)))


def advised(found: Diagnosis) -> dict[str, str]:
    return {one.code: recommendation(one) for one in found.advice}


def amplitude(spike: float, n: int = 300) -> TrainingLog:
    """Three components of weight 1, of which one begins at `spike`, and is near 0 after a few steps."""
    parts = {
        "thresh_loss": falling(n, 110, 68, 1, 0.05),
        "signal_loss": falling(n, 3.7, 3.6, 2),
        "amp_loss": 0.008 * (1 + 0.3 * np.random.default_rng(3).standard_normal(n)) + spike * 0.6 ** np.arange(n),
    }
    return log_of(parts, np.sum(list(parts.values()), axis=0), 30)


def test_one_spike_changes_neither_what_dominates_nor_the_weight_that_balances() -> None:
    found = [diagnose(amplitude(spike)) for spike in (0.0, 500_000.0, 1e9)]
    assert [one.dominant and one.dominant.name for one in found] == ["thresh_loss"] * 3
    balanced = [{one.code: one.numbers for one in each.advice}["reweigh"]["balanced"] for each in found]
    # thresh_loss is about 72 on median, the others 3.6 and 0.008: (3.6 + 0.008) / 2 / 72 = 0.025.
    assert balanced == pytest.approx([0.025] * 3, rel=0.1)
    assert [one.spike is not None for one in found] == [False, True, True]


def test_the_spike_of_one_step_is_said() -> None:
    n = 240
    parts = {
        "signal_loss": falling(n, 4, 3.6, 1),
        "class_loss": falling(n, 1.1, 0.39, 2),
        "peak_loss": falling(n, 1.1, 0.65, 3),
        "thresh_loss": falling(n, 120, 68, 4),
        "peak_amp": 0.005 + np.where(np.arange(n) == 0, 537_000.0, 0.0),
    }
    found = diagnose(log_of(parts, np.sum(list(parts.values()), axis=0), 30))
    assert found.dominant is not None
    assert found.dominant.name == "thresh_loss"
    said = advised(found)
    weight = next(one.numbers["balanced"] for one in found.advice if one.code == "reweigh")
    assert isinstance(weight, float)
    assert 0.01 <= weight <= 0.05
    assert "as much as signal_loss" in said["reweigh"]
    assert said["spike_of"].startswith("train_loss has a spike, made by peak_amp: 537119 in step 1 of epoch 0, ")
    assert "(steps that stand out there: 1)" in said["spike_of"]
    assert found.judgement.verdict == "healthy"


def test_eight_epochs_have_their_facts_and_no_reduction_of_100_percent() -> None:
    found = diagnose(read_log(DATA / "eight_epochs.csv").log)
    assert found.reduction == pytest.approx(99.98543, abs=1e-5)
    assert found.convergence is not None
    assert (found.epochs, found.convergence.epochs) == (8, 2)
    assert found.judgement.verdict == "healthy"
    assert "8 epochs are few" in advised(found)["few"]


def test_seven_epochs_have_facts_without_a_verdict() -> None:
    log = read_log(DATA / "eight_epochs.csv").log
    found = diagnose(TrainingLog("x", log.history[:7]))
    assert found.judgement.verdict == "none"
    assert found.reduction is not None
    assert found.convergence is not None
    assert found.convergence.epochs == 2
    assert [one.name for one in found.components] == [
        "loss", "signal_loss", "class_loss", "peak_loss", "thresh_loss"
    ]  # fmt: skip
    assert found.dominant is not None
    assert found.dominant.name == "thresh_loss"


# --- generated trainings


def generated(seed: int, parts: int) -> tuple[Array, Array, Array]:
    """Columns, total and weights: scales and weights over eight decades, each part at least 1 % of the largest."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 400))
    weights = 10 ** rng.uniform(-4, 4, parts)
    added = 10 ** rng.uniform(-2, 0, parts)
    fall = 0.3 + np.exp(-np.arange(n)[:, None] / n / rng.uniform(0.05, 1, parts))
    columns = added / weights * fall * np.exp(0.3 * rng.standard_normal((n, parts)))
    return columns, columns @ weights, weights


def written(values: Array, digits: str) -> Array:
    """Values as a log has them."""
    if digits == "float32":
        return np.asarray(values.astype(np.float32).astype(float))
    return np.array([float(f"{value:.{digits}g}") for value in values.ravel()]).reshape(values.shape)


def balancing(columns: Array, weights: Array) -> float | None:
    """The weight that is suggested for the component that dominates at the end."""
    levels = np.median(columns[-20:], axis=0)
    found = predicates.dominant({str(k): float(w * v) for k, (w, v) in enumerate(zip(weights, levels, strict=True))})
    return None if found is None else float(weights[int(found.name)] * found.factor)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    parts=st.integers(2, 6),
    digits=st.sampled_from(["4", "5", "6", "17", "float32"]),
    share=st.floats(0, 0.05),
    size=st.floats(2, 9),
    where=st.sampled_from(["a component", "a component and the total", "the total"]),
)
def test_spikes_in_up_to_a_twentieth_of_the_steps_change_no_suggestion(
    seed: int, parts: int, digits: str, share: float, size: float, where: str
) -> None:
    columns, total, weights = generated(seed, parts)
    rng = np.random.default_rng(seed + 1)
    at = rng.choice(len(total), int(share * len(total)), replace=False)
    part = int(rng.integers(parts))
    if where == "the total":
        total[at] *= 10**size
    else:
        columns[at, part] *= 10**size
        total = columns @ weights if where == "a component and the total" else total
    total[rng.random(len(total)) < 0.02] = np.nan
    kept = np.isfinite(total)
    found = recovered(written(columns[kept], digits), written(total[kept], digits))
    assert found is not None
    assert found == pytest.approx(weights, rel=0.1)
    calm = np.delete(columns, at, axis=0)
    right = balancing(calm, weights)
    assert right is None or balancing(calm, found) == pytest.approx(right, rel=0.2)


def test_a_component_that_is_nearly_always_0_keeps_its_weight() -> None:
    rng = np.random.default_rng(0)
    columns = rng.uniform(1, 2, (300, 3)) * [100.0, 1.0, 5.0]
    columns[:, 2] *= rng.random(300) < 0.05
    assert recovered(columns, columns @ [0.5, 2.0, 3.0]) == pytest.approx([0.5, 2.0, 3.0])
    columns[:, 2] = 0.0
    found = recovered(columns, columns @ [0.5, 2.0, 3.0])
    assert found is not None
    assert found == pytest.approx([0.5, 2.0, math.nan], nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_no_weights_are_found_in_what_does_not_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert recovered(rng.uniform(1, 2, (100, 3)), rng.uniform(1, 2, 100)) is None


# --- weights that are learned


def learning(offset: bool) -> TrainingLog:
    """Components whose log-variances go from 0 to 1 and to -1, in 8 epochs of 60 steps."""
    n = 480
    time = np.arange(n) / n
    parts = {"a": falling(n, 300, 200, 1), "b": falling(n, 4, 3, 2)}
    logs = {"a": time, "b": -time}
    loss = sum(np.exp(-logs[name]) * parts[name] + (logs[name] / 2 if offset else 0) for name in parts)
    return log_of(parts, np.asarray(loss), 60)


@pytest.mark.parametrize("offset", [True, False])
def test_weights_that_change_are_learned_and_nobody_is_told_to_set_them(offset: bool) -> None:
    found = diagnose(learning(offset))
    assert found.weights == "learned"
    assert {one.name: one.weight for one in found.components[1:]} == {
        "a": pytest.approx(math.exp(-1), rel=0.05),
        "b": pytest.approx(math.exp(1), rel=0.05),
    }
    assert found.dominant is not None
    assert not any("weigh" in code for code in advised(found))
    section = losses_section(found)
    assert section is not None
    assert "The weights changed during the training" in str(section.blocks)


def test_learned_weights_are_known_by_their_record_or_by_the_parameter_that_names_them() -> None:
    plain = amplitude(0.0)
    named = diagnose(TrainingLog("x", plain.history, {"weighting": "uncertainty"}, steps=plain.steps))
    assert named.weights == "learned"
    recorded = {**plain.steps, "log_var_thresh_loss": np.linspace(0, 1, 300)}
    logged = diagnose(TrainingLog("x", plain.history, steps=recorded))
    assert logged.weights == "learned"
    assert [one.name for one in logged.components] == ["loss", "thresh_loss", "signal_loss", "amp_loss"]
    history = epochs(
        0, train_loss=[9, 8], train_a_loss=[90, 80], train_b_loss=[1, 1],
        train_weight_a_loss=[0.1, 0.09], train_weight_b_loss=[0.1, 0.1],
    )  # fmt: skip
    changing = diagnose(TrainingLog("x", history))
    assert (changing.weights, changing.components[1].weight) == ("learned", 0.09)
    assert not any("weigh" in code for code in advised(changing))


def test_learned_weights_that_nobody_recorded_give_no_shares() -> None:
    history = epochs(0, train_loss=[9, 8], train_a_loss=[90, 80], train_b_loss=[1, 1])
    found = diagnose(TrainingLog("x", history, {"weighting": "uncertainty"}))
    assert (found.weights, found.dominant) == ("learned", None)
    assert [one.share for one in found.components] == [None, None, None]


def test_names_of_weights_are_no_losses() -> None:
    assert all(
        map(is_weighting, ("log_var_a", "weight_signal", "loss_weight_a", "sigma_b", "log_var_a_loss", "a_log_sigma"))
    )
    assert not any(map(is_weighting, ("signal", "weighted_loss", "sigmoid", "weight_decay_loss", "sigma_loss", "a")))
