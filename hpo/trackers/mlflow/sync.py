"""Commands on the MLflow runs of a study, in their own process: make them equal to the study, and discard them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import HpoError
from hpo.machine.access import require_write
from hpo.machine.sqlite_uri import sqlite_path
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study
from hpo.text import redact
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.store import bring_artifacts_along

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from optuna import Study
    from optuna.trial import FrozenTrial


def sync(runs: Path, name: str, say: Callable[[str], None]) -> bool:
    """Make the MLflow runs of a study equal to the study, in the store where its next run would write them.

    What a user added to them stays (see `hpo.trackers.mlflow.compare`). A second call changes nothing.

    Args:
        runs: The runs folder.
        name: The study.
        say: Called with a sentence for each thing that was done.

    Returns:
        True if anything differed.

    Raises:
        StudyNotFound: There is no such study.
        HpoError: MLflow cannot be written, or the process that runs the study is writing it.
    """
    directory = layout.study_directory(runs, name)
    spec, study = load_study(runs, name)
    known = place.read_place(directory)
    uri = place.tracking_uri(spec, runs, known.tracking_uri if known else "")
    return make_equal(runs, spec, study, uri, place.experiment_name(spec), driver_of(directory) is not None, say)


def make_equal(
    runs: Path, spec: StudySpec, study: Study, uri: str, experiment: str, driven: bool, say: Callable[[str], None]
) -> bool:
    """Do the same in a given store. The parent run of a study that is `driven` stays open."""

    def refuse() -> None:
        raise HpoError(
            f"the process that runs study '{spec.name}' is writing it to MLflow now; it leaves nothing missing. "
            "Try again when it has ended"
        )

    directory = layout.study_directory(runs, spec.name)
    require_write(directory, f"the runs of study '{spec.name}' cannot be written to MLflow")
    from hpo.trackers.mlflow.client import reason

    with place.writer_lock(directory, refuse):
        try:
            return _make_equal(runs, spec, study, uri, experiment, driven, say)
        except HpoError:
            raise
        except Exception as error:  # each store raises its own classes
            if os.environ.get("HPO_DEBUG") == "1":
                raise
            raise HpoError(f"MLflow at {redact(uri)} cannot be written: {reason(error)}") from error


def _make_equal(
    runs: Path, spec: StudySpec, study: Study, uri: str, experiment: str, driven: bool, say: Callable[[str], None]
) -> bool:
    from hpo.trackers.mlflow.compare import compare, read_store
    from hpo.trackers.mlflow.mirror import Mirror

    directory = layout.study_directory(runs, spec.name)
    trials = study.get_trials(deepcopy=False)
    key = _key(runs, spec, trials, uri, experiment, say)
    if (file := sqlite_path(uri)) is not None and file.parent == runs:
        bring_artifacts_along(file)
    store = read_store(uri, experiment, key)
    found = compare(directory, spec, trials, store, thorough=True, driven=driven)
    if store.client is not None:
        for run in found.remove.values():
            _remove(store.client, run, key)
        for run_id, tag in found.clear:
            store.client.delete_tag(run_id, tag)
    mirror = Mirror(
        spec, runs, uri, experiment, key, records.began(trials, time.time()), {}, None, say, gaps=found.gaps
    )
    if driven:
        mirror.open_parent()
    left = mirror.update(trials, last=not driven)
    mirror.close(trials, "RUNNING" if driven else records.study_status(spec, trials))
    for sentence in found.done():
        say(sentence)
    if left:
        raise HpoError(f"MLflow at {redact(uri)} refused trials {', '.join(map(str, left))} of study '{spec.name}'")
    if mirror.artifacts_refused or found.unlisted:
        why = mirror.artifacts_refused or found.unlisted
        raise HpoError(f"MLflow at {redact(uri)} takes no artifacts: {why}. All else is written")
    return bool(found.found())


def check(runs: Path, spec: StudySpec, study: Study, driven: bool) -> list[str]:
    """Return in words how the runs of a study differ from it, as far as one search tells; nothing is written.

    Of a study that is `driven` its writer may yet write everything: then it is only tried whether the store can be
    read. A study that MLflow does not know differs in nothing.

    Raises:
        HpoError: MLflow cannot be read.
    """
    from hpo.trackers.mlflow.client import reason
    from hpo.trackers.mlflow.compare import compare, read_store

    directory = layout.study_directory(runs, spec.name)
    known = place.read_place(directory)
    if known is None:
        return []
    uri = place.written_uri(spec, runs, known)
    try:
        store = read_store(uri, known.experiment, known.key, readonly=True)
        owner = _owner_of_key(runs, spec.name, known.key, store.runs)
        if owner:
            return [f"its mlflow.json is that of study '{owner}', as in a folder that was copied"]
        if original := place.copied_runs(directory, uri):
            return [f"its mlflow.json is that of {original}, of which its folder is a copy"]
        return [] if driven else compare(directory, spec, study.get_trials(deepcopy=False), store, False).found()
    except HpoError:
        raise
    except Exception as error:  # each store raises its own classes
        if os.environ.get("HPO_DEBUG") == "1":
            raise
        raise HpoError(f"MLflow at {redact(uri)} cannot be read: {reason(error)}") from error


def discard(directory: Path, runs: Path, spec: StudySpec, note: Callable[[Sequence[str]], None]) -> int:
    """Move the runs of a study to MLflow's trash, where `mlflow gc` ends them; return how many.

    Args:
        directory: The study's folder, wherever it is now.
        runs: The runs folder.
        spec: The study.
        note: Called with the IDs of these runs before any is moved.

    Raises:
        HpoError: MLflow cannot be written, or the runs are those of the study of which this one is a copy.
    """
    known = place.read_place(directory, runs)
    if known is None:
        return 0
    uri = place.written_uri(spec, runs, known)
    if original := place.copied_runs(directory, uri, runs):
        raise HpoError(f"they are those of {original}, of which the study's folder is a copy")

    def delete(client: MlflowClient) -> int:
        stages = [run.info for run in _runs_of(uri, known.experiment, known.key)]
        found = [run.run_id for run in stages if run.lifecycle_stage != "deleted"]
        note(found)
        for run_id in found:
            client.delete_run(run_id)
        return len(found)

    return _changed(uri, delete)


def bring_back(directory: Path, runs: Path, spec: StudySpec, run_ids: Sequence[str]) -> int:
    """Take runs of a study out of MLflow's trash again; return how many. Those that `mlflow gc` has ended are gone.

    Raises:
        HpoError: MLflow cannot be written.
    """
    known = place.read_place(directory, runs)
    if known is None or not run_ids:
        return 0
    uri = place.written_uri(spec, runs, known)

    def restore(client: MlflowClient) -> int:
        stages = {run.info.run_id: run.info.lifecycle_stage for run in _runs_of(uri, known.experiment, known.key)}
        deleted = [run_id for run_id in run_ids if stages.get(run_id) == "deleted"]
        for run_id in deleted:
            client.restore_run(run_id)
        return len(deleted)

    return _changed(uri, restore)


def _changed(uri: str, change: Callable[[MlflowClient], int]) -> int:
    from hpo.trackers.mlflow.client import client_of, reason

    if place.is_missing_file(uri):  # a client would make it
        return 0
    try:
        return change(client_of(uri))
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be written: {reason(error)}") from error


# --- the key


def _key(
    runs: Path,
    spec: StudySpec,
    trials: Sequence[FrozenTrial],
    uri: str,
    experiment: str,
    say: Callable[[str], None],
) -> str:
    """Return the key of the study's runs, which is noted: its own, or else that of the runs that are its."""
    directory = layout.study_directory(runs, spec.name)
    known, noted = place.read_place(directory), directory / layout.MLFLOW
    if known is None:
        if noted.exists():
            noted.replace(noted.with_name(f"{noted.name}.damaged"))
            say(f"{noted} cannot be read; it is kept as {noted.name}.damaged")
        key = _find_key(runs, spec, trials, uri, experiment) or place.new_key()
        place.write_place(directory, place.Place(key, redact(uri), experiment))
    elif owner := _owner_of_key(runs, spec.name, known.key, _runs_of(uri, experiment, known.key)):
        place.write_place(directory, place.Place(place.new_key(), redact(uri), experiment))
        say(f"gave the study runs of its own: its mlflow.json was that of study '{owner}'")
    elif original := place.copied_runs(directory, uri):
        place.keep_place(directory, uri, experiment)
        say(f"gave the study runs of its own: its mlflow.json was that of {original}, of which its folder is a copy")
    return place.keep_place(directory, uri, experiment).key


