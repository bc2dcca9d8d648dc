"""A trial that goes on from the checkpoint of another one, because a person asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.spec.epochs import NAMES, name_in
from hpo.storage.trial_attributes import CONTINUE, SEGMENT, configuration_of, continued_from, requeued


@dataclass(frozen=True)
class Continuation:
    """Training that goes on.

    Attributes:
        parent: The trial to go on from.
        start: The last step that it reported.
        params: All parameters, by Optuna's names.
        constants: Those that replace the study's.
        seed: That of the parent; None: it was not noted.
    """

    parent: int
    start: int
    params: Mapping[str, Any]
    constants: Mapping[str, Any]
    seed: int | None

    @property
    def origin(self) -> dict[str, Any]:
        """Note of the new trial (`hpo.storage.trial_attributes.ORIGIN`)."""
        place = {"parent": self.parent, "start": self.start, "until": None, "constants": dict(self.constants)}
        seed = {} if self.seed is None else {"seed": self.seed}
        return {"source": CONTINUE, SEGMENT: place, **seed}

    def among(self, trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
        """Return the trial that is this continuation: one that completed, waits or runs; None if there is none."""
        for trial in trials:
            place = continued_from(trial.user_attrs)
            failed = trial.state.is_finished() and trial.state != TrialState.COMPLETE
            if not place or failed or requeued(trial.user_attrs) or place["parent"] != self.parent:
                continue
            if place.get("constants", {}) == self.constants and configuration_of(trial) == self.params:
                return trial
        return None


def checkpoints_to_continue(unfinished: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials whose checkpoints a continuation among these trials may still take over."""
    return {place["parent"] for trial in unfinished if (place := continued_from(trial.user_attrs))}


def trained_nothing(start: int, constants: Mapping[str, Any]) -> str:
    """Return why a continuation that reported no step beyond `start` fails."""
    name = name_in(constants)
    epochs = "" if name is None else f" ({constants[name]} now)"
    return (
        f"it trained nothing beyond epoch {start}, from which it was to go on: expected an objective that reads "
        f"constants.{name or NAMES[0]}{epochs}, and that its own early stopping does not end (--set "
        "constants.patience=null)"
    )


def began_anew(start: int, parent: int, step: int) -> str:
    """Return why a continuation that reports `step` first fails."""
    return (
        f"it was to go on from epoch {start} of trial {parent}, and reports epoch {step}: expected an objective that "
        "goes on from what it restores (trial.save before trial.report, and trial.restore at its start)"
    )
