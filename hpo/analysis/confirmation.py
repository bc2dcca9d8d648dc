"""Results of a confirmation: what the best configurations of a study reach with seeds that the search never used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo import layout
from hpo.analysis.cache import cached_per_study
from hpo.analysis.evaluation_records import evaluations_of
from hpo.analysis.formatting import label
from hpo.analysis.records import StudyRecord, TrialRecord, records_of
from hpo.analysis.statistics.heats import REFERENCE, Course, Results, course
from hpo.analysis.statistics.power import ALPHA
from hpo.analysis.statistics.racing import Difference, common_skewness, compare, difference, interval
from hpo.analysis.summary_statistics import deviation, mean
from hpo.errors import HpoError
from hpo.spec.models import Metric, StudySpec
from hpo.spec.racing import CHOOSE, ESTIMATE, Part, Race, is_race, race_of
from hpo.storage.load_study import load_study
from hpo.storage.ownership import read_key

# Standing of a configuration in its race.
WINNER, TIED, WORSE, FAILED, OPEN = "winner", "tied", "worse", "failed", "open"
# The winner beside the reference.
BETTER, NOT_SHOWN, NO_BETTER = "better", "not shown", "no better"


@dataclass(frozen=True)
class Trained:
    """Trainings of a configuration with the seeds of one part.

    Attributes:
        n: number of those that completed.
        mean: their mean; None without any.
        deviation: their standard deviation; None for fewer than 2.
        low: lower end of the 95 % interval of the mean (`interval`); None for fewer than 2.
        high: upper end of that interval.
    """

    n: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was trained again.

    Attributes:
        trial: its trial in the search.
        group: its value of `group_by`; empty without one.
        params: its parameters, by the objective's names.
        reference: it is the one that the search began from.
        standing: WINNER (of its race), TIED with the winner, WORSE, FAILED, or OPEN while that is not decided.
        choosing: its trainings with the seeds that choose. Of the winner they are too good, for they chose it.
        estimating: its trainings with further seeds; None of a configuration that has none.
        selected: its value in the search, for which it was chosen; None if it did not complete there.
        against: its difference to the winner of its race; None of the winner, and without a comparison.
        test: mean and number of held-out scores of the trainings with further seeds, by name.
        failures: number of its trainings that failed.
    """

    trial: int
    group: str
    params: Mapping[str, Any]
    reference: bool
    standing: str
    choosing: Trained
    estimating: Trained | None
    selected: float | None
    against: Difference | None
    test: Mapping[str, tuple[float, int]]
    failures: int

    @property
    def now(self) -> Trained:
        """Return what says best how good it is: its trainings with further seeds, if it has any."""
        return self.estimating or self.choosing


@dataclass(frozen=True)
class Confirmation:
    """A confirmation of a study.

    Attributes:
        name: name of the study that confirms.
        study: name of the study that is confirmed.
        metric: the metric, the first one of the study.
        plan: what was planned.
        done: nothing is left to train.
        trainings: number of those that have ended.
        configurations: in the order planned, the reference first.
        winner: the best one, trained with all seeds; None while that is open.
        verdict: the winner beside the reference: BETTER, NOT_SHOWN or NO_BETTER; empty while that is open.
        gain: reference less winner, in costs; None if they were not compared.
        groups: differences of the winners of the groups to the best of them, by group, in costs.
    """

    name: str
    study: str
    metric: Metric
    plan: Race
    done: bool
    trainings: int
    configurations: tuple[Confirmed, ...]
    winner: Confirmed | None
    verdict: str
    gain: Difference | None
    groups: Mapping[str, Difference]

    @property
    def tied(self) -> tuple[Confirmed, ...]:
        """The configurations that cannot be told from the winner, of those that raced with it."""
        heats = [{self.configurations[i].trial for i in heat} for heat in self.plan.heats]
        own = next((heat for heat in heats if self.winner is not None and self.winner.trial in heat), set())
        return tuple(one for one in self.configurations if one.standing == TIED and one.trial in own)


def own_race(study: StudyRecord) -> Race | None:
    """Return the race of a study that confirms another one; None of any other study."""
    return race_of(study.spec) if study.spec is not None and is_race(study.spec) else None


@cached_per_study
def confirmation_of(study: StudyRecord) -> Confirmation | None:
    """Return how a study was confirmed, or of a study that confirms its own result; None without a confirmation."""
    if study.spec is None:
        return None
    runs = study.directory.parent
    if (plan := own_race(study)) is not None:
        return _confirmation(study, study.spec, _record(runs / plan.study, plan.key))
    folder = runs / layout.confirmation_name(study.name)
    record = _record(folder, None)
    if record is None or record.spec is None or (plan := own_race(record)) is None:
        return None
    if (plan.study, plan.key) != (study.name, read_key(study.directory)):
        return None  # of another study that had this name
    return _confirmation(record, record.spec, study)


def _record(folder: Any, key: str | None) -> StudyRecord | None:
    """Return the records of the study in a folder, if it is there and has this key (None: any)."""
    if not (folder / layout.SPEC).exists() or (key is not None and read_key(folder) != key):
        return None
    try:
        spec, stored = load_study(folder.parent, folder.name)
        return records_of(stored, spec, folder, histories=False)
    except HpoError:
        return None


