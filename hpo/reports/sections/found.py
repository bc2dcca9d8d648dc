"""Section of what was found: at most seven sentences, each with the section that shows it.

Many studies are run, and readers act on these sentences: what is said to be beyond noise has a p below CLEAR. A
difference at the usual 0.05, or of trials that an adaptive sampler chose, is said to be a hint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpo.analysis.confirmation import confirmation_of, own_race
from hpo.analysis.failures import causes_of
from hpo.analysis.formatting import configuration, duration, label, listed, number, rounded_percent, trials
from hpo.analysis.goals import GoalState, goal_states
from hpo.analysis.groups import Group, GroupBest, best_per_group, groups_of
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.outlook import outlook
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord, best_of
from hpo.analysis.statistics.anova import adaptive_sampler, anova
from hpo.analysis.statistics.pairwise import Pair, pairwise
from hpo.analysis.statistics.power import ALPHA
from hpo.analysis.training.curves import best_in_last_epoch
from hpo.analysis.trends import CLEAR, ParameterTrend, parameter_trends
from hpo.reports.blocks import Cell, Facts, Finding, Findings, Section
from hpo.reports.p_values import p_relation
from hpo.reports.sections.confirmation import confirmation_sentences, confirmed_value
from hpo.reports.sections.next_command import next_command
from hpo.reports.sections.shared import compared, scores
from hpo.reports.sections.trends import place_text, wider_text
from hpo.spec.models import Metric
from hpo.storage.budget import wall_seconds
from hpo.translation.catalogue import tr, trn

MOST_NAMED = 6  # groups, pairs and causes in a sentence
MOST_CONFIGURED = 3  # groups whose configuration is in it
BEST, CONFIRMED, DIFFERENCE, PARAMETERS = "best", "confirmed", "difference", "parameters"
ENDED, EPOCHS, OUTLOOK, NEXT = "ended", "epochs", "outlook", "next"
MOST, SHORT = 7, 3  # of them, and at the end of a run


def found_section(study: StudyRecord) -> Section:
    """Return the few numbers that a reader looks for first, and what was found."""
    headline: list[tuple[str, Cell]] = []
    race = own_race(study) is not None  # whose best training is that with the luckiest seed
    if len(study.metrics) == 1 and not race:
        metric = study.metrics[0]
        best = best_of(study.complete(metric), metric)
        if best is not None:
            headline.append((tr("best {metric}", metric=metric.name), scores(study, metric)(best)))
            headline.append((tr("in trial"), str(best.number)))
    elif not race:
        headline.append((tr("on the Pareto front"), trials(len(pareto_front(study)))))
    confirmed = confirmation_of(study)
    if confirmed is not None and (value := confirmed_value(confirmed)):
        headline.append((tr("confirmed"), value))
    headline.append((tr("finished"), trials(len(study.trained))))
    if study.imported:
        headline.append((tr("imported"), trials(len(study.imported))))
    if spans := study.spans:
        headline.append((tr("wall time"), duration(wall_seconds(spans))))
    return Section(tr("What was found"), "found", [Facts(tuple(headline), headline=True), Findings(findings(study))])


def findings(study: StudyRecord) -> tuple[Finding, ...]:
    """Return what was found in a study: at most MOST sentences, one of each kind, in the current language."""
    made = [finding for finding in _findings(study) if finding.text]
    return tuple(finding for finding in made if len(made) <= MOST or finding.kind != EPOCHS)


def short_findings(study: StudyRecord) -> tuple[Finding, ...]:
    """Return the SHORT of them that say most to whoever has just seen the best trials, in their order."""
    made = findings(study)
    order: tuple[str, ...] = (NEXT, CONFIRMED, DIFFERENCE, PARAMETERS, OUTLOOK, ENDED, EPOCHS, BEST)
    if any(not group.in_state("COMPLETE") for group in groups_of(study)):
        order = (NEXT, ENDED, *order)
    kept = sorted(made, key=lambda finding: order.index(finding.kind))[:SHORT]
    return tuple(finding for finding in made if finding in kept)


def _findings(study: StudyRecord) -> Iterator[Finding]:
    confirmed = confirmation_of(study)
    race = own_race(study) is not None  # whose best training is that with the luckiest seed
    if not any(study.complete(metric) for metric in study.metrics):
        text = tr("No trial has completed yet.") if study.finished else tr("No trial has finished yet.")
        yield Finding(BEST, text, "best")
    elif not race:
        yield Finding(BEST, _best(study), "best" if len(study.metrics) == 1 else "pareto")
    if confirmed is not None:
        yield Finding(CONFIRMED, confirmation_sentences(confirmed)[0], "confirmation")
    # Segments of a population share their past, and are ended before they are trained to their end.
    apart = not race and not is_population(study) and bool(study.complete(study.metrics[0]))
    alone = searched(study)
    if apart:
        yield _difference(alone)
        yield _parameters(alone)
    yield Finding(ENDED, _ended(study), "failures")
    if apart:
        yield Finding(EPOCHS, _last_epochs(study), "curves")
        yield _outlook(alone)
    yield next_command(study)


# --- the best


def _best(study: StudyRecord) -> str:
    goals = listed(map(_goal, goal_states(study)))
    said = _best_trials(study)
    return tr("{finding}; {goals}.", finding=said, goals=goals) if goals else tr("{finding}.", finding=said)


def _goal(state: GoalState) -> str:
    sign = "≥" if state.metric.direction == "maximize" else "≤"
    goal = f"{state.metric.name} {sign} {state.metric.goal:g}"
    if not state.reached:
        return tr("goal {goal} not reached", goal=goal)
    return trn("goal {goal} reached by {n} trial", "goal {goal} reached by {n} trials", len(state.trials), goal=goal)


def _best_trials(study: StudyRecord) -> str:
    if len(study.metrics) > 1:
        parts = [
            tr("{metric} {value} (trial {n})", metric=metric.name, value=scores(study, metric)(best), n=best.number)
            for metric in study.metrics
            if (best := best_of(study.complete(metric), metric)) is not None
        ]
        front = trials(len(pareto_front(study)))
        return tr("Best {values}; on the Pareto front: {front}", values=listed(parts), front=front)
    metric = study.metrics[0]
    write = scores(study, metric)
    groups = [group for group in best_per_group(study, metric) if group.best is not None]
    groups.sort(key=lambda group: metric.cost(group.best.values[metric.name]) if group.best else 0.0)
    if study.group_by is None or len(groups) < 2:
        best = groups[0].best
        if best is None:
            return ""
        values = {"metric": metric.name, "value": write(best), "n": best.number}
        params = configuration(best.params)
        if best.continued is not None:
            values |= {"parent": best.continued.parent, "step": best.continued.start}
            return tr("Best {metric}: {value}, trial {n} ({params}), which continues {parent} from epoch {step}",
                      **values, params=params)  # fmt: skip
        if best.segment is not None:
            return tr("Best {metric}: {value}, trial {n} ({params} in its last segment)", **values, params=params)
        return tr("Best {metric}: {value}, trial {n} ({params})", **values, params=params)
    named = []
    for group in groups[:MOST_NAMED]:
        if group.best is None:
            continue
        values = {"group": group.group, "value": write(group.best), "n": group.best.number}
        if len(groups) > MOST_CONFIGURED:
            named.append(tr("{group} {value} (trial {n})", **values))
        else:
            params = configuration(group.best.params, without=[study.group_by])
            named.append(tr("{group} {value} (trial {n}: {params})", **values, params=params))
    if left := len(groups) - len(named):
        named.append(tr("{n} more", n=left))
    return tr("Best {metric} of each {group}: {values}", metric=metric.name, group=study.group_by, values=listed(named))


# --- the difference between groups


def _difference(study: StudyRecord) -> Finding:
    """Return which groups differ on average by the chosen test; nothing is said of a study without groups."""
    metric = study.metrics[0]
    if study.group_by is None or len(best_per_group(study, metric)) < 2:
        return Finding(DIFFERENCE, "", "significance")
    found, together = pairwise(study, metric), anova(study, metric).group_test
    data = {"metric": metric.name, "pairs": found.pairs, "method": found.method, "group_test": together}
    return Finding(DIFFERENCE, _differ(study, metric, study.group_by), "significance", data=data)


def _differ(study: StudyRecord, metric: Metric, group_by: str) -> str:
    found, together = pairwise(study, metric), anova(study, metric).group_test
    if found.why_not or not found.pairs:
        why = found.why_not or tr("too few complete trials")
        return tr("Whether {group} matters beyond noise is not tested: {why}.", group=group_by, why=why)
    counts = {group.group: group.complete for group in best_per_group(study, metric) if group.complete}
    values = {"metric": metric.name, "method": found.method, "group": group_by,
              "n": listed(f"{name} {n}" for name, n in counts.items())}  # fmt: skip
    hint = _hint(study)
    differ = sorted((pair for pair in found.pairs if pair.p < ALPHA), key=lambda pair: pair.p)
    if together is not None and together.found != bool(differ):
        # The section on significance says which test holds, and this must not say otherwise.
        values |= {"group": compared(group_by, together), "test": together.holds, "p": p_relation(together.p)}
        if not together.found:
            return tr("The values of {group} cannot be told apart in {metric} ({test}, p {p}; n: {n}).", **values)
        if hint or together.p >= CLEAR:
            return tr("The values of {group} may differ in {metric} ({test}, p {p}; n: {n}), a hint and no proof.",
                      **values)  # fmt: skip
        return tr("The values of {group} differ in {metric} beyond noise ({test}, p {p}; n: {n}), though no two of "
                  "them do by their means ({method}).", **values)  # fmt: skip
    if not differ:
        values["p"] = p_relation(min(pair.p for pair in found.pairs))
        if len(found.pairs) == 1:
            return tr("The difference in mean {metric} cannot be told from noise ({method}, p {p}; n: {n}).", **values)
        return tr("No two values of {group} can be told apart in mean {metric} ({method}, p {p} or more; n: {n}).",
                  **values)  # fmt: skip
    clear = [pair for pair in differ if pair.p < CLEAR]
    if hint or not clear or (together is not None and together.p >= CLEAR):
        hint = hint or tr("p is not below {level}", level=CLEAR)
        return tr("Perhaps better in mean {metric} ({method}; n: {n}): {pairs}; a hint and no proof, since {hint}.",
                  **values, pairs=_pairs(metric, differ), hint=hint)  # fmt: skip
    return tr("Better in mean {metric} beyond noise ({method}; n: {n}): {pairs}.",
              **values, pairs=_pairs(metric, clear))  # fmt: skip


def _pairs(metric: Metric, pairs: Sequence[Pair]) -> str:
    named = [_pair(metric, pair) for pair in pairs[: MOST_NAMED // 2]]
    if more := len(pairs) - len(named):
        named.append(trn("{n} more pair", "{n} more pairs", more))
    return listed(named)


def _pair(metric: Metric, pair: Pair) -> str:
    first, second = (pair.a, pair.b) if metric.cost(pair.difference) < 0 else (pair.b, pair.a)
    return tr("{a} than {b} (p {p})", a=first, b=second, p=p_relation(pair.p))


def _hint(study: StudyRecord) -> str:
    """Return why a p is a hint only; empty if it is none."""
    sampler = adaptive_sampler(study)
    return tr("{sampler} chose trials by earlier results", sampler=sampler) if sampler else ""


# --- parameters


def _parameters(study: StudyRecord) -> Finding:
    """Return which parameters matter, where they are best, and a wider range of those that are best at an edge."""
    metric = study.metrics[0]
    found = parameter_trends(study, metric)
    n, hint = len(study.complete(metric)), _hint(study)
    values = {"metric": metric.name, "n": n}
    matter = [one for one in found if one.matters]
    data = {"metric": metric.name, "n": n, "parameters": found}
    if not found:
        text = tr("Which parameters matter is not tested: too few complete trials (n = {n}).", **values)
        if all(parameter.name == study.group_by for parameter in study.space.walk()):
            text = ""
    elif not matter:
        text = tr("Of no parameter is it shown that it matters for {metric} (n = {n}).", **values)
    else:
        names = listed(_matters(study, metric, one) for one in matter)
        wide = listed(
            tr("{name} to {values}", name=one.name, values=wider_text(one.wider)) for one in matter if one.wider
        )
        if hint:
            text = tr("Seem to matter for {metric} (n = {n}; a hint, since {hint}): {names}{wide}.",
                      **values, hint=hint, names=names,
                      wide=wide and tr("; perhaps widen {wide}", wide=wide))  # fmt: skip
        else:
            text = tr("Matter for {metric} beyond noise (n = {n}): {names}{wide}.",
                      **values, names=names, wide=wide and tr("; widen {wide}", wide=wide))  # fmt: skip
    return Finding(PARAMETERS, text, "effects", data=data)


def _matters(study: StudyRecord, metric: Metric, one: ParameterTrend) -> str:
    place = place_text(one)
    best = best_of(study.complete(metric), metric)
    if one.place == "inside" and best is not None and one.name in best.params:
        place = tr("{place}, {value} in the best trial", place=place, value=label(best.params[one.name]))
    return tr("{name} ({place})", name=one.name, place=place) if place else one.name


# --- what ended early


def _ended(study: StudyRecord) -> str:
    """Return what trials ended of before they completed, and the groups that have no complete trial for it."""
    causes = [cause for cause in causes_of(study) if not cause.requeued]
    dead = [group for group in groups_of(study) if study.group_by and not group.in_state("COMPLETE")]
    if not causes and not dead:
        return ""
    parts = []
    if causes:
        named = [f"{cause.name} {len(cause.trials)}" for cause in causes[:MOST_NAMED]]
        if left := len(causes) - len(named):
            named.append(tr("{n} more", n=left))
        early = sum(len(cause.trials) for cause in causes)
        parts.append(trn("Of {n} finished trial {early} did not complete ({causes})",
                         "Of {n} finished trials {early} did not complete ({causes})",
                         len(study.finished), early=early, causes=listed(named)))  # fmt: skip
    if dead and any(study.finished):
        names = listed([*(_dead(group) for group in dead[:MOST_NAMED]), *_more(len(dead) - MOST_NAMED)])
        without = tr("without a complete trial: {groups}", groups=names)
        parts.append(without if parts else tr("Without a complete trial: {groups}", groups=names))
    return tr("{finding}.", finding=tr("; ").join(parts)) if parts else ""


def _more(n: int) -> Iterator[str]:
    if n > 0:
        yield tr("{n} more", n=n)


def _dead(group: Group) -> str:
    if not group.trials:
        return tr("{group} (not tried)", group=group.label)
    return tr("{group} ({trials})", group=group.label, trials=trials(len(group.trials)))


# --- the budget


def _last_epochs(study: StudyRecord) -> str:
    """Return which of the best trials were still the better for each epoch when they ended."""
    metric = study.metrics[0]
    bests = [group for group in best_per_group(study, metric) if group.best is not None]
    late = [group for group in bests if group.best and best_in_last_epoch(study, group.best, metric)]
    if not late:
        return ""
    if len(bests) == 1:
        return tr("The best trial was best in its last epoch, so more epochs may help.")
    return tr("Best in their last epoch, so more epochs may help: {late} of {n} best trials ({names}).",
              late=len(late), n=len(bests), names=_names(late))  # fmt: skip


def _names(groups: Sequence[GroupBest]) -> str:
    return listed([*(group.group for group in groups[:MOST_NAMED]), *_more(len(groups) - MOST_NAMED)])


def _outlook(study: StudyRecord) -> Finding:
    return Finding(OUTLOOK, outlook_text(study, study.metrics[0]), "history", data=outlook(study, study.metrics[0]))


def outlook_text(study: StudyRecord, metric: Metric) -> str:
    """Return what the next trials are expected to bring."""
    found = outlook(study, metric)
    values = {
        "metric": metric.name,
        "ahead": found.ahead,
        "n": found.like,
        "chance": rounded_percent(found.chance),
        "best": found.best,
        "since": trials(found.since),
    }
    if found.gain is None or found.most is None:
        if found.tried_all:
            return tr("More trials would bring nothing new: {why}.", why=found.why_not)
        return tr("{ahead} more trials, drawn like the last {n}, would bring a new best with a probability of "
                  "{chance}; by how much is not estimated ({why}).", **values, why=found.why_not)  # fmt: skip
    values |= {"gain": number(found.gain, 2), "most": number(found.most, 2)}
    if found.little:
        return tr("The trials were enough: {ahead} more, drawn like the last {n}, would be expected to improve "
                  "{metric} by {gain} (95 % interval 0 to {most}), with a new best in {chance} of cases; the best is "
                  "trial {best}, followed by {since}.", **values)  # fmt: skip
    return tr("More trials may still help: {ahead} more, drawn like the last {n}, would be expected to improve "
              "{metric} by {gain} (95 % interval 0 to {most}), with a new best in {chance} of cases; the best is "
              "trial {best}, followed by {since}.", **values)  # fmt: skip