def _runs_of(uri: str, experiment: str, value: str, tag: str = records.KEY) -> list[Run]:
    from hpo.trackers.mlflow.client import client_of, search

    if place.is_missing_file(uri):
        return []
    client = client_of(uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(search(client, found.experiment_id, value, tag))


def _find_key(runs: Path, spec: StudySpec, trials: Sequence[FrozenTrial], uri: str, experiment: str) -> str | None:
    """Find the key of runs that bear the study's name and started when its trials did; None if there are none.

    A study of that name which was deleted and made anew left runs that started at other times.
    """
    starts = {(trial.number, records.milliseconds(records.started(trial))) for trial in trials if trial.datetime_start}
    seen: dict[str, list[bool]] = {}
    for run in _runs_of(uri, experiment, spec.name, records.STUDY):
        number, key = records.trial_of(run.data.tags), run.data.tags.get(records.KEY, "")
        if number is not None and key and not place.studies_with(runs, key, spec.name):
            seen.setdefault(key, []).append((number, run.info.start_time) in starts)
    best = max(seen, key=lambda key: sum(seen[key]), default=None)
    return best if best is not None and 2 * sum(seen[best]) > len(seen[best]) else None


def _owner_of_key(runs: Path, name: str, key: str, found: Sequence[Run]) -> str:
    """Return the study that a key belongs to, if that is another one; a folder that was copied has it too.

    The parent run bears the name of the study that made it. Where a user gave it another, the older note is the
    original.
    """
    others = place.studies_with(runs, key, name)
    if not others:
        return ""
    made_by = {run.info.run_name for run in found if run.data.tags.get(records.KIND) == records.STUDY_KIND}
    named = sorted(made_by & {name, *others})
    if not named:
        ages = {study: (runs / study / layout.MLFLOW).stat().st_mtime for study in (name, *others)}
        named = [min(ages, key=lambda study: (ages[study], study))]
    return "" if name in named else named[0]


def _remove(client: MlflowClient, run: Run, key: str) -> None:
    """Take a run out of the study. It keeps all that it has, and stays in MLflow's trash if it is there.

    Its key goes last: a run that a kill leaves half done is found again.
    """
    deleted = run.info.lifecycle_stage == "deleted"
    if deleted:
        client.restore_run(run.info.run_id)
    client.set_tag(run.info.run_id, records.ORPHAN, key)
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED")
    client.delete_tag(run.info.run_id, records.KEY)
    if deleted:
        client.delete_run(run.info.run_id)
