"""Tracker that keeps what optuna-dashboard shows of a study up to date while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.machine.start import start_helper
from hpo.reports.dashboard_process import Changes, Order
from hpo.text import redact
from hpo.trackers.base import Progress, Tracker
from hpo.translation.catalogue import current
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    import optuna

# Seconds between two updates, the largest share of the time that they may take, how long one may take, and how long the
# end of the run waits for what one is just writing.
PERIOD, LARGEST_SHARE, LONGEST, CLOSE_TIMEOUT = 600.0, 0.01, 600.0, 30.0


class DashboardTracker(Tracker):
    """Brings the note and the figures up to date during a run.

    It does so seldom. A process of its own draws, and ends (see `hpo.reports.dashboard_process`); a thread waits for
    it, so that no trial does, and writes through the driver's own storage: the study keeps its one writer. A failure is
    reported once, and the update is tried again after the next pause.

    Args:
        url: Of the study's storage, with the password.
        say: Shows a message to the user.
        clock: Returns seconds, counted from any moment.
    """

    def __init__(
        self,
        study: optuna.Study,
        directory: Path,
        url: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._order = Order(os.getpid(), str(directory.parent), study.study_name, url, current())
        self._say, self._clock = say, clock
        self._next = clock() + PERIOD
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._failure = ""
        self._reported = False

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Start an update if none is running and one is due."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._report_failure()
        if self._clock() >= self._next:
            # Whatever happens to it, it must not keep the driver from ending.
            self._thread = threading.Thread(target=self._update, name="hpo-dashboard", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End a running update, so that it writes nothing older after what follows."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)
        self._report_failure()

    def _update(self) -> None:
        began = self._clock()
        try:
            self._write(self._draw())
        except Exception as error:  # from the process or the storage; no trial may fail for it
            self._failure = "" if self._closed else redact(str(error)) or type(error).__name__
        finally:
            self._study._storage.remove_session()  # this thread's own, of a database
            ended = self._clock()
            self._next = ended + max(PERIOD, (ended - began) / LARGEST_SHARE)

    def _draw(self) -> Changes:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with start_helper("hpo.reports.dashboard_process", **pipes) as process:
            self._process = process
            try:
                if self._closed:
                    raise InterruptedError
                out, err = process.communicate(self._order.encoded(), LONGEST)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"what draws it took more than {LONGEST:g} s") from None
            finally:
                process.kill()
        if process.returncode:
            said = err.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise RuntimeError(said[-1])
        changes: Changes = json.loads(out)
        return changes

    def _write(self, changes: Changes) -> None:
        storage, study = self._study._storage, self._study._study_id
        now = storage.get_study_system_attrs(study)
        if any(now.get(name) != found for name, (found, _) in changes.items()):
            return  # somebody has edited the note since it was read; the next update keeps what they wrote
        for name, (_, value) in changes.items():
            if self._closed:
                return
            storage.set_study_system_attr(study, name, value)

    def _report_failure(self) -> None:
        """Report a failed update, in the driver's own thread."""
        if self._failure and not self._reported:
            self._reported = True
            self._say(f"what optuna-dashboard shows could not be brought up to date: {self._failure}; trials go on")
