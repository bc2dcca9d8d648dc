"""A study that trains one configuration of another study, alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.analysis.confirmation import Confirmation, confirmation_of
from hpo.analysis.formatting import configuration, listed, number, numbers
from hpo.analysis.lineages import Lineage, lineage_of
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import WARN, StudyRecord, TrialRecord, best_of
from hpo.errors import HpoError, ResourceError, StudyNotFound
from hpo.machine.resources import slots
from hpo.objective.command_line import placeholders
from hpo.red_flags.definitions import DEFAULT as NON_FINITE
from hpo.reports.sections.confirmation import confirmation_sentences
from hpo.spec import yaml_document
from hpo.spec.models import EngineSpec, StudySpec
from hpo.trial import with_lists


@dataclass(frozen=True)
class Choice:
    """The trial to train again.

    Attributes:
        trial: The trial.
        front: With several metrics the numbers of the Pareto front.
        lineage: The segments that led to it, if it is one of a population or continues another trial.
        confirmation: How the study was confirmed, if it was; the trial is the winner's unless another was asked for.
    """

    trial: TrialRecord
    front: tuple[int, ...] = ()
    lineage: Lineage | None = None
    confirmation: Confirmation | None = None


def choose(study: StudyRecord, trial: int | None = None) -> Choice:
    """Return the best trial, or trial number `trial`, however it ended.

    Of a study that was confirmed (`hpo confirm`) it is the winner. With several metrics the best one is the trial of
    the Pareto front that is best by the first metric.

    Raises:
        StudyNotFound: If the study has no such trial.
        HpoError: If none has completed, or the given one still waits.
    """
    several = len(study.metrics) > 1
    front = pareto_front(study) if several else ()
    numbers_of_front = tuple(one.number for one in front)
    if trial is not None:
        found = next((one for one in study.trials if one.number == trial), None)
        if found is None:
            there = f"it has trials 0 to {len(study.trials) - 1}" if study.trials else "it has no trial yet"
            raise StudyNotFound(f"study '{study.name}' has no trial {trial}; {there}")
        if found.state == "WAITING":
            raise HpoError(f"trial {trial} of study '{study.name}' still waits: not all its parameters are chosen")
        return Choice(found, numbers_of_front, _lineage(study, found), confirmation_of(study))
    confirmed = confirmation_of(study)
    if confirmed is not None and confirmed.winner is not None:
        won = next((one for one in study.trials if one.number == confirmed.winner.trial), None)
        if won is not None and confirmed.study == study.name:
            return Choice(won, numbers_of_front, None, confirmed)
    best = front[0] if front else best_of(study.complete(study.metrics[0]), study.metrics[0])
    if best is None:
        raise HpoError(
            f"no trial of study '{study.name}' has completed, so there is no best one; `hpo status {study.name}` says "
            "why trials ended, --trial N takes one nevertheless"
        )
    return Choice(best, numbers_of_front, _lineage(study, best), confirmed)


def _lineage(study: StudyRecord, trial: TrialRecord) -> Lineage | None:
    return None if trial.segment is None else lineage_of(study, trial)


def alone(spec: StudySpec, trial: TrialRecord) -> dict[str, Any]:
    """Return the data of a study.yaml named `<study>-best`, whose one trial has the parameters and seed of `trial`.

    Metrics, constants, objective and engine are those of `spec`. Nothing is left to sample, to prune or to stop early.
    """
    data: dict[str, Any] = dict(spec.data())
    for key in ("fallbacks", "enqueue", "warm_start", "pruner", "sampler", "confirm"):
        data.pop(key, None)
    data |= {
        "name": f"{spec.name}-best",
        "search_space": _fixed(spec, trial),
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "red_flags": [flag.data() for flag in spec.red_flags if flag.action == WARN or flag in NON_FINITE],
        "budget": {"trials": 1},
        "engine": {**data.get("engine", {}), **_threads(spec.engine), "workers": 1},
    }
    if trial.continued is not None and trial.continued.constants:
        data["constants"] = {**spec.constants, **trial.continued.constants}
    if trial.seed is not None:
        # The study's own seed would give another trial this seed again: that of its number.
        data |= {"seed": trial.seed, "trial_seeds": [trial.seed]}
    if spec.command is not None:
        data["command"] = _command(spec, trial)
    return data


def _fixed(spec: StudySpec, trial: TrialRecord) -> dict[str, Any]:
    """Return search_space with every parameter at its value."""
    space: dict[str, Any] = {}
    lists = spec.space.lists
    for name, value in with_lists(trial.params, lists).items():
        if isinstance(value, Mapping):
            space[name] = {"simplex": dict(value)}
        elif name == spec.group_by or name in lists:
            space[name] = {"choices": [value]}
        else:
            space[name] = value
    return space


def _threads(engine: EngineSpec) -> dict[str, int]:
    """Return the threads that a worker of an engine has here: with other ones sums are rounded otherwise."""
    if engine.cpu is not None or engine.gpu == "auto" or engine.name == "ray":
        return {}
    try:
        return {"cpu": slots(engine.workers, None, engine.gpus)[0].cpu}
    except ResourceError:  # it ran on a machine with more GPUs
        return {}


def _command(spec: StudySpec, trial: TrialRecord) -> list[str | list[str]]:
    """Return the command without the optional arguments for parameters that this trial does not have.

    Nothing in the new search_space would explain their placeholders.
    """
    absent = {parameter.name for parameter in spec.space.walk()} - set(trial.params)

    def wanted(part: str | tuple[str, ...]) -> bool:
        entries = () if isinstance(part, str) else part
        return not any(name.partition(".")[0] in absent for entry in entries for name in placeholders(entry))

    kept = [part for part in spec.command or () if wanted(part)]
    return [part if isinstance(part, str) else list(part) for part in kept]


def _schedule(lineage: Lineage) -> list[str]:
    """Return comments that say with which parameters the lineage of a segment was trained before."""
    lines = [
        "# It is the last segment of a lineage: below are the parameters of that segment, and above them those that",
        "# its training had before. Trained alone from its start, the last ones need not do as well.",
    ]
    kept: dict[str, Any] = {}
    for stage in lineage.stages:
        own = {**stage.params, **(stage.trial.continued.constants if stage.trial.continued else {})}
        changed = {name: value for name, value in own.items() if kept.get(name) != value}
        said = configuration(changed) or "nothing changed"
        lines.append(f"#   steps {stage.first} to {stage.last} (trial {stage.trial.number}): {said}")
        kept = own
    return lines


def confirmed_words(choice: Choice) -> list[str]:
    """Return whether a choice is confirmed, in sentences."""
    found = choice.confirmation
    if choice.lineage is not None:
        return []
    if found is None or found.winner is None:
        begun = "" if found is None else f" ({found.trainings} of at most {found.plan.most} trainings have ended)"
        return [f"Not confirmed{begun}: `hpo confirm` trains the best ones again with fresh seeds."]
    if choice.trial.number == found.winner.trial:
        return confirmation_sentences(found)
    return [f"The confirmed winner is trial {found.winner.trial}."]


def as_yaml(spec: StudySpec, choice: Choice) -> str:
    """Return the study as YAML, with a comment on top that says where it comes from."""
    trial = choice.trial
    values = listed(f"{name} {number(value)}" for name, value in trial.values.items())
    head = [f"# Trial {trial.number} of study '{spec.name}', {trial.state}{': ' + values if values else ''}."]
    if trial.seed is not None and choice.lineage is None:
        head += [
            "# trial_seeds is that trial's own seed: on the same machine it gives the same numbers again.",
            "# --trials 5 trains it with four other seeds too, to see how much of the score is luck.",
        ]
    head += [f"# {sentence}" for sentence in confirmed_words(choice)]
    if choice.lineage is not None:
        head += _schedule(choice.lineage)
    if choice.front:
        head.append(f"# Trials that none beats in every metric: {numbers(choice.front)}.")
    return "\n".join(head) + "\n" + yaml_document.dump(alone(spec, trial))
