"""What the tests of all tasks need of a trial."""

from __future__ import annotations

from hpo.trial import Stop

CLOCKS = ("epoch_seconds", "samples_per_second", "training_seconds")


class Reports(dict[int, dict[str, float]]):
    """What was reported by epoch; stops the trial at one."""

    stop_at = 0

    def __call__(self, step: int, metrics: dict[str, float]) -> Stop | None:
        self[step] = metrics
        return Stop("interrupted", interrupted=True) if step == self.stop_at else None

    def curves(self) -> dict[int, dict[str, float]]:
        """All but what a clock says."""
        return {step: without_clocks(metrics) for step, metrics in self.items()}


def without_clocks(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in CLOCKS}
