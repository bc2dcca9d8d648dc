"""What a recorded training is, and how one is run."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Params = Mapping[str, Any]
# The metric, and the second one if there is any, after each epoch.
Curve = Iterator[tuple[float, ...]]

STEP_SECONDS = 2e-4
OPERATIONS_PER_SECOND = 2e9


class Work(NamedTuple):
    """steps: updates of the model an epoch. operations: multiplications an epoch, forward and backward."""

    steps: float
    operations: float

    @property
    def seconds(self) -> float:
        return self.steps * STEP_SECONDS + self.operations / OPERATIONS_PER_SECOND


@dataclass(frozen=True)
class Training:
    """A module `trainings.NAME` holds one, named TRAINING.

    run: trains with a configuration and a seed; a training that ends early has diverged.
    configurations: how many are drawn, unless the space is finite.
    repeats: training seeds of each configuration; more than one makes every cell of a finite space be recorded.
    """

    data: str
    model: str
    space: dict[str, Any]
    epochs: int
    metric: str
    direction: str
    run: Callable[[Params, int], Curve]
    work: Callable[[Params], Work]
    second_metric: str = ""
    second_direction: str = ""
    configurations: int = 400
    repeats: int = 1

    def record(self, params: Params, seed: int) -> NDArray[np.float32]:
        """Return (1 or 2 metrics, epochs), NaN from the first epoch at which a metric is not finite."""
        curves = np.full((2 if self.second_metric else 1, self.epochs), np.nan, np.float32)
        with np.errstate(all="ignore"):
            for epoch, values in enumerate(itertools.islice(self.run(params, seed), self.epochs)):
                reported = np.array(values, np.float32)
                if not np.isfinite(reported).all():
                    break
                curves[:, epoch] = reported
        return curves


def training(name: str) -> Training:
    found = importlib.import_module(f"benchmarks.search.trainings.{name}").TRAINING
    assert isinstance(found, Training)
    return found
