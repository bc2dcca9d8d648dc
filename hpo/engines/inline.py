"""Trials one after the other in the driver's own process: for debuggers, tests and replay of faults.

It knows no timeouts, and a crash of the objective is a crash of the driver.
"""

from __future__ import annotations

import sys
import time
from copy import deepcopy
from dataclasses import dataclass, replace

from hpo.machine.memory import host_memory
from hpo.oracle.oracle import Oracle
from hpo.trial import INTERRUPTED, Job, Outcome, Stop, Usage
from hpo.worker import current_trial, torch_runtime
from hpo.worker.execute import Share, execute
from hpo.worker.process_state import ProcessState

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
        self._halted = False

    def run(self, oracle: Oracle) -> None:
        """Run one trial after the other until no more jobs come."""
        host, state = _Host(oracle), ProcessState(with_children=False)
        state.save()
        try:
            while True:
                job = oracle.ask()
                if job is not None:
                    oracle.tell(self._execute(job, host, state))
                elif oracle.no_more_jobs:
                    return
                else:
                    time.sleep(_POLL_SECONDS)
        finally:
            state.close()
            current_trial.set_current(None)

    def _execute(self, job: Job, host: _Host, state: ProcessState) -> Outcome:
        interrupted = Outcome(job.number, "FAIL", cause=INTERRUPTED, reason="the study was stopped at once")
        # A worker gets copies, which it may change; this process needs the originals.
        own = replace(job, params=deepcopy(dict(job.params)), constants=deepcopy(dict(job.constants)))
        arguments = list(sys.argv)
        try:
            self._executing = True
            outcome = execute(own, host, state, self._share)
        except KeyboardInterrupt:
            return interrupted
        finally:
            self._executing = False
            state.restore()
            sys.argv = arguments
        return interrupted if self._halted else outcome

    def halt(self) -> None:
        """Interrupt the objective now."""
        # Only while the user's code runs: the Oracle's own writes are never cut in two.
        self._halted = True
        if self._executing:
            raise KeyboardInterrupt
