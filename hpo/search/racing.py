"""Sampler of a race, whose trials the Oracle enqueues: it only checks the options and draws nothing of its own."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import RandomSampler

from hpo.spec.racing import SEEDS


class RacingSampler(RandomSampler):
    """Checks of the options of `sampler: {name: racing, ...}`.

    Args:
        seeds: seeds at most that choose the winner, and as many that estimate it.
        per_group: each value of `group_by` has a race of its own.
        resplit: the data are split anew with each seed.
        study: name of the study whose configurations are confirmed.
        key: its key.
        trials: the trial there of each configuration.
        seed: of what it draws.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        seeds: int = SEEDS,
        per_group: bool = False,
        resplit: bool = False,
        study: str = "",
        key: str = "",
        trials: Sequence[int] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed=seed)
        if seeds < 2:
            raise ValueError(f"seeds is {seeds}; expected at least 2, for one training has no scatter")
        if trials is not None and not (isinstance(trials, (list, tuple)) and all(type(one) is int for one in trials)):
            raise ValueError(f"trials is {trials!r}; expected a list of numbers, such as [0, 17, 41]")
