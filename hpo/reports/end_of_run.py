"""Writes what a run leaves when it ends: diagnoses of the best trainings, the report, and what optuna-dashboard shows.

All of it is made from what is stored. If one of them fails, only that one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.analysis.groups import best_per_group
from hpo.analysis.records import StudyRecord, records_of
from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.training_log import log_of
from hpo.errors import HpoError
from hpo.reports.dashboard import save_figures
from hpo.reports.dashboard_note import save_note
from hpo.reports.training_report import write_diagnosis
from hpo.reports.write import write_study_report
from hpo.text import redact
from hpo.translation.catalogue import file_stem

if TYPE_CHECKING:
    import optuna

    from hpo.spec.models import StudySpec


def write_end_of_run(
    spec: StudySpec, study: optuna.Study, directory: Path, say: Callable[[str], None]
) -> tuple[Path, ...]:
    """Write everything that is due at the end of a run; `say` shows the user what could not be written.

    Returns:
        The report's files, the page first; empty if the report could not be written.
    """
    import optuna

    try:
        record = records_of(study, spec, directory)
        _diagnose_best(record, say)  # first: the report leads to what is there
        written = write_study_report(record)
    except (HpoError, OSError, optuna.exceptions.StorageInternalError) as error:
        say(f"the report was not written: {redact(str(error))}; `hpo report {spec.name}` tries again")
        return ()
    for what, save in (("note", save_note), ("figures", save_figures)):
        try:
            save(study, record)
        except Exception as error:  # of a storage, of a figure
            say(f"optuna-dashboard's {what} could not be saved: {redact(str(error))}")
    return written.html, written.markdown, written.json


def _diagnose_best(record: StudyRecord, say: Callable[[str], None]) -> None:
    """Write the diagnosis of the best trial of each group into its folder, unless an earlier run did."""
    for group in best_per_group(record, record.metrics[0]):
        if group.best is None or not group.best.history:
            continue
        folder = layout.trial_directory(record.directory, group.best.number)
        if (folder / f"{file_stem(layout.DIAGNOSIS)}.html").exists():
            continue
        try:
            write_diagnosis(diagnose(log_of(record, group.best)), folder)
        except Exception as error:  # whatever is odd about one training
            say(f"the diagnosis of trial {group.best.number} was not written: {redact(str(error))}")
