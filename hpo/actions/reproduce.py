"""A second training of a trial, in a folder of its own, compared with what was recorded of the first."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.actions.best import alone, choose
from hpo.analysis.differences import data_of
from hpo.analysis.records import StudyRecord, TrialRecord, records_of
from hpo.analysis.reproduction import ENDS_BY_ITSELF, Changed, Comparison, Facts, changes, compare, unknown
from hpo.errors import NotReproducible
from hpo.machine.files import write_atomically
from hpo.runner import run
from hpo.spec import yaml_document
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.load_study import load_study
from hpo.storage.provenance import CODE, ENVIRONMENT, recorded
from hpo.storage.source_versions import files_of, version_of
from hpo.trackers.base import Tracker

if TYPE_CHECKING:
    import optuna

# Steps of this and more end a trial, whatever its metric: it had not gone further.
_END = {"name": "threshold", "upper": -1.0e308}


@dataclass(frozen=True)
class Recorded:
    """A trial of a study with all that is recorded of it."""

    study: StudyRecord
    spec: StudySpec
    trial: TrialRecord
    facts: Facts


@dataclass(frozen=True)
class Reproduced:
    """Result of a second training.

    Attributes:
        first: The trial.
        again: The second training of it.
        comparison: What the two gave; None if the second was interrupted.
        changed: The recorded things that differ.
        unknown: What was not recorded of the first training, in words.
        folder: The runs folder that holds the second training.
    """

    first: Recorded
    again: Recorded
    comparison: Comparison | None
    changed: tuple[Changed, ...]
    unknown: tuple[str, ...]
    folder: Path


def recorded_trial(runs: Path, name: str, number: int) -> Recorded:
    """Return a trial of a study that has ended and can be trained again from its start.

    Raises:
        StudyNotFound: There is no such study or trial.
        NotReproducible: The trial has not ended, is an attempt that was tried again, or went on from another trial.
    """
    spec, stored = load_study(runs, name)
    study = records_of(stored, spec, layout.study_directory(runs, name))
    trial = choose(study, number).trial
    where = f"trial {number} of study '{name}'"
    if trial.state == "RUNNING":
        raise NotReproducible(f"{where} is still running; expected one that has ended")
    if trial.requeued:
        again = next((one.number for one in study.trials if one.retry_of == number), None)
        raise NotReproducible(f"{where} is an attempt that was interrupted; it was tried again as trial {again}")
    if trial.segment is not None and trial.segment.parent is not None:
        raise NotReproducible(
            f"{where} went on from the checkpoint of trial {trial.segment.parent}, with other parameters perhaps, and "
            "only a training from its start can be repeated; give the number of the first of its lineage"
        )
    return Recorded(study, spec, trial, facts_of(study, stored, trial))


def facts_of(study: StudyRecord, stored: optuna.Study, trial: TrialRecord) -> Facts:
    """Return what is recorded of a training."""
    frozen = stored.get_trials(deepcopy=False)[trial.number]
    code = recorded(study.directory, frozen, CODE)
    git = code.get("git") or {}
    return Facts(
        seed=trial.seed,
        environment=recorded(study.directory, frozen, ENVIRONMENT),
        commit=git.get("commit", ""),
        sources=files_of(stored.user_attrs, version_of(frozen)),
        splits=data_of(study, trial),
        data=code.get("data") or {},
        diff=git.get("diff", ""),
        diff_bytes=git.get("diff_bytes", 0),
    )


def study_of(first: Recorded, seed: int | None = None) -> dict[str, Any]:
    """Return the data of a study.yaml that trains the trial again as it was trained, and nothing else.

    Args:
        first: The trial.
        seed: Another seed than its own.
    """
    spec, trial = first.spec, first.trial
    data = alone(spec, trial)
    for key in ("storage", "min_complete"):
        data.pop(key, None)
    data |= {"name": f"{spec.name}-trial-{trial.number}", "mlflow": False, "warm_start": False}
    if trial.state != "COMPLETE" and trial.cause not in ENDS_BY_ITSELF and trial.history:
        data["pruner"] = {**_END, "n_warmup_steps": trial.history[-1].step}
    if spec.engine.name == "local" and isinstance(threads := first.facts.environment.get("threads"), int):
        data["engine"] = {**data["engine"], "cpu": threads}
    if seed is not None:
        data |= {"seed": seed, "trial_seeds": [seed]}
    return data


def reproduce(
    runs: Path,
    name: str,
    number: int,
    folder: Path | None = None,
    seed: int | None = None,
    trackers: Callable[[StudySpec, Path], Sequence[Tracker]] = lambda spec, runs: (),
) -> Reproduced:
    """Train a trial again and compare. The study itself is only read.

    Args:
        runs: The runs folder.
        name: The study.
        number: The trial.
        folder: Where to train; None: a new folder in the runs folder.
        seed: Another seed than the trial's own.
        trackers: Returns those that are told of what happens, for a study and its runs folder.

    Raises:
        HpoError: It cannot be trained again (`recorded_trial`, `hpo.runner.run`).
    """
    first = recorded_trial(runs, name, number)
    if folder is None:
        when = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = runs / layout.REPRODUCED / f"{name}-{number}-{when}"
    data = study_of(first, seed)
    if (folder / data["name"]).exists():
        raise NotReproducible(f"{folder} holds an earlier training of trial {number} already; expected another folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{data['name']}.yaml"
    write_atomically(written, yaml_document.dump(data))
    spec = load_spec(written)
    result = run(spec, folder, trackers(spec, folder))
    spec, stored = load_study(folder, spec.name)
    study = records_of(stored, spec, layout.study_directory(folder, spec.name))
    ended = [one for one in study.trials if one.finished]
    trial = (ended or list(study.trials))[-1]
    again = Recorded(study, spec, trial, facts_of(study, stored, trial))
    comparison = compare(first.study, first.trial, trial) if ended and not result.interrupted else None
    found = tuple(changes(first.facts, again.facts))
    return Reproduced(first, again, comparison, found, tuple(unknown(first.facts)), folder)
