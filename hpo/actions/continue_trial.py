"""A finished trial, trained on from its last checkpoint as a new trial of its study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.actions.best import choose
from hpo.analysis.records import StudyRecord, TrialRecord, read_study, records_of
from hpo.errors import NotContinued, SpecError, StudyLocked
from hpo.oracle.continuation import Continuation
from hpo.runner import RunResult, run
from hpo.spec.epochs import NAMES, name_in
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population
from hpo.spec.yaml_document import load_text
from hpo.storage.driver_lock import driver_of
from hpo.storage.histories import Histories
from hpo.storage.load_study import load_study
from hpo.text import listing, nearest
from hpo.trackers.base import Tracker

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Continued:
    """Result of a continuation.

    Attributes:
        parent: The trial that it went on from.
        trial: The new trial; None if it has not started.
        result: How the run of the study ended.
    """

    parent: TrialRecord
    trial: TrialRecord | None
    result: RunResult


def continue_trial(
    runs: Path,
    name: str,
    number: int,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
    trackers: Callable[[StudySpec], Sequence[Tracker]] = lambda spec: (),
    yaml: Path | None = None,
) -> Continued:
    """Train a trial on from its last checkpoint. The same call goes on with what was interrupted.

    Args:
        runs: The runs folder.
        name: The study.
        number: The trial.
        epochs: Epochs in all; None: as many as the study's trials have.
        overrides: `NAME=VALUE` of parameters, and `constants.NAME=VALUE`.
        trackers: Returns those that are told of all that happens.
        yaml: The study.yaml, of a study whose storage has a password; None: the recorded one.

    Raises:
        HpoError: There is no such study or trial, nothing is kept of it, or a value does not fit.
    """
    directory = layout.study_directory(runs, name)
    if driver_of(directory) is not None:
        raise StudyLocked(
            f"study '{name}' is running, and one driver trains at a time; wait for its end or `hpo stop {name}`, and "
            "give the command again"
        )
    spec, stored = load_study(runs, name)
    study = records_of(stored, spec, directory)
    wanted = continuation_of(study, spec, stored, number, epochs, overrides)
    known = wanted.among(stored.get_trials(deepcopy=False))
    if known is not None and known.state.name == "COMPLETE":
        raise NotContinued(
            f"trial {known.number} of study '{name}' is that continuation of trial {number} already; give other "
            "--epochs, or other values with --set"
        )
    spec = load_spec(yaml or directory / layout.SPEC)
    result = run(spec, runs, trackers(spec), continuation=wanted)
    study = read_study(runs, name)
    mine = [one for one in study.trials if one.continued and one.continued.parent == number and not one.requeued]
    ended = [one for one in mine if one.state != "WAITING"]
    return Continued(next(one for one in study.trials if one.number == number), ended[-1] if ended else None, result)


def continuation_of(
    study: StudyRecord, spec: StudySpec, stored: optuna.Study, number: int, epochs: int | None, overrides: Sequence[str]
) -> Continuation:
    """Return what is to be trained.

    Raises:
        HpoError: The trial cannot go on, or a value does not fit.
    """
    trial = choose(study, number).trial
    _refuse(study, spec, stored, trial)
    start = trial.history[-1].step
    params, constants = _changed(spec, trial, overrides)
    if epochs is not None:
        if epochs <= start:
            raise NotContinued(
                f"trial {number} was trained to epoch {start} already; --epochs is the number in all, expected more "
                f"than {start}"
            )
        if (searched := name_in(trial.params)) is not None:
            params[searched] = epochs
        else:
            constants[name_in(spec.constants) or NAMES[0]] = epochs
    if trial.state == "COMPLETE" and not params and not constants:
        raise NotContinued(f"trial {number} was trained to its end at epoch {start}; --epochs N trains it to epoch N")
    constants = {**(trial.continued.constants if trial.continued else {}), **constants}
    return Continuation(number, start, _for_optuna(spec, trial, params), constants, trial.seed)


def _refuse(study: StudyRecord, spec: StudySpec, stored: optuna.Study, trial: TrialRecord) -> None:
    """Raise NotContinued if a trial has nothing to go on from."""
    where = f"trial {trial.number} of study '{study.name}'"
    if is_population(spec):
        raise NotContinued(f"study '{study.name}' trains a population: its members go on from each other by themselves")
    if trial.state == "RUNNING":
        raise NotContinued(f"{where} is still running; expected one that has ended")
    if trial.requeued:
        raise NotContinued(f"{where} is an attempt that was interrupted and tried again under another number")
    if trial.flag:
        raise NotContinued(
            f"{where} was ended by the red flag '{trial.flag}', which would end it again at once; `hpo best "
            f"{study.name} --trial {trial.number}` prints a study that trains it from its start, without the flag"
        )
    if not layout.has_checkpoint(study.directory, trial.number):
        raise NotContinued(_no_checkpoint(study, spec, trial))
    trials = stored.get_trials(deepcopy=False)
    if Histories(study.directory, trials).foreign(trials[trial.number]):
        raise NotContinued(f"the folder of {where} holds files of another trial; `hpo doctor {study.name} --fix` helps")
    if not trial.history:
        raise NotContinued(f"{where} has reported no epoch, so it is not known where it would go on")


def _no_checkpoint(study: StudyRecord, spec: StudySpec, trial: TrialRecord) -> str:
    kept = [one.number for one in study.trials if layout.has_checkpoint(study.directory, one.number)]
    if not kept:
        return (
            f"no trial of study '{study.name}' has saved a state to go on from; expected an objective that calls "
            "trial.save(state) before trial.report, and goes on from what trial.restore() returns"
        )
    which = f"the best {spec.checkpoints.keep_best}" + (f" of each {spec.group_by}" if spec.group_by else "")
    return (
        f"the checkpoint of trial {trial.number} was not kept (checkpoints.keep_best keeps those of {which}); kept are "
        f"those of {listing(kept)}. With `checkpoints: {{keep_best: all}}` a study keeps them all, of pruned trials too"
    )


def _changed(spec: StudySpec, trial: TrialRecord, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters, and the constants, that `NAME=VALUE` texts replace."""
    params: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for text in overrides:
        name, equals, written = text.partition("=")
        name = name.strip()
        document = load_text(written, f"--set {name}")
        if not equals or not name:
            raise NotContinued(f"'{text}' sets nothing; expected NAME=VALUE, such as --set learning_rate=1e-4")
        if document.problems:
            raise SpecError(document.problems)
        first, _, rest = name.partition(".")
        if first == "constants" and rest:
            _put(constants, spec.constants, rest.split("."), document.data)
        elif name in trial.params:
            params[name] = document.data
        else:
            known = [*trial.params, *(f"constants.{one}" for one in spec.constants)]
            raise NotContinued(
                f"--set {name}: trial {trial.number} has no such parameter; expected {listing(known)}."
                f"{nearest(name, known)}"
            )
    return params, constants


