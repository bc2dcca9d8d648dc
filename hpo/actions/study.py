"""A study in Python: its trials and histories as pandas frames, its best trial, its report and its figures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpo import layout
from hpo.analysis.groups import best_per_group
from hpo.analysis.records import StudyRecord, TrialRecord, read_study
from hpo.analysis.trial_rows import row_columns, trial_row
from hpo.errors import HpoError, StudyNotFound
from hpo.spec.models import StudySpec
from hpo.text import label, listing, nearest, quote

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from hpo.reports.write import WrittenReport


class Study:
    """A study as it stood when it was loaded. Load it again to see what has been tried since.

    Attributes:
        name: the study's name.
        directory: its folder, `runs/<name>`.
        spec: study.yaml as it ran.
    """

    def __init__(self, record: StudyRecord, spec: StudySpec) -> None:
        self.name = record.name
        self.directory = record.directory
        self.spec = spec
        self._record = record

    def trials(self) -> pd.DataFrame:
        """Return one row per trial, indexed by the trial's number, lost and interrupted attempts included.

        Returns:
            A frame with the columns `state`, `cause`, `reason`, `red_flags` (names, joined by commas), `source`,
            `attempt`, `retry_of`, `requeued` (True: the attempt does not count), `seed`, `started` (seconds since the
            epoch), `seconds`, `gpu_seconds`, `steps`, `imported_from` (of a trial that was trained elsewhere), then
            `values_<metric>` (of COMPLETE trials only) and `params_<name>` (as the
            objective sees them; `params_<name>.<weight>` for weights that sum to 1).
        """
        import pandas as pd

        rows = [trial_row(trial) for trial in self._record.trials]
        columns = row_columns(self._record, self._record.trials)
        numbers = pd.Index([trial.number for trial in self._record.trials], name="trial")
        return pd.DataFrame(rows, columns=columns, index=numbers).astype({"retry_of": "Int64", "requeued": bool})

    def history(self) -> pd.DataFrame:
        """Return one row per reported step of every trial, in the order of the trials and their steps.

        Returns:
            A frame with the columns `trial`, `step`, `attempt`, `time` (seconds since the epoch), then one column per
            metric: NaN where it was not reported.
        """
        import pandas as pd

        rows = [
            {"trial": trial.number, "step": step.step, "attempt": step.attempt, "time": step.time, **step.metrics}
            for trial in self._record.trials
            for step in trial.history
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["trial", "step", "attempt", "time"])

    def best(self, group: object = None) -> TrialRecord:
        """Return the COMPLETE trial with the best final value of the first metric, or the winner of `hpo confirm`.

        With several metrics it is the trial of the Pareto front that is best in the first metric.

        Args:
            group: a value of the study's `group_by`, such as an architecture. None: the best of all trials.

        Raises:
            HpoError: no trial has completed, or the study has no such group.
        """
        from hpo.actions.best import choose

        if group is None:
            return choose(self._record).trial
        if self._record.group_by is None:
            raise HpoError(f"study '{self.name}' has no group_by, so it has no group {quote(group)}")
        groups = {one.group: one.best for one in best_per_group(self._record, self._record.metrics[0])}
        name = label(group) if isinstance(group, (str, bool, int, float)) else str(group)
        if name not in groups:
            expected = f"expected a value of {self._record.group_by}: {listing(groups)}.{nearest(name, groups)}"
            raise HpoError(f"study '{self.name}' has no group {quote(group)}; {expected}")
        best = groups[name]
        if best is None:
            raise HpoError(f"no trial of study '{self.name}' with {self._record.group_by} = {name} has completed")
        return best

    def report(self, lang: str = "en", directory: str | os.PathLike[str] | None = None) -> WrittenReport:
        """Write the report into the study's folder, or into another one.

        Args:
            lang: the language, `en` or `zh-TW`.
            directory: the other folder, for studies of other users.

        Returns:
            The paths of the page, the Markdown and the JSON: `html`, `markdown`, `json`.

        Raises:
            LanguageError: there is no report in that language.
            AccessDenied: this user may not write there.
            ReportError: a file cannot be written.
        """
        from hpo.reports.write import write_study_report
        from hpo.translation.catalogue import chosen, language

        with language(chosen(lang)):
            return write_study_report(self._record, folder=None if directory is None else layout.absolute(directory))

    def figures(self, lang: str = "en") -> dict[str, go.Figure]:
        """Return the figures of the report as plotly figures, by their titles, in the order of the report.

        Args:
            lang: the language of titles and axes, `en` or `zh-TW`.
        """
        from hpo.reports import figures
        from hpo.reports.blocks import charts_of
        from hpo.reports.study_report import study_report
        from hpo.translation.catalogue import chosen, language

        drawn: dict[str, go.Figure] = {}
        with language(chosen(lang)):
            for row, chart in charts_of(study_report(self._record)):
                title = f"{row}: {chart.title}" if row else chart.title
                copies = sum(name == title or name.startswith(f"{title} (") for name in drawn)
                drawn[f"{title} ({copies + 1})" if copies else title] = figures.figure(chart.data)
        return drawn

    def __repr__(self) -> str:
        finished = len(self._record.finished)
        return f"Study({self.name!r}, {finished} finished trial{'' if finished == 1 else 's'}, {self.directory})"


def load_study(name: str | None = None, runs: str | os.PathLike[str] | None = None) -> Study:
    """Load a study that has run or is running.

    Args:
        name: the study's name. None: the study last driven.
        runs: the runs folder. None: $HPO_RUNS, or `./runs`.

    Raises:
        StudyNotFound: the runs folder has no such study.
    """
    folder = layout.runs_folder(runs)
    if name is None:
        known = layout.studies_in(folder)
        if not known:
            raise StudyNotFound(f"there is no study in {folder}; `hpo run study.yaml` makes the first")
        name = known[0]
    record = read_study(folder, name)
    assert record.spec is not None  # `read_study` reads it, or raises
    return Study(record, record.spec)
