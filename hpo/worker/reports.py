"""Reports of the trial that a process runs: one at a time, from this process alone, and only while the trial runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from hpo.errors import ReportRefused
from hpo.trial import Stop

# Is called with the trial's number, a step and its metrics.
Deliver = Callable[[int, int, dict[str, float]], Stop | None]


class _Thread(threading.local):
    """State of a thread: whether it reports."""

    reporting = False


class Reports:
    """Reports of one trial.

    Attributes:
        stopped: the trial was told to stop.

    Args:
        number: the trial's.
        deliver: passes a report on, and returns the answer.
    """

    def __init__(self, number: int, deliver: Deliver) -> None:
        self.stopped = False
        self._number = number
        self._deliver = deliver
        self._process = os.getpid()
        self._ended = False
        # The objective's threads may report at the same time, and one of them while the trial ends.
        self._lock = threading.Lock()
        # Set before the lock is asked for: a signal handler that then reports would wait for its own thread.
        self._thread = _Thread()
        self._waiting: list[tuple[int, dict[str, float]]] = []

    def send(self, step: int, metrics: dict[str, float]) -> Stop | None:
        """Pass a report on. Return the Stop if it is to be the last.

        Raises:
            ReportRefused: the trial has ended, or this is a process that the trial's process has forked.
        """
        # First, for a forked process may have got the lock in the hands of a thread that it does not have.
        if os.getpid() != self._process:
            raise ReportRefused(
                f"trial {self._number} runs in process {self._process}, and this is process {os.getpid()}, which it "
                "has forked; expected reports from the process that the trial was started in"
            )
        if self._thread.reporting:
            # From a signal handler, in the middle of a report: it is passed on after that.
            self._waiting.append((step, metrics))
            return None
        self._thread.reporting = True
        try:
            with self._lock:
                if self._ended:
                    raise ReportRefused(
                        f"trial {self._number} has ended, and step {step} is reported; expected reports before the "
                        "objective returns, from the trial that it was called with"
                    )
                stop = self._deliver(self._number, step, metrics)
                while self._waiting:
                    stop = self._deliver(self._number, *self._waiting.pop(0)) or stop
                self.stopped |= stop is not None
        finally:
            self._thread.reporting = False
        return stop

    def end(self) -> None:
        """Refuse all reports from now on, after the one that is on its way."""
        self._thread.reporting = True
        with self._lock:
            self._ended = True
        self._thread.reporting = False
