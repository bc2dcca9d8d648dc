"""Find the weight of each component in a loss: given, learned during the training, or recovered from its steps.

Weights are recovered by relative least squares on the steps that agree with each other: candidates are solved from a
few steps each, the one that explains most steps is fitted again to those (random sample consensus, Fischler and Bolles
1981). Residuals are relative to the total of their step. So a step of any size counts as one step, and a spike that the
components do not explain counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.training.series import Points, finite
from hpo.analysis.training.training_log import Arrays, TrainingLog

Array = NDArray[np.float64]

TOLERANCE = 1e-3  # of its total, up to which a step is explained: four logged digits are within it
EXPLAINED = 0.9  # the least share of the steps that must be explained
NOT_INSIDE = 1e-5  # what adds less than this share to the loss, where it adds most, is no component
CHANGED = 0.02  # by this share a weight must differ to have changed
_SIGNIFICANT = 4.0  # standard errors
_FEWEST = 3  # steps a weight
_DRAWS = 400
_REFINED = 10
_MOST = 3000  # steps that are fitted
_WINDOW = 5  # steps for each coefficient, in which a changing weight is a straight line
_FORMS = ("weight_{}", "{}_weight", "loss_weight_{}", "lambda_{}")
_WEIGHTING = re.compile(
    r"^(loss_)?weight_(?!decay|loss$)|_weight$|^(lambda|sigma)_(?!loss$)|_sigma$"
    r"|(^|_)log_?(variance|var|sigma)(?!_loss$)"
)
_LEARNED = re.compile(r"uncertain|learn|homoscedastic|grad_?norm|dynamic|^dwa$", re.IGNORECASE)


@dataclass(frozen=True)
class Weights:
    """Weights of the components of a loss.

    Attributes:
        values: Component -> weight, at the end of the training. What is no component of the loss has none.
        source: `given`, `recovered`, `learned` (they changed during the training), or empty: not known.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    source: str = ""


def is_weighting(name: str) -> bool:
    """Return True for the name of a weight or of a log-variance that is learned, which is no loss."""
    return _WEIGHTING.search(name) is not None


def weights_of(log: TrainingLog, series: Mapping[str, Points], parts: Sequence[str], loss: str) -> Weights:
    """Return the weights of the components `parts` in `loss`."""
    if len(parts) < 2:
        return Weights()
    for value in log.params.values():
        if isinstance(value, Mapping) and set(value) == set(parts):
            return Weights({name: float(value[name]) for name in parts}, "given")
    for form in _FORMS:
        names = [form.format(name) for name in parts]
        given = [log.params.get(name) for name in names]
        if all(isinstance(value, (int, float)) for value in given):
            return Weights({name: float(v) for name, v in zip(parts, given, strict=True) if v is not None}, "given")
        reported = [finite(series.get(f"train_{name}", ())) for name in names]
        if all(reported):
            values = {name: points[-1][1] for name, points in zip(parts, reported, strict=True)}
            changed = any(_changed(points[0][1], points[-1][1]) for points in reported)
            return Weights(values, "learned" if changed or _says_learned(log, series) else "given")
    found = _of_steps(log.steps, loss, parts)
    return Weights(found.values, "learned") if _says_learned(log, series) else found


def _changed(first: float, last: float) -> bool:
    return abs(last - first) > CHANGED * max(abs(first), abs(last))


def _says_learned(log: TrainingLog, series: Mapping[str, Points]) -> bool:
    """Return True if a parameter names a learned weighting, or log-variances were recorded."""
    named = any("weight" in key and isinstance(v, str) and _LEARNED.search(v) for key, v in log.params.items())
    recorded = [*log.steps, *(name.removeprefix("train_") for name in series)]
    return named or any(is_weighting(name) and re.search(r"log_?(var|sig)|sigma", name) for name in recorded)


# --- from the steps


def _of_steps(steps: Arrays, loss: str, parts: Sequence[str]) -> Weights:
    if loss not in steps or any(name not in steps or steps[name].shape != steps[loss].shape for name in parts):
        return Weights()
    columns = np.stack([steps[name].astype(float) for name in parts], axis=-1)
    total = steps[loss].astype(float)
    epochs = steps.get("epoch", np.zeros(len(total)))
    if total.ndim != 1 or epochs.shape != total.shape:
        return Weights()
    kept = np.isfinite(total) & np.isfinite(columns).all(axis=1)
    columns, total, epochs = columns[kept], total[kept], epochs[kept]
    found = recovered(columns, total)
    if found is not None:
        return Weights(_named(parts, found), "recovered")
    # Weights that change: those of the first epoch beside those of the last.
    ends = [_at_end(columns[epochs == epoch], total[epochs == epoch]) for epoch in _ends(epochs)]
    if len(ends) < 2 or ends[0] is None or ends[1] is None:
        return Weights()
    before, after = _named(parts, ends[0]), _named(parts, ends[1])
    changed = any(_changed(before.get(name, 0.0), weight) for name, weight in after.items())
    return Weights(after, "learned" if changed else "recovered")


def _named(parts: Sequence[str], found: Array) -> dict[str, float]:
    return {name: float(weight) for name, weight in zip(parts, found, strict=True) if np.isfinite(weight)}


