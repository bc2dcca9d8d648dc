"""Trials one after the other in the driver's own process: for debuggers, tests and replay of faults.

It knows no timeouts, and a crash of the objective is a crash of the driver.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from hpo.machine.memory import host_memory
from hpo.oracle.oracle import Oracle
from hpo.trial import INTERRUPTED, Outcome, Stop, Usage
from hpo.worker import torch_runtime
from hpo.worker.execute import Share, execute

# Seconds between two questions whether a paused study goes on.
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _Host:
    """The driver, as the code that executes a job sees it."""

    oracle: Oracle

    def report(self, number: int, step: int, metrics: dict[str, float]) -> Stop | None:
        return self.oracle.report(number, step, metrics, Usage(torch_runtime.gpu_memory(), host_memory()))

    def command_started(self, number: int, group: int) -> None:
        """The command dies with this process; nobody else needs to know."""


class InlineEngine:
    """Engine without processes of its own.

    Args:
        share: the CPU threads and the part of a GPU that a trial gets.
    """

    def __init__(self, share: Share | None = None) -> None:
        self._share = share or Share()
        self._executing = False

    def run(self, oracle: Oracle) -> None:
        """Run one trial after the other until no more jobs come."""
        host = _Host(oracle)
        while True:
            job = oracle.ask()
            if job is None:
                if oracle.no_more_jobs:
                    return
                time.sleep(_POLL_SECONDS)
                continue
            try:
                self._executing = True
                outcome = execute(job, host, self._share)
            except KeyboardInterrupt:
                outcome = Outcome(job.number, "FAIL", cause=INTERRUPTED, reason="the study was stopped at once")
            finally:
                self._executing = False
            oracle.tell(outcome)

    def halt(self) -> None:
        """Interrupt the objective now."""
        # Only while the user's code runs: the Oracle's own writes are never cut in two.
        if self._executing:
            raise KeyboardInterrupt
