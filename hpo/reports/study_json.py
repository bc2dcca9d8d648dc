"""Content of `report.json`: what the report of a study says, for programs.

Names are those of the dataclasses in `hpo.analysis`. Numbers are not rounded. Texts are English. `format` counts up
when a name changes its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from typing import Any

import hpo
from hpo.analysis.comparison import Comparison, comparison
from hpo.analysis.confirmation import confirmation_of
from hpo.analysis.effects import Effect, Effects, GroupEffect, effects
from hpo.analysis.ensemble_records import ensembles_of
from hpo.analysis.evaluation_records import evaluations_of
from hpo.analysis.failures import Cause, causes_of
from hpo.analysis.goals import goal_states
from hpo.analysis.groups import best_per_group
from hpo.analysis.heatmaps import heatmaps
from hpo.analysis.importance import importance
from hpo.analysis.lineages import Lineage, is_population, population, searched
from hpo.analysis.notices import notices_of
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.red_flag_regions import enrichments
from hpo.analysis.red_flags import FlagCount, flag_counts
from hpo.analysis.stability import Stabilities, stabilities
from hpo.analysis.statistics.anova import anova
from hpo.analysis.statistics.pairwise import pairwise
from hpo.analysis.training.curves import best_in_last_epoch, epochs_to_best
from hpo.analysis.training.verdict import verdict_of
from hpo.analysis.warm_start import warm_trials
from hpo.reports.sections.focal import focal_trainings
from hpo.reports.sections.found import findings
from hpo.reports.sections.ghm import ghm_trainings
from hpo.reports.to_json import Each
from hpo.spec.models import Metric

FORMAT = 1


def json_header(kind: str) -> dict[str, Any]:
    """Return the keys that every JSON file of a report begins with."""
    return {"kind": kind, "format": FORMAT, "hpo": hpo.__version__, "written": datetime.now().astimezone().isoformat()}


def study_data(study: StudyRecord) -> dict[str, Any]:
    """Return the content of `report.json` as dataclasses, mappings and numbers."""
    return json_header("study") | {
        "study": study.name,
        "metrics": study.metrics,
        "group_by": study.group_by,
        "found": findings(study),
        "setup": _setup(study),
        "counts": {state.lower(): len(study.in_state(state)) for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")},
        "goals": goal_states(study),
        "pareto_front": [trial.number for trial in pareto_front(study)],
        "confirmation": confirmation_of(study),
        "by_metric": {metric.name: _by_metric(study, metric) for metric in study.metrics},
        "stability": _stabilities(stabilities(study, study.metrics[0])),
        "failures": [_cause(cause) for cause in causes_of(study)],
        "notices": notices_of(study),
        "source_changes": study.changes,
        "red_flags": [_flag(count) for count in flag_counts(study)],
        "diseases": enrichments(study),
        "warm_start": warm_trials(study),
        "population": _population(study),
        "ghm": _recorded(ghm_trainings(study)),
        "focal": _recorded(focal_trainings(study)),
        "evaluations": [replace(one, examples=()) for _, evaluations in evaluations_of(study) for one in evaluations],
        "ensembles": ensembles_of(study),
        "trials": Each(partial(_trial, study), study.trials),
    }


def _setup(study: StudyRecord) -> dict[str, Any]:
    """Return what was decided about the study, without its search space."""
    spec = study.spec
    if spec is None:
        return {}
    return {
        "objective": spec.objective_ref().label,
        "sampler": {"name": spec.sampler.name, "options": spec.sampler.options, "proposed": study.samplers},
        "pruner": {"name": spec.pruner.name, "options": spec.pruner.options},
        "budget": spec.budget.model_dump(),
        "constants": spec.constants,
        "seed": spec.seed,
    }


def _by_metric(study: StudyRecord, metric: Metric) -> dict[str, Any]:
    if is_population(study):  # the rest compares trials that were trained alone
        return {"best": best_per_group(study, metric)}
    alone = searched(study)
    found = importance(alone, metric)
    ranking = tuple(name for name, _ in found.shares)
    return {
        "best": best_per_group(study, metric),
        "best_in_last_epoch": [
            group.best.number
            for group in best_per_group(study, metric)
            if group.best is not None and best_in_last_epoch(study, group.best, metric)
        ],
        "comparison": _comparison(comparison(alone, metric)),
        "heatmaps": heatmaps(alone, metric, ranking),
        "effects": _effects(effects(alone, metric, ranking)),
        "anova": anova(alone, metric),
        "pairwise": pairwise(alone, metric) if study.group_by is not None else None,
        "importance": found,
    }


# Of very many trials the cells of a figure stand in place of its dots, which are in `trials` too.


def _comparison(data: Comparison) -> Any:
    cells = zip(data.groups, data.densities(), strict=False)
    groups = [_fields(group) | {"finals": own} for group, own in cells]
    return _fields(data) | {"groups": groups} if groups else data


def _effects(data: Effects) -> Any:
    return _fields(data) | {
        "shown": [_fields(one) | {"groups": [_effect(one, own) for own in one.groups]} for one in data.shown]
    }


def _effect(effect: Effect, own: GroupEffect) -> Any:
    many = effect.density(own)
    return own if many is None else _fields(own) | {"dots": many}


def _stabilities(data: Stabilities) -> Any:
    cells = zip(data.groups, data.densities(), strict=False)
    groups = [_fields(group) | {"dots": own} for group, own in cells]
    return _fields(data) | {"groups": groups} if groups else data


def _fields(data: Any) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in fields(data)}


def _population(study: StudyRecord) -> dict[str, Any] | None:
    """Return the lineages of a population by the numbers of their trials; None without one."""
    if not is_population(study):
        return None
    found = population(study)
    return {
        "winner": None if found.winner is None else _numbers(found.winner),
        "members": {lineage.member: _numbers(lineage) for lineage in found.survivors},
        "changed": found.parameters,
    }


def _numbers(lineage: Lineage) -> list[int]:
    return [stage.trial.number for stage in lineage.stages]


def _recorded(found: Sequence[tuple[str, TrialRecord, Any]]) -> list[dict[str, Any]]:
    return [{"group": group, "trial": trial, "recorded": data} for group, trial, data in found]


def _cause(cause: Cause) -> dict[str, Any]:
    return {"state": cause.state, "cause": cause.cause, "flag": cause.flag, "trials": cause.trials}


def _flag(count: FlagCount) -> dict[str, Any]:
    return {
        "flag": count.name,
        "stopped": [one.trial for one in count.stopped],
        "warned": [one.trial for one in count.warned],
        "epochs": count.epochs,
        "saved": count.saved,
    }


def _trial(study: StudyRecord, trial: TrialRecord) -> dict[str, Any]:
    found = epochs_to_best(study, trial, study.metrics[0])
    return {
        "number": trial.number,
        "state": trial.state,
        "requeued": trial.requeued,
        "params": trial.params,
        "values": trial.values,
        "seed": trial.seed,
        "cause": trial.cause,
        "reason": trial.reason,
        "flag": trial.flag,
        "flags": trial.flags,
        "warm": trial.warm,
        "segment": trial.segment,
        "imported": trial.imported,
        "started": trial.started,
        "seconds": trial.seconds,
        "epochs": trial.steps,
        "verdict": verdict_of(study, trial) if trial.finished and trial.history else None,
        "epochs_to_best": None if found is None else found[0],
    }
