"""Sentences that say what the numbers of a study show: the first thing that a reader sees."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.analysis.confirmation import confirmation_of
from hpo.analysis.formatting import configuration, duration, listed, number, trials
from hpo.analysis.goals import GoalState, goal_states
from hpo.analysis.groups import GroupBest, best_per_group
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord, best_of
from hpo.analysis.statistics.anova import anova
from hpo.analysis.statistics.pairwise import pairwise
from hpo.analysis.statistics.power import ALPHA
from hpo.analysis.training.curves import best_in_last_epoch
from hpo.reports.p_values import p_relation
from hpo.reports.sections.confirmation import confirmation_sentences
from hpo.reports.sections.shared import compared, scores
from hpo.spec.models import Metric
from hpo.spec.racing import is_race
from hpo.storage.budget import wall_seconds
from hpo.translation.catalogue import mark, tr, trn

# Groups and pairs that a sentence names.
MOST_NAMED = 6


def conclusion(study: StudyRecord) -> tuple[str, ...]:
    """Return one sentence or two each on the best, the differences, the last epochs, the goals and the budget."""
    confirmed = confirmation_of(study) if study.spec is not None and is_race(study.spec) else None
    if confirmed is not None:
        found = confirmation_sentences(confirmed)[:1]
    elif not any(study.complete(metric) for metric in study.metrics):
        found = [tr("No trial has completed yet.")] if study.finished else [tr("No trial has finished yet.")]
    else:
        # Segments of a population share their past, and are ended before they are trained to their end.
        alone = [] if is_population(study) else [_differences(searched(study)), _last_epochs(study)]
        found = [_best(study), *alone, *map(goal_sentence, goal_states(study))]
    return tuple(text for text in (*found, _used(study)) if text)


def _best(study: StudyRecord) -> str:
    if len(study.metrics) > 1:
        parts = [
            tr("{metric} {value} (trial {n})", metric=metric.name, value=scores(study, metric)(best), n=best.number)
            for metric in study.metrics
            if (best := best_of(study.complete(metric), metric)) is not None
        ]
        front = trials(len(pareto_front(study)))
        return tr("Best {values}; on the Pareto front: {front}.", values=listed(parts), front=front)
    metric = study.metrics[0]
    write = scores(study, metric)
    groups = [group for group in best_per_group(study, metric) if group.best is not None]
    if study.group_by is None or len(groups) < 2:
        best = best_of(study.complete(metric), metric)
        if best is None:
            return ""
        values = {"metric": metric.name, "value": write(best), "n": best.number}
        params = configuration(best.params)
        if best.continued is not None:
            values |= {"parent": best.continued.parent, "step": best.continued.start}
            return tr(
                "Best {metric}: {value}, trial {n} ({params}), which continues {parent} from epoch {step}.",
                **values, params=params,
            )  # fmt: skip
        if best.segment is not None:
            return tr("Best {metric}: {value}, trial {n} ({params} in its last segment).", **values, params=params)
        return tr("Best {metric}: {value}, trial {n} ({params}).", **values, params=params)
    groups.sort(key=lambda group: metric.cost(group.best.values[metric.name]) if group.best else 0.0)
    named = [f"{group.group} {write(group.best)}" for group in groups[:MOST_NAMED] if group.best]
    if left := len(groups) - len(named):
        named.append(tr("{n} more", n=left))
    return tr(
        "Best {metric} of each {group}: {values}.", metric=metric.name, group=study.group_by, values=listed(named)
    )


def _differences(study: StudyRecord) -> str:
    """Return which groups differ on average by the pairwise test; nothing is said of a study without groups."""
    if study.group_by is None or len(best_per_group(study, study.metrics[0])) < 2:
        return ""
    metric = study.metrics[0]
    found = pairwise(study, metric)
    if found.why_not or not found.pairs:
        why = found.why_not or tr("too few complete trials")
        return tr("Whether {group} matters beyond noise is not tested: {why}.", group=study.group_by, why=why)
    clear = sorted((pair for pair in found.pairs if pair.p < ALPHA), key=lambda pair: pair.p)
    values = {"metric": metric.name, "method": found.method, "group": study.group_by}
    together = anova(study, metric).group_test
    if together is not None and together.found != bool(clear):
        # The section on significance says which test holds, and this must not say otherwise.
        test = {"test": together.holds, "p": p_relation(together.p)}
        values["group"] = compared(study.group_by, together)
        if together.found:
            return tr("The values of {group} differ in {metric} beyond noise ({test}, p {p}), though no two of them "
                      "do by their means ({method}).", **values, **test)  # fmt: skip
        return tr("The values of {group} do not differ in {metric} beyond noise ({test}, p {p}).",
                  **values, **test)  # fmt: skip
    if not clear:
        p = p_relation(min(pair.p for pair in found.pairs))
        if len(found.pairs) == 1:
            return tr("The difference in mean {metric} is within noise ({method}, p {p}).", **values, p=p)
        return tr(
            "No two values of {group} differ in mean {metric} beyond noise ({method}, p {p} or more).", **values, p=p
        )
    named = [_pair(metric, pair.a, pair.b, pair.difference, pair.p) for pair in clear[: MOST_NAMED // 2]]
    more = len(clear) - len(named)
    if more:
        named.append(trn("{n} more pair", "{n} more pairs", more))
    return tr("Better in mean {metric} beyond noise ({method}): {pairs}.", **values, pairs=listed(named))


def _pair(metric: Metric, a: str, b: str, difference: float, p: float) -> str:
    first, second = (a, b) if metric.cost(difference) < 0 else (b, a)
    return tr("{a} than {b} (p {p})", a=first, b=second, p=p_relation(p))


def _last_epochs(study: StudyRecord) -> str:
    """Return which of the best trials were still the better for each epoch when they ended."""
    metric = study.metrics[0]
    bests = [group for group in best_per_group(study, metric) if group.best is not None]
    late = [group for group in bests if group.best and best_in_last_epoch(study, group.best, metric)]
    if not late:
        return ""
    if len(bests) == 1:
        return tr("The best trial was best in its last epoch, so train longer.")
    return tr(
        "Best in their last epoch, so train longer: {late} of {n} best trials ({names}).",
        late=len(late), n=len(bests), names=_names(late),
    )  # fmt: skip


def _names(groups: Sequence[GroupBest]) -> str:
    shown = [group.group for group in groups[:MOST_NAMED]]
    return listed([*shown, tr("{n} more", n=left)] if (left := len(groups) - len(shown)) else shown)


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


def _used(study: StudyRecord) -> str:
    """Return how much of the budget is used."""
    if study.spec is None:
        return ""
    budget = study.spec.search_budget
    spans = study.spans
    finished, gpu = str(len(study.finished)), duration(sum(span.gpu_seconds for span in spans))
    parts = [
        (study.spec.planned_trials(), finished, mark("{used} of {limit} trials")),
        (budget.hours, duration(wall_seconds(spans)), mark("{used} of {limit} hours")),
        (budget.gpu_hours, gpu, mark("{used} of {limit} GPU hours")),
    ]
    used = [tr(text, used=spent, limit=number(limit)) for limit, spent, text in parts if limit is not None]
    return tr("Budget used: {used}.", used=listed(used)) if used else ""