def _confirmation(study: StudyRecord, spec: StudySpec, search: StudyRecord | None) -> Confirmation:
    metric, plan = study.metrics[0], race_of(spec)
    results, trained = Results(), dict[tuple[int, Part], list[TrialRecord]]()
    latest = {trial.training: trial for trial in study.trials if trial.training is not None and not trial.requeued}
    for training, trial in latest.items():
        if training is not None and trial.finished:
            complete = trial.completed(metric)
            results.add(training, metric.cost(trial.values[metric.name]) if complete else math.nan)
            trained.setdefault((training.configuration, training.part), []).append(trial)
    now = course(plan, results)
    skewness = common_skewness(_values(trials, metric) for trials in trained.values())
    made = tuple(
        _confirmed(index, spec, metric, skewness, plan, now, results, trained, search, study)
        for index in range(len(plan.trials))
    )
    ended = sum(map(len, trained.values()))
    winner = made[now.winner] if now.winner is not None and not now.due else None
    gain = _gain(plan, now, results) if winner is not None else None
    verdict = ""
    if winner is not None:
        left_behind = made[REFERENCE].standing in (WORSE, FAILED)
        better = left_behind or (gain is not None and gain.low > 0)
        worse = winner.reference or (gain is not None and gain.mean <= 0)
        verdict = BETTER if better else NO_BETTER if worse else NOT_SHOWN
    groups = _groups(plan, now, results, made) if winner is not None else {}
    return Confirmation(study.name, plan.study, metric, plan, not now.due, ended, made, winner, verdict, gain, groups)


def _confirmed(
    index: int,
    spec: StudySpec,
    metric: Metric,
    skewness: float,
    plan: Race,
    now: Course,
    results: Results,
    trained: Mapping[tuple[int, Part], list[TrialRecord]],
    search: StudyRecord | None,
    study: StudyRecord,
) -> Confirmed:
    number = next(k for k, heat in enumerate(plan.heats) if index in heat)
    heat, standing, winner = plan.heats[number], now.standings[number], now.winners[number]
    own = heat.index(index)
    again = trained.get((index, ESTIMATE), [])
    against = None
    if winner is not None and winner != index:
        costs = [results.choosing.get(i, {}) for i in heat]
        against = compare(costs, standing, own, heat.index(winner))
    if own in standing.failed:
        state = FAILED
    elif own in standing.worse:
        state = WORSE
    elif winner is None:
        state = OPEN
    else:
        state = WINNER if winner == index else TIED
    before = None if search is None else next((t for t in search.trials if t.number == plan.trials[index]), None)
    params = spec.enqueue[index]
    return Confirmed(
        trial=plan.trials[index],
        group=label(params[spec.group_by]) if spec.group_by in params else "",
        params=params,
        reference=index == REFERENCE,
        standing=state,
        choosing=_trained(_values(trained.get((index, CHOOSE), []), metric), skewness),
        estimating=_trained(_values(again, metric), skewness) if again else None,
        selected=before.values[metric.name] if before is not None and before.completed(metric) else None,
        against=against,
        test=_test(study, again),
        failures=sum(not trial.completed(metric) for p in (CHOOSE, ESTIMATE) for trial in trained.get((index, p), [])),
    )


def _values(trials: list[TrialRecord], metric: Metric) -> list[float]:
    return [trial.values[metric.name] for trial in trials if trial.completed(metric)]


def _trained(values: list[float], skewness: float) -> Trained:
    low, high = interval(values, skewness) or (None, None)
    return Trained(len(values), mean(values) if values else None, deviation(values), low, high)


def _test(study: StudyRecord, trials: list[TrialRecord]) -> dict[str, tuple[float, int]]:
    """Return the mean held-out scores of trials on the study's own test split, and their numbers, by name."""
    scores: dict[str, list[float]] = {}
    numbers = {trial.number for trial in trials}
    for trial, evaluations in evaluations_of(study):
        own = [one for one in evaluations if one.data is None]
        for name, score in own[-1].scores.items() if own and trial.number in numbers else ():
            if score.value is not None:
                scores.setdefault(name, []).append(score.value)
    return {name: (mean(values), len(values)) for name, values in scores.items()}


def _gain(plan: Race, now: Course, results: Results) -> Difference | None:
    """Return reference less winner: over seeds that chose neither, or those of the race that left the reference."""
    winner = now.winner
    if winner is None or winner == REFERENCE:
        return None
    if REFERENCE in results.estimating:
        return _paired([REFERENCE, winner], REFERENCE, winner, results, 2)
    for heat, standing in zip(plan.heats, now.standings, strict=True):
        if REFERENCE in heat and winner in heat:
            costs = [results.choosing.get(i, {}) for i in heat]
            return compare(costs, standing, heat.index(REFERENCE), heat.index(winner))
    return None


def _groups(plan: Race, now: Course, results: Results, made: tuple[Confirmed, ...]) -> dict[str, Difference]:
    """Return the differences of the winners of the heats to the best, over the seeds that estimate."""
    winners = [one for one in now.winners if one is not None]
    if len(winners) < 2 or now.winner is None:
        return {}
    found = {}
    for one in winners:
        pair = None if one == now.winner else _paired(winners, one, now.winner, results, len(winners))
        if pair is not None:
            found[made[one].group] = pair
    return found


def _paired(members: list[int], one: int, winner: int, results: Results, configurations: int) -> Difference | None:
    """Return the difference of two configurations over the seeds that estimate and all members completed."""
    import numpy as np

    costs = {i: results.estimating.get(i, {}) for i in members}
    shared = [seed for seed in costs[winner] if all(math.isfinite(costs[i].get(seed, math.nan)) for i in members)]
    table = np.array([[costs[i][seed] for seed in shared] for i in members])
    rows = table[members.index(one)], table[members.index(winner)]
    return difference(table, *rows, configurations=configurations)


def significant(found: Difference) -> bool:
    """Return True if the difference is one beyond noise."""
    return found.p < ALPHA
