"""Checks of the runs of a study in MLflow, which is written from the study and never read back into it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from hpo import layout
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding
from hpo.errors import HpoError
from hpo.storage.trial_attributes import imported_from
from hpo.text import count
from hpo.trackers.mlflow import place, sync


def never_written(context: StudyContext) -> Iterator[Finding]:
    """Find a study that MLflow has or should have, and whose mlflow.json does not say where."""
    noted = context.directory / layout.MLFLOW
    if context.driver is not None or place.read_place(context.directory) is not None:
        return
    # Imported trials go to MLflow with the first one that is trained.
    ended = sum(trial.state.is_finished() and not imported_from(trial.user_attrs) for trial in context.trials)
    if noted.exists():
        said = f"{noted} cannot be read, so that the study's runs in MLflow are not known"
    elif context.spec.mlflow is not None and ended:
        said = f"{count(ended, 'trial')} ended, and {noted} does not say where MLflow has the runs"
    else:
        return
    uri = place.tracking_uri(context.spec, context.runs)
    fix = partial(_make_equal, context, uri, place.experiment_name(context.spec))
    yield Finding("mlflow-lost", context.name, None, said, "certain", _remedy(context), fix)


def different_runs(context: StudyContext) -> Iterator[Finding]:
    """Find out whether MLflow's runs differ from the study, as far as one search tells."""
    known = place.read_place(context.directory)
    if known is None:
        return  # and mlflow need not be imported to see it
    try:
        found = sync.check(context.runs, context.spec, context.study, context.driver is not None)
    except HpoError as error:
        remedy = "start its server or its database if it is away, and run the doctor again"
        yield Finding("mlflow-unreachable", context.name, None, str(error), "certain", remedy)
        return
    if found:
        said = f"MLflow's runs differ from the study: {', '.join(found)}"
        fix = partial(_make_equal, context, place.written_uri(context.spec, context.runs, known), known.experiment)
        yield Finding("mlflow-differs", context.name, None, said, "certain", _remedy(context), fix)


def _remedy(context: StudyContext) -> str:
    return f"run `{place.sync_command(context.runs, context.name)}`"


def _make_equal(context: StudyContext, uri: str, experiment: str) -> None:
    said: list[str] = []
    try:
        sync.make_equal(context.runs, context.spec, context.study, uri, experiment, False, said.append)
    except HpoError as error:
        raise HpoError("; ".join([str(error), *said])) from error


CHECKS: tuple[Check, ...] = (never_written, different_runs)