def _ends(epochs: NDArray[Any]) -> list[Any]:
    """Return the first and the last epoch."""
    return [epochs.min(), epochs.max()] if len(epochs) and epochs.min() < epochs.max() else []


def _at_end(columns: Array, total: Array) -> Array | None:
    """Return the weights at the end of an epoch: constant in it, or a straight line beside an offset."""
    found = recovered(columns, total)
    if found is not None:
        return found
    parts = columns.shape[1]
    window = _WINDOW * (2 * parts + 2)
    columns, total = columns[-window:], total[-window:]
    time = np.linspace(-1, 0, len(total))[:, None]
    lines = recovered(np.hstack([columns, columns * time, np.ones_like(time), time]), total)
    return None if lines is None else lines[:parts]


def recovered(columns: Array, total: Array) -> Array | None:
    """Return the weights with which the columns add up to the total, or None if none do in 90 % of the rows.

    Args:
        columns: (rows, parts), finite.
        total: (rows,), finite.

    Returns:
        (parts,); NaN for a column that adds nothing that can be told from rounding.
    """
    if len(total) > _MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(total), _MOST, replace=False))
        columns, total = columns[chosen], total[chosen]
    weights = np.full(columns.shape[1], np.nan)
    usual = np.median(np.abs(total)) if len(total) else 0.0
    if not usual > 0:
        return None
    with np.errstate(all="ignore"):
        sizes = np.maximum(np.abs(total), usual / 10)
        columns, total = columns / sizes[:, None], total / sizes
    if not np.isfinite(columns).all():
        return None
    inside = np.flatnonzero(np.abs(columns).max(axis=0) > 0)
    while len(inside) and len(total) >= _FEWEST * len(inside):
        fit = _consensus(columns[:, inside], total)
        if fit is None:
            return None
        if fit.significance.min() >= _SIGNIFICANT and fit.most.min() > NOT_INSIDE:
            weights[inside] = fit.weights
            return weights
        # The least of them is left out, and the others are fitted again.
        inside = np.delete(inside, np.argmin(np.where(fit.most <= NOT_INSIDE, 0, fit.significance)))
    return None


@dataclass(frozen=True)
class _Fit:
    """A fit to the rows that it explains: weights, each in its standard errors, and the most that each adds."""

    weights: Array
    significance: Array
    most: Array


def _consensus(columns: Array, total: Array) -> _Fit | None:
    """Return the weights that explain most rows; None if they explain too few, or the rows do not determine them."""
    candidates = _candidates(columns, total)
    with np.errstate(all="ignore"):
        explained = np.abs(columns @ candidates.T - total[:, None]) <= 3 * TOLERANCE
        order = np.argsort(-explained.sum(axis=0), kind="stable")[:_REFINED]
        refined = [_refined(columns, total, candidates[k]) for k in order]
    best = max((one for one in refined if one is not None), key=lambda one: int(one[1].sum()), default=None)
    if best is None or best[1].mean() < EXPLAINED:
        return None
    weights, kept = best
    rows = columns[kept]
    scales = np.abs(rows).max(axis=0)
    rest = rows @ weights - total[kept]
    spread = np.sqrt(rest @ rest / max(1, len(rest) - len(weights)))
    inverse = np.linalg.pinv(rows / scales)
    errors = np.maximum(spread, 1e-15) * np.sqrt((inverse**2).sum(axis=1))
    return _Fit(weights, np.abs(weights * scales) / errors, np.abs(weights) * scales)


def _candidates(columns: Array, total: Array) -> Array:
    """Return weights, a row each, that explain as many random rows as there are parts, exactly.

    Half of the rows are among those in which one part is large, as a part may be near 0 in most of the steps.
    """
    n, parts = columns.shape
    rng = np.random.default_rng(0)
    large = np.argsort(-np.abs(columns), axis=0)[: max(1, n // 10)]
    from_large = large[rng.integers(len(large), size=(_DRAWS, parts)), np.arange(parts)]
    rows = np.where(rng.random((_DRAWS, parts)) < 0.5, from_large, rng.integers(n, size=(_DRAWS, parts)))
    drawn = columns[rows]
    scales = np.abs(drawn).max(axis=1, keepdims=True)
    scales[scales == 0] = 1.0
    solved = (np.linalg.pinv(drawn / scales, rcond=1e-10) @ total[rows][..., None])[..., 0] / scales[:, 0]
    return np.asarray(solved)


def _refined(columns: Array, total: Array, weights: Array) -> tuple[Array, NDArray[np.bool_]] | None:
    """Return weights fitted to the rows they explain, and these rows; None if the rows do not determine them."""
    for times in (3, 2, 1, 1, 1):
        kept = np.abs(columns @ weights - total) <= times * TOLERANCE
        rows = columns[kept]
        scales = np.abs(rows).max(axis=0, initial=0.0)
        if len(rows) < len(weights) or not (scales > 0).all():
            return None
        found, _, rank, _ = np.linalg.lstsq(rows / scales, total[kept], rcond=1e-9)
        if rank < len(weights):
            return None
        weights = found / scales
    kept = np.abs(columns @ weights - total) <= TOLERANCE
    return weights, kept
