"""Kept weights of a study's trials, and the functions of its objective's module that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpo import layout
from hpo.analysis.records import StudyRecord, TrialRecord, records_of
from hpo.errors import HpoError, ObjectiveError
from hpo.objective.load import load
from hpo.spec.models import StudySpec
from hpo.spec.racing import constants_of
from hpo.storage.histories import Histories
from hpo.storage.load_study import load_study
from hpo.text import one_line
from hpo.trial import Job, ObjectiveRef, Stop, Trial, with_lists
from hpo.worker.execute import Share, prepare

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

T = TypeVar("T")


@dataclass(frozen=True)
class KeptWeights:
    """A study whose trials may have kept weights.

    Attributes:
        study: Its records, without histories.
        spec: The study as it ran.
        stored: Its trials as Optuna has them.
    """

    study: StudyRecord
    spec: StudySpec
    stored: Sequence[FrozenTrial]

    def folder(self, trial: TrialRecord) -> Path:
        """Return the folder of a trial."""
        return layout.trial_directory(self.study.directory, trial.number)

    def has(self, trial: TrialRecord) -> bool:
        """Return True if weights or a checkpoint of the trial are there."""
        kept = any((self.folder(trial) / name).exists() for name in (layout.WEIGHTS, layout.CHECKPOINT))
        return kept and not self._is_foreign(trial)

    def _is_foreign(self, trial: TrialRecord) -> bool:
        """Return True if the folder of a trial holds files of another one."""
        return bool(Histories(self.study.directory, self.stored).foreign(self.stored[trial.number]))

    def place(self, trial: TrialRecord) -> Path:
        """Return the file of the weights, or the folder in which the trial keeps something else.

        Raises:
            HpoError: Nothing is kept of the trial, or its folder holds files of another one.
        """
        folder = self.folder(trial)
        if self._is_foreign(trial):
            raise HpoError(
                f"{folder} holds files of another trial, so that its weights are not those of trial {trial.number}; "
                f"`hpo doctor {self.study.name} --fix` sets them aside"
            )
        if not self.has(trial):
            raise HpoError(self._nothing_kept(trial))
        weights = folder / layout.WEIGHTS
        return weights if weights.exists() else folder

    def function(self, name: str, expected: str) -> Callable[..., Any]:
        """Return a function of the objective's module.

        Args:
            name: Its name.
            expected: The end of the sentence for a command: what such a function would be.

        Raises:
            ObjectiveError: There is none.
        """
        ref = self.spec.objective_ref()
        if ref.command:
            raise ObjectiveError(
                f"study '{self.spec.name}' runs a command, which hpo can train but not {name}; expected an objective "
                f"that is a Python function, with a function {expected} beside it"
            )
        return load(reference(ref, name))

    def optional(self, name: str) -> Callable[..., Any] | None:
        """Return a function of the objective's module, or None if there is none."""
        try:
            return self.function(name, name)
        except ObjectiveError:
            return None

    def handle(self, trial: TrialRecord) -> Trial:
        """Return a trial as its objective saw it, and seed this process as its worker did."""
        handle = Trial(_job(self.spec, trial, self.folder(trial)), _ignore)
        prepare(handle.seed, Share())
        return handle

    def _nothing_kept(self, trial: TrialRecord) -> str:
        name = self.study.name
        kept = [one.number for one in self.study.trials if (self.folder(one) / layout.WEIGHTS).exists()]
        if not kept:
            return (
                f"no trial of study '{name}' has kept weights; expected the objective to write {layout.WEIGHTS} into "
                "trial.directory, or to call trial.save"
            )
        by = self.spec.group_by
        rule = f"the best {self.spec.checkpoints.keep_best}" + (f" of each {by}" if by else "")
        return (
            f"the weights of trial {trial.number} were not kept (checkpoints.keep_best keeps those of {rule}); kept "
            f"are those of trials {', '.join(map(str, kept))}. `hpo best {name} {trial.number}` prints a study "
            "that trains it again"
        )


def kept_weights(runs: Path, name: str) -> KeptWeights:
    """Return a study with what its trials have kept.

    Raises:
        StudyNotFound: There is no such study.
    """
    spec, stored = load_study(runs, name)
    directory = layout.study_directory(runs, name)
    trials = stored.get_trials(deepcopy=False)
    return KeptWeights(records_of(stored, spec, directory, histories=False), spec, trials)


def reference(ref: ObjectiveRef, function: str) -> ObjectiveRef:
    """Return a reference to another function in the module of an objective."""
    place, _, _ = ref.target.rpartition(":")
    return replace(ref, target=f"{place}:{function}")


def called(compute: Callable[[], T], doing: str) -> T:
    """Return what `compute` does; any error of the objective's own becomes a sentence.

    Args:
        compute: Calls a function of the objective.
        doing: The beginning of the sentence, such as "evaluating trial 3".
    """
    try:
        return compute()
    except ObjectiveError as error:
        raise ObjectiveError(f"{doing} failed: {error}") from error
    except HpoError:
        raise
    except Exception as error:
        raise ObjectiveError(f"{doing} failed: {type(error).__name__}: {one_line(error)}") from error


def _job(spec: StudySpec, trial: TrialRecord, folder: Path) -> Job:
    return Job(
        number=trial.number,
        params=with_lists(trial.params, spec.space.lists),
        seed=spec.seed,
        objective=spec.objective_ref(),
        constants={**constants_of(spec, trial.seed or 0), **(trial.continued.constants if trial.continued else {})},
        directory=folder,
        metrics=tuple(metric.name for metric in spec.metrics),
        attempt=trial.attempt,
    )


def _ignore(step: int, metrics: dict[str, float]) -> Stop | None:
    """Nobody listens to reports of weights that are read."""
    return None
