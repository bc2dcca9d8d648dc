"""Section on the best configuration of each group."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime

from hpo.analysis.confirmation import confirmation_of
from hpo.analysis.formatting import configuration, decimals, duration, number, score
from hpo.analysis.goals import goal_states
from hpo.analysis.groups import best_per_group
from hpo.analysis.lineages import is_population
from hpo.analysis.ranking import repeats
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.stability import loss_series, stability_of
from hpo.analysis.summary_statistics import spread
from hpo.analysis.training.curves import epochs_to_best
from hpo.analysis.training.training_log import log_of
from hpo.reports.blocks import Block, Cell, Section, Table, Text
from hpo.reports.sections.goals import goal_sentence
from hpo.reports.sections.incomplete_groups import incomplete_groups
from hpo.reports.sections.recorded import trial_name
from hpo.reports.sections.shared import scores
from hpo.reports.sections.stability import stability_text
from hpo.spec.models import Metric
from hpo.translation.catalogue import moment, sentences, tr, whole

# Trials that the table of all metrics compares.
MOST_TRIALS = 8
# The number of weights of a network, as an objective returns or reports it.
SIZE = "n_parameters"
# Returned by the built-in tasks, and shown by other names.
COUNTS = (SIZE, "epochs", "training_seconds")


def best_section(study: StudyRecord) -> Section:
    """Return the best trial of each group by each metric, as tables."""
    blocks: list[Block] = []
    if not any(study.complete(metric) for metric in study.metrics):
        blocks.append(Text(tr("No trial has completed yet, so there is no best configuration.")))
    else:
        for metric in study.metrics:
            if len(study.metrics) > 1:
                blocks.append(Text(_alone(metric)))
            blocks.append(_best_table(study, metric))
        blocks += [Text(goal_sentence(state)) for state in goal_states(study)]
        blocks += incomplete_groups(study)
        blocks += [Text(_noise(study)), Text(tr("All that the best trials returned:")), _finals(study)]
    title = tr("Best configuration")
    if study.group_by:
        title = tr("Best configuration of each {group}", group=study.group_by)
    return Section(title, "best", blocks)


def _alone(metric: Metric) -> str:
    if metric.direction == "maximize":
        return tr("By {metric} alone (maximize):", metric=metric.name)
    return tr("By {metric} alone (minimize):", metric=metric.name)


def best_rows(study: StudyRecord, metric: Metric) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each group: its name, the score, the trial, the configuration, and more."""
    write = scores(study, metric)
    rows: list[tuple[Cell, ...]] = []
    for group in best_per_group(study, metric):
        tried = f"{group.complete} / {group.pruned} / {group.failed}"
        if group.best is None:
            rows.append((group.group, "—", "—", tr("no complete trial"), "—", "—", "—", tried))
        else:
            best = group.best
            rows.append(
                (
                    group.group,
                    write(best),
                    str(best.number),
                    configuration(best.params, without=[study.group_by]),
                    duration(best.seconds),
                    _epochs(study, best, metric),
                    stability_text(stability_of(study, best)),
                    tried,
                )
            )
    return tuple(rows)


def _best_table(study: StudyRecord, metric: Metric) -> Table:
    columns = (
        study.group_by or tr("trials"),
        metric.name,
        tr("trial"),
        tr("configuration"),
        tr("time"),
        tr("epochs to best"),
        tr("stability"),
        tr("complete / pruned / failed"),
    )
    note = [
        tr("epochs to best: the epoch with the best reported {metric}, of all epochs of the trial.", metric=metric.name)
    ]
    why_not = loss_series(study).why_not
    if is_population(study):
        note.append(tr("epochs and stability are those of the whole lineage."))
    elif why_not:
        note.append(tr("stability: see Training stability; not shown: {why}.", why=why_not))
    else:
        note.append(tr("stability: see Training stability."))
    return Table(columns, best_rows(study, metric), frozenset({1, 2, 4, 5, 6, 7}), sentences(note))


