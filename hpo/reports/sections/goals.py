"""Sentences on the goals of a study's metrics, and on how much of its budget is used."""

from __future__ import annotations

from hpo.analysis.formatting import duration, listed, number
from hpo.analysis.goals import GoalState
from hpo.analysis.records import StudyRecord
from hpo.storage.budget import wall_seconds
from hpo.translation.catalogue import mark, tr, trn


def goal_sentence(state: GoalState) -> str:
    """Return whether a goal was reached, by how many trials of which groups, and by which first."""
    metric = state.metric
    sign = "≥" if metric.direction == "maximize" else "≤"
    goal = f"{metric.name} {sign} {metric.goal:g}"
    if not state.reached:
        return tr("Goal {goal}: not reached.", goal=goal)
    values = {"goal": goal, "first": state.trials[0], "groups": listed(state.groups)}
    if state.groups:
        return trn(
            "Goal {goal}: reached by trial {first} ({groups}).",
            "Goal {goal}: reached by {n} trials ({groups}), first by trial {first}.",
            len(state.trials), **values,
        )  # fmt: skip
    return trn(
        "Goal {goal}: reached by trial {first}.",
        "Goal {goal}: reached by {n} trials, first by trial {first}.",
        len(state.trials), **values,
    )  # fmt: skip


def budget_used(study: StudyRecord) -> str:
    """Return how much of the budget is used; empty of a study without one."""
    if study.spec is None:
        return ""
    budget = study.spec.search_budget
    spans = study.spans
    finished, gpu = str(len(study.trained)), duration(sum(span.gpu_seconds for span in spans))
    parts = [
        (study.spec.planned_trials(), finished, mark("{used} of {limit} trials")),
        (budget.hours, duration(wall_seconds(spans)), mark("{used} of {limit} hours")),
        (budget.gpu_hours, gpu, mark("{used} of {limit} GPU hours")),
    ]
    used = [tr(text, used=spent, limit=number(limit)) for limit, spent, text in parts if limit is not None]
    return listed(used)
