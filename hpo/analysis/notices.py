"""Notices: what trials showed that is no error, and that the objective most likely does not mean.

The driver notes them with each trial (`hpo.oracle.notices`) and says the first of each kind. Reports and `hpo status`
say them for the whole study.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hpo.analysis.axes import varies
from hpo.analysis.formatting import number
from hpo.space.search_space import SearchSpace
from hpo.storage.source_versions import Change
from hpo.text import listing
from hpo.translation.catalogue import mark, sentences, tr, trn

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord

STEP_CONSTANT = "step_constant"
STEP_BACK = "step_back"
METRIC_UNREPORTED = "metric_unreported"
RETURNED_OUTSIDE = "returned_outside"
STEPLESS = "stepless"
IGNORED_STOP = "ignored_stop"
GPU_NOT_BUILT_FOR = "gpu_not_built_for"
GPU_NOT_SEEN = "gpu_not_seen"
GPU_UNUSED = "gpu_unused"
UNUSED_GPU = (GPU_NOT_BUILT_FOR, GPU_NOT_SEEN, GPU_UNUSED)

_TEXTS = {
    STEP_CONSTANT: mark(
        "Trial {trial} reported {metric} {times} times, always at step {step}: pruner and curves see one point. Give "
        "report() the number of the epoch."
    ),
    STEP_BACK: mark(
        "Trial {trial} reported {metric} at step {lower} after step {higher}: pruner and curves go by steps that grow. "
        "Give report() the number of the epoch."
    ),
    METRIC_UNREPORTED: mark(
        "Trial {trial} reported {reported} and never {metric}, by which the pruner goes: it cannot stop such a trial."
    ),
    RETURNED_OUTSIDE: mark(
        "Trial {trial} returned {metric} = {value}, but reported {low} to {high}: the pruner judges what is reported, "
        "the study what is returned. Report and return the same number."
    ),
    STEPLESS: mark(
        "Trial {trial} printed {lines} JSON lines with {metric} and none with a step: the last one counts, without "
        "curves and without pruning. Print 'step' or 'epoch' in each of them."
    ),
    IGNORED_STOP: mark(
        "Trial {trial} was told to stop ({reason}) and went on to its end: its objective catches hpo.Pruned, perhaps "
        "with `except Exception`. Nothing can be pruned so; put `except hpo.Pruned: raise` before it."
    ),
    GPU_NOT_BUILT_FOR: mark(
        "Trial {trial} had a GPU, and its torch ({torch}) is built for none: what torch computed, the CPU computed. "
        "Install a torch that is built for CUDA, or set engine.gpu to 0."
    ),
    GPU_NOT_SEEN: mark(
        "Trial {trial} had a GPU, and its torch ({torch}, for {built}) sees none: what torch computed, the CPU "
        "computed. `nvidia-smi` shows whether the driver knows that version and that GPU."
    ),
    GPU_UNUSED: mark(
        "Trial {trial} had a GPU, and torch in its process held nothing of it: what torch computed there, the CPU "
        "computed. Move the model and the data to the GPU, .to('cuda'), or set engine.gpu to 0."
    ),
}
_NEAR = mark("Did you mean '{name}'?")
_INSTEAD = mark("They have '{name}', which is not read as the step.")
# Trials that must have ended before it is said, while a study runs, that none of them has read a parameter: one that
# counts only beside another, flat in the space, is not read by some.
ENOUGH_TRIALS = 3


class Reading(Protocol):
    """A trial, its parameters, and the names of those that it has not read."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Its parameters."""

    @property
    def unread(self) -> Sequence[str]:
        """Their names that it has not read."""


@dataclass(frozen=True)
class Notice:
    """Something that trials showed, of one kind.

    Attributes:
        sentence: of the first trial that showed it.
        trials: the numbers of all of them.
    """

    sentence: str
    trials: tuple[int, ...]

    def __str__(self) -> str:
        """Return the sentence, and how many trials it is true of."""
        count = trn("({n} trial)", "({n} trials)", len(self.trials))
        return f"{self.sentence} {count}"


def sentence(kind: str, trial: int, values: Mapping[str, Any]) -> str:
    """Return what a trial showed, in the current language.

    Args:
        kind: one of the kinds of this module.
        trial: the trial's number.
        values: what was noted of it; `near` is the name that may be meant.
    """
    shown = {name: number(value) if isinstance(value, float) else value for name, value in values.items()}
    said = tr(_TEXTS[kind], trial=trial, **shown)
    more = (tr(text, name=values[key]) for key, text in (("near", _NEAR), ("instead", _INSTEAD)) if values.get(key))
    return sentences((said, *more))


def without_trial(kind: str, values: Mapping[str, Any]) -> str:
    """Return what the only trial there is showed, without its number and the full stop."""
    return sentence(kind, 0, values).removeprefix("Trial 0 ").rstrip(".")


def notices_of(study: StudyRecord) -> tuple[Notice, ...]:
    """Return what the trials of a study showed, each kind once, in the current language."""
    first: dict[str, str] = {}
    trials: dict[str, list[int]] = {}
    for trial in study.trials:
        for kind, values in trial.notices.items():
            # A record of another version of hpo, or a damaged one, says nothing.
            with contextlib.suppress(KeyError, TypeError, AttributeError):
                first.setdefault(kind, sentence(kind, trial.number, values))
                trials.setdefault(kind, []).append(trial.number)
    found = [Notice(said, tuple(trials[kind])) for kind, said in first.items()]
    return (*found, *(Notice(unread_sentence(name), numbers) for name, numbers in unread_parameters(study).items()))


def unread_parameters(study: StudyRecord) -> dict[str, tuple[int, ...]]:
    """Return the searched parameters that no complete trial has read, each with the trials that had it."""
    return unread_of(study.space, study.in_state("COMPLETE"))


def unread_of(space: SearchSpace, trials: Iterable[Reading]) -> dict[str, tuple[int, ...]]:
    """Return the parameters that can vary, and that none of these trials has read."""
    had: dict[str, list[int]] = {}
    read: set[str] = set()
    for trial in trials:
        for name in trial.params:
            had.setdefault(name, []).append(trial.number)
            if name not in trial.unread:
                read.add(name)
    searched = {parameter.name for parameter in space.walk() if varies(parameter)}
    return {name: tuple(numbers) for name, numbers in had.items() if name in searched - read}


def unread_sentence(name: str) -> str:
    """Return that a parameter is searched and not read."""
    return tr(
        "No trial has read the searched parameter {name}: what is shown of its effect is chance. Use it in the "
        "objective, or take it out of search_space.",
        name=name,
    )


def change_sentence(change: Change) -> str:
    """Return that the objective's files have changed, in the current language."""
    files, count = listing(change.files, 4) or tr("the objective"), max(1, len(change.files))
    said = trn(
        "{files} has changed since trial {before}.",
        "{files} have changed since trial {before}.",
        count,
        files=files,
        before=change.before,
    )
    if change.number is None:
        return said
    more = tr("Trials from {number} on may not be comparable with those before.", number=change.number)
    return sentences((said, more))
