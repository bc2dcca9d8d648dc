"""Finished trials as another tool has recorded them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.storage.history import LARGEST_TIME
from hpo.text import count, listing

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"


@dataclass(frozen=True)
class Row:
    """Metrics of one step. `time`: seconds since the epoch; None where it is not known."""

    step: int
    metrics: Mapping[str, float]
    time: float | None = None


@dataclass(frozen=True)
class SourceTrial:
    """One finished trial of a source.

    Attributes:
        key: What tells it from every other trial, of this source and of others.
        name: What it is called in messages: `trial 3`, `run k2j9xq1a`, `line 12`.
        state: COMPLETE, PRUNED or FAIL.
        params: Its parameters, by the source's names.
        metrics: Its final metrics, by the source's names.
        rows: Its reported steps, ascending.
        reason: Why it ended, as far as the source says it.
        cause: The same in a word of hpo's, of a trial that hpo once ran.
        started: Seconds since the epoch; None where it is not known.
        finished: The same.
        seed: Its seed, of a trial that hpo once ran.
    """

    key: tuple[str, ...]
    name: str
    state: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    reason: str = ""
    cause: str = ""
    started: float | None = None
    finished: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Source:
    """Trials of one study, experiment or file.

    Attributes:
        kind: optuna, mlflow, csv or wandb-csv.
        place: The file or URL, without a password.
        name: What the study, experiment or file is called.
        trials: The finished trials, in the order in which they were tried.
        metrics: Names of the final metrics that were optimized, where the source says it.
        directions: `maximize` or `minimize` of each of them, where the source says it.
        distributions: Optuna's distributions by the source's names of parameters, where it has them.
        typed: Whether values are numbers, texts and booleans; otherwise each is a text.
        notes: Sentences on what was left out while it was read.
        study_yaml: The study.yaml of the study, of trials that hpo exported.
        study_key: The key of that study.
    """

    kind: str
    place: str
    name: str
    trials: tuple[SourceTrial, ...]
    metrics: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    typed: bool = True
    notes: tuple[str, ...] = ()
    study_yaml: str = ""
    study_key: str = ""

    @property
    def param_names(self) -> tuple[str, ...]:
        """Every parameter of any trial, in the order in which they appear."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.params))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Every final or reported metric of any trial, in the order in which they appear."""
        found: dict[str, None] = dict.fromkeys(self.metrics)
        for trial in self.trials:
            found |= dict.fromkeys(trial.metrics)
            for row in trial.rows:
                found |= dict.fromkeys(row.metrics)
        return tuple(found)


class Examples:
    """Cases that were met in a source: a number and a few examples for each kind."""

    def __init__(self) -> None:
        self._met: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        """Take in one case."""
        self._met.setdefault(kind, []).append(example)

    def sentences(self, noun: str, most: int = 3) -> tuple[str, ...]:
        """Return `3 trials still ran (trial 4, trial 7, ...)` for each kind.

        Args:
            noun: What is counted, in the singular.
            most: Number of examples that are named.
        """
        return tuple(f"{count(len(met), noun)} {kind} ({listing(met, most)})" for kind, met in self._met.items())


def plain_name(name: str) -> str:
    """Return a name as a parameter of hpo may be called: letters, digits, `_` and `-`, no digit first."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "parameter"
    return plain if re.match(r"[A-Za-z_]", plain) else f"p_{plain}"


def plain_study_name(name: str) -> str:
    """Return a name as a study of hpo may be called: letters, digits, `.`, `_` and `-`, a letter or digit first."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.") or "imported"


def moment(seconds: float | None) -> float | None:
    """Return a time in seconds since the epoch; None if it is none that a calendar has."""
    return seconds if seconds is not None and math.isfinite(seconds) and 0 < seconds < LARGEST_TIME else None


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are finite numbers."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def rows_of(points: Iterable[tuple[int, str, float, float | None]]) -> tuple[Row, ...]:
    """Return (step, metric, value, time) points as rows, ascending; of a value that is there twice the last counts."""
    metrics: dict[int, dict[str, float]] = {}
    times: dict[int, float | None] = {}
    for step, name, value, time in points:
        metrics.setdefault(step, {})[name] = value
        known = times.get(step)
        times[step] = time if known is None else max(known, time or known)
    return tuple(Row(step, metrics[step], times[step]) for step in sorted(metrics))
