"""The note and the figures that optuna-dashboard shows of a study beside Optuna's own plots.

The figures are a heatmap for each group and the importance of the parameters. They are stored as plotly figures under
fixed ids in the study's storage, in pieces of 2045 characters with one write each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.text import redact
from hpo.trackers.base import Progress, Tracker
from hpo.translation.catalogue import current, language
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from hpo.analysis.records import StudyRecord
    from hpo.spec.models import StudySpec

# Each heatmap has the number of its group, from 1 in the order declared, so that it keeps its id.
HEATMAP, IMPORTANCE = "hpo-heatmap", "hpo-importance"
MOST_GROUPS = 8
# Updates during a run: seconds between two of them, the largest share of the time that they may take, and how long
# the end of the run waits for one.
PERIOD, LARGEST_SHARE, CLOSE_TIMEOUT = 600.0, 0.01, 30.0


def dashboard_figures(record: StudyRecord) -> dict[str, go.Figure]:
    """Return the figures of the study's first metric by their ids, without those there is nothing to show of yet."""
    from hpo.analysis.heatmaps import heatmaps
    from hpo.analysis.importance import importance
    from hpo.reports.figures.dashboard import heatmap_graph, importance_graph

    metric = record.metrics[0]
    found: dict[str, go.Figure] = {}
    shares = importance(record, metric)
    data = heatmaps(record, metric, tuple(name for name, _ in shares.shares))
    if data is not None:
        for place, own in enumerate(data.maps[:MOST_GROUPS], start=1):
            if own.best is not None:
                found[f"{HEATMAP}-{place}"] = heatmap_graph(data, own)
    if shares.shares:
        found[IMPORTANCE] = importance_graph(shares)
    return found


def save_figures(study: optuna.Study, record: StudyRecord) -> None:
    """Write the figures into the study's storage.

    Raises:
        Exception: What the storage raises.
    """
    from optuna_dashboard import save_plotly_graph_object

    for name, figure in dashboard_figures(record).items():
        save_plotly_graph_object(study, figure, graph_object_id=name)


class DashboardTracker(Tracker):
    """Brings the note and the figures up to date during a run.

    It does so seldom and in a thread, so that no trial waits. The thread writes through the driver's own storage: the
    study keeps its one writer. A failure is reported once, and the update is tried again after the next pause.

    Args:
        say: Shows a message to the user.
        clock: Returns seconds, counted from any moment.
    """

    def __init__(
        self,
        study: optuna.Study,
        spec: StudySpec,
        directory: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._spec, self._directory = study, spec, directory
        self._say, self._clock = say, clock
        self._language = current()
        self._next = clock() + PERIOD
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._reported = False

    def study_extended(self, spec: StudySpec, progress: Progress) -> None:
        """Use the extended study from now on."""
        self._spec = spec

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
        """Wait for a running update, so that it writes nothing older after what follows."""
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)
        self._report_failure()

    def _update(self) -> None:
        from hpo.analysis.records import records_of
        from hpo.reports.dashboard_note import save_note

        began = self._clock()
        try:
            with language(self._language):
                record = records_of(self._study, self._spec, self._directory, histories=False)
                save_note(self._study, record)
                save_figures(self._study, record)
        except Exception as error:  # from the storage or a figure; no trial may fail for it
            self._failure = redact(str(error)) or type(error).__name__
        finally:
            self._study._storage.remove_session()  # this thread's own, of a database
            ended = self._clock()
            self._next = ended + max(PERIOD, (ended - began) / LARGEST_SHARE)

    def _report_failure(self) -> None:
        """Report a failed update, in the driver's own thread."""
        if self._failure and not self._reported:
            self._reported = True
            self._say(f"what optuna-dashboard shows could not be brought up to date: {self._failure}; trials go on")