def _put(constants: dict[str, Any], study: Mapping[str, Any], keys: list[str], value: Any) -> None:
    """Set a constant; of a mapping in study.yaml what is not set stays."""
    if len(keys) > 1:
        inner = constants.get(keys[0], study.get(keys[0]))
        value, deeper = dict(inner) if isinstance(inner, Mapping) else {}, value
        _put(value, value, keys[1:], deeper)
    constants[keys[0]] = value


def _for_optuna(spec: StudySpec, trial: TrialRecord, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters by Optuna's names: those of the trial, and in place of some of them others."""
    for name, value in changed.items():
        homes = spec.space.find(name)
        if any(parameter.structural for parameter in homes):
            raise NotContinued(f"--set {name}: it is structural, and the checkpoint's network has another shape")
        if any(parameter.kind == "fixed" for parameter in homes) and value != trial.params[name]:
            raise NotContinued(
                f"--set {name}: it is {trial.params[name]!r} in the whole study, and a trial of the study has no other"
            )
    if not changed:
        return dict(trial.optuna_params)
    given, problems = spec.space.translate({**trial.params, **changed})
    if problems:
        said = "; ".join(f"{name}: {message}" for name, message in problems)
        raise NotContinued(f"--set {said}. A trial of a study stays in its search space")
    # What did not change stays exactly as it is: weights are not kept as the objective sees them.
    same, _ = spec.space.translate(dict(trial.params))
    kept = trial.optuna_params
    return {name: kept[name] if name in kept and same.get(name) == value else value for name, value in given.items()}