def _noise(study: StudyRecord) -> str:
    """Return how much scores of one configuration differ by their seed, as far as any was trained again."""
    if is_population(study):
        return tr("These are the parameters of the last segment; those before it are in the section Population.")
    metric = study.metrics[0]
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    texts = []
    for group in best_per_group(study, metric):
        same = () if group.best is None else repeats(study, group.best, metric)
        found = spread([trial.values[metric.name] for trial in same])
        if found is not None and found.deviation is not None:
            mean, deviation = score(found.mean, places), score(found.deviation, places + 1)
            values = {"group": group.group, "mean": mean, "deviation": deviation, "n": found.n}
            texts.append(tr("{group} {mean}, standard deviation {deviation} (n = {n})", **values))
    if not texts and confirmation_of(study) is not None:
        return tr(
            "Each score is that of one run; what the best ones reach with other seeds is in the section Confirmation."
        )
    if not texts:
        return tr(
            "Each score is that of one run. With another seed it would differ, and the best of many runs "
            "looks better than it is: hpo confirm {study} trains the best ones again.",
            study=shlex.quote(study.name),
        )
    return tr("The same configuration with other seeds: {values}.", values=tr("; ").join(texts))


def _finals(study: StudyRecord) -> Table:
    """Return everything that the best trials returned, a row a metric and a column a trial."""
    bests: dict[int, tuple[str, TrialRecord]] = {}
    for metric in study.metrics:
        for group in best_per_group(study, metric):
            if group.best is not None:
                bests.setdefault(group.best.number, (group.group, group.best))
    shown = list(bests.values())[:MOST_TRIALS]
    rows: list[tuple[Cell, ...]] = [
        (name, *("—" if name not in trial.values else number(trial.values[name]) for _, trial in shown))
        for name in _metric_names(study, [trial for _, trial in shown])
    ]
    facts = [(title, [fact(study, trial) for _, trial in shown]) for title, fact in _facts()]
    rows += [(title, *(cell or "—" for cell in cells)) for title, cells in facts if any(cells)]
    names = [trial_name(study, group, trial) for group, trial in shown]
    return Table((tr("metric"), *names), tuple(rows), frozenset(range(1, len(shown) + 1)))


def _metric_names(study: StudyRecord, trials: Sequence[TrialRecord]) -> list[str]:
    """Return what trials returned: the study's metrics, those of validation, the others."""
    own = [metric.name for metric in study.metrics]
    names = list(dict.fromkeys([*own, *(name for trial in trials for name in trial.values if name not in COUNTS)]))
    return sorted(names, key=lambda name: (name not in own, name.startswith("train_"), "loss" in name))


def _facts() -> tuple[tuple[str, Callable[[StudyRecord, TrialRecord], str]], ...]:
    """Return facts of one training by their titles, as functions that return an empty text where it is not known."""
    return (
        (tr("epochs"), lambda _, trial: str(trial.steps) if trial.steps else ""),
        (tr("training steps"), _training_steps),
        (tr("weights and biases"), _size),
        (tr("time"), lambda _, trial: "" if trial.seconds is None else duration(trial.seconds)),
        (tr("began"), lambda _, trial: _began(trial)),
        (tr("seed of the trial"), lambda _, trial: "" if trial.seed is None else str(trial.seed)),
    )


def _training_steps(study: StudyRecord, trial: TrialRecord) -> str:
    steps = log_of(study, trial).steps
    return whole(len(steps["epoch"])) if steps else ""


def _size(study: StudyRecord, trial: TrialRecord) -> str:
    found = trial.values.get(SIZE, trial.last(SIZE))
    return "" if found is None else whole(round(found))


def _began(trial: TrialRecord) -> str:
    return "" if trial.started is None else moment(datetime.fromtimestamp(trial.started).astimezone())


def _epochs(study: StudyRecord, trial: TrialRecord, metric: Metric) -> str:
    found = epochs_to_best(study, trial, metric)
    return "—" if found is None else tr("{epoch} of {epochs}", epoch=found[0], epochs=found[1])
