"""Problems of the search benchmark: recorded trainings that a search can try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.engines.replay import Recording
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Checkpoints, Metric, StudySpec
from hpo.storage.history import Step
from hpo.trial import OBJECTIVE, Outcome

# As long as this number of full trainings takes on average, on this number of workers.
FULL_TRAININGS, WORKERS = 20, 8
LOSS = Metric(name="loss", direction="minimize")


@dataclass(frozen=True)
class Problem:
    """Recorded trainings of one task.

    Attributes:
        family: name of the family; results are reported by family.
        name: name of the task.
        space: the search space.
        configurations: of each recording its parameters, by Optuna's names.
        curves: the metric after each epoch, lower is better, of shape (configurations, repeats, epochs). NaN from the
            epoch on in which a training diverged.
        seconds: of an epoch, of shape (configurations,).
        again: a configuration can be tried again, with another of its repeats; otherwise each can be tried once.
        full_trainings: the budget, in trainings of average length.
    """

    family: str
    name: str
    space: SearchSpace
    configurations: tuple[Mapping[str, Any], ...]
    curves: NDArray[np.float64]
    seconds: NDArray[np.float64]
    again: bool = False
    full_trainings: float = FULL_TRAININGS

    @property
    def budget(self) -> float:
        """Seconds of wall time with `WORKERS` workers."""
        return self.full_trainings * self.curves.shape[2] * float(self.seconds.mean()) / WORKERS

    @cached_property
    def scale(self) -> tuple[float, float, float]:
        """The best value, the median configuration's and the worst one's; of one that diverges none."""
        curves = self.means
        best = curves[np.isfinite(curves).all(axis=1)].min(axis=1)
        low = np.nanmin(np.where(np.isfinite(curves), curves, np.nan))
        return float(low), float(np.median(best)), float(best.max())

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """The values by which a search is judged, of shape (configurations, epochs).

        They are means over the repeats, so that a search earns nothing by luck.
        """
        return self.curves.mean(axis=1)

    def regret(self, value: float) -> float:
        """Return how far a value is from the best, in percent of what separates the median configuration from it."""
        low, middle, _ = self.scale
        return 100 * (value - low) / (middle - low)

    def recordings(self) -> tuple[Recording, ...]:
        """Return the first repeat of each configuration, for the replay through the Oracle."""
        return tuple(
            recording(params, self.curves[index, 0], float(self.seconds[index]))
            for index, params in enumerate(self.configurations)
        )


def spec_of(space: SearchSpace, seed: int) -> StudySpec:
    """Return a study of a space, with all defaults."""
    return StudySpec(
        name="replay",
        objective="recorded:train",
        root=Path(),
        metrics=(LOSS,),
        space=space,
        budget=Budget(failures=10**9),
        mlflow=None,
        checkpoints=Checkpoints(keep_best=None),
        seed=seed,
        source=Path(),
    )


def recording(params: Mapping[str, Any], curve: NDArray[np.float64], seconds: float) -> Recording:
    """Return a training as the replay takes it. One that diverges ends at its first NaN."""
    finite = curve[: np.argmin(np.isfinite(curve))] if not np.isfinite(curve).all() else curve
    shown = [*finite.tolist(), float("nan")][: len(curve)]
    steps = tuple(Step(k, k * seconds, 1, {"loss": value}) for k, value in enumerate(shown, start=1))
    took = len(shown) * seconds
    if len(finite) == len(curve):
        return Recording(params, steps, Outcome(0, "COMPLETE", {"loss": float(finite.min())}, seconds=took))
    # For form's sake: the default red flag ends it at its NaN.
    return Recording(params, steps, Outcome(0, "PRUNED", cause=OBJECTIVE, reason="it diverged", seconds=took))
