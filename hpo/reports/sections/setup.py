"""Section of how a study was set up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from hpo import layout
from hpo.analysis.formatting import configuration, decimals, duration, listed, number, rounded_percent, score, trials
from hpo.analysis.lineages import searched
from hpo.analysis.records import StudyRecord, best_of
from hpo.analysis.summary_statistics import spread
from hpo.machine.files import read_json
from hpo.reports.blocks import Block, Cell, Facts, Section, Table, Text
from hpo.reports.sections.goals import budget_used
from hpo.spec.models import Budget, Metric
from hpo.spec.wording import algorithm_text, sampler_text
from hpo.storage.budget import Span, wall_seconds
from hpo.text import LONGEST_REASON, cut, printable_line
from hpo.translation.catalogue import moment, sentences, tr, trn, whole


def setup_section(study: StudyRecord) -> Section:
    """Return the facts of the study, how it was set up, and its search space."""
    facts: list[tuple[str, Cell]] = [(tr("Trials"), counts(study))]
    for metric in study.metrics:
        if study.complete(metric):
            facts.append((tr("All final {metric}", metric=metric.name), _all_finals(study, metric)))
    facts += _imported(study)
    facts += _samples(study)
    if spans := study.spans:
        facts += [(tr("Time"), _times(spans)), (tr("Trained"), _dates(spans))]
    facts.append((tr("Report written"), moment(datetime.now().astimezone())))
    space = Table(
        (tr("parameter"), tr("searched"), tr("only if")),
        tuple((p.name, p.distribution, p.condition_text) for p in study.space.walk()),
    )
    if all(not row[2] for row in space.rows):
        space = Table(space.columns[:2], tuple(row[:2] for row in space.rows))
    blocks: list[Block] = [Facts((*facts, *_setup(study)))]
    if space.rows:
        blocks += [Text(tr("What was searched:")), space]
    return Section(tr("Setup"), "setup", blocks)


def _all_finals(study: StudyRecord, metric: Metric) -> str:
    own = searched(study)
    finals = [trial.values[metric.name] for trial in own.complete(metric)]
    found, places = spread(finals), decimals(finals)
    if found is None:
        return tr("none")
    low, high, mean = (score(value, places) for value in (found.low, found.high, found.mean))
    if found.deviation is None:
        return mean
    return trn(
        "{low} to {high}, mean {mean}, standard deviation {deviation} (n = {complete}, {share} of {n} finished trial)",
        "{low} to {high}, mean {mean}, standard deviation {deviation} (n = {complete}, {share} of {n} finished trials)",
        len(own.finished),
        low=low,
        high=high,
        mean=mean,
        deviation=score(found.deviation, places),
        complete=found.n,
        share=rounded_percent(found.n / len(own.finished)),
    )


def _times(spans: Sequence[Span]) -> str:
    values = {
        "wall": duration(wall_seconds(spans)),
        "trials": duration(sum(span.finished - span.started for span in spans)),
    }
    gpu = sum(span.gpu_seconds for span in spans)
    if not gpu:
        return tr("{wall} of wall time, {trials} of trials", **values)
    return tr("{wall} of wall time, {trials} of trials, {gpu} GPU hours", **values, gpu=number(gpu / 3600, 3))


def _dates(spans: Sequence[Span]) -> str:
    """Return when the first trial began and the last one ended, in the time zone of whoever writes the report."""
    seconds = min(span.started for span in spans), max(span.finished for span in spans)
    first, last = (moment(datetime.fromtimestamp(second).astimezone()) for second in seconds)
    return first if first == last else tr("{first} to {last}", first=first, last=last)


def _imported(study: StudyRecord) -> list[tuple[str, Cell]]:
    """Return where the trials were trained that were not trained here; nothing without any."""
    if not study.imported:
        return []
    sources = Counter(f"{one.imported.study} ({one.imported.place})" for one in study.imported if one.imported)
    places = [trn("{n} trial of {source}", "{n} trials of {source}", n, source=source) for source, n in sources.items()]
    note = tr("They were trained elsewhere: no time, GPU hour or budget of this study counts them.")
    return [(tr("Imported"), sentences([f"{listed(places)}.", note]))]


def _samples(study: StudyRecord) -> list[tuple[str, Cell]]:
    """Return what the data are, and the numbers of samples of an epoch, as far as the objective noted them.

    The numbers have the names that the objective gave them: it alone knows what a sample is.
    """
    facts: list[tuple[str, Cell]] = [(tr("Data"), said)] if (said := _about_data(study)) else []
    for name in ("train_samples", "val_samples"):
        found = [value for trial in study.finished if (value := trial.last(name)) is not None]
        if not found:
            continue
        low, high = whole(round(min(found))), whole(round(max(found)))
        facts.append((name, low if low == high else tr("{low} to {high}", low=low, high=high)))
    return facts


def _about_data(study: StudyRecord) -> str:
    """Return the line on the data that the best trial left in data.json; empty if it left none."""
    best = best_of(study.complete(study.metrics[0]), study.metrics[0])
    if best is None:
        return ""
    try:
        noted = read_json(layout.trial_directory(study.directory, best.number) / layout.DATA)
    except (OSError, ValueError):
        return ""
    said = noted.get("summary") if isinstance(noted, dict) else None
    return cut(printable_line(said), LONGEST_REASON) if isinstance(said, str) else ""


def _setup(study: StudyRecord) -> list[tuple[str, Cell]]:
    """Return what else was decided about the study."""
    spec = study.spec
    if spec is None:
        return []
    facts = (
        (tr("Objective"), spec.objective_ref().label),
        (tr("Sampler"), sampler_text(spec, study.noted_samplers)),
        (tr("Pruner"), algorithm_text(spec.pruner)),
        (tr("Budget"), _budget(spec.budget)),
        (tr("Budget used"), budget_used(study)),
        (tr("Constants"), configuration(spec.constants) if spec.constants else ""),
        (tr("Seed"), str(spec.seed)),
    )
    return [(name, text) for name, text in facts if text]


def _budget(budget: Budget) -> str:
    limits = []
    if budget.trials is not None:
        limits.append(trials(budget.trials))
    if budget.hours is not None:
        limits.append(tr("{hours} hours", hours=f"{budget.hours:g}"))
    if budget.gpu_hours is not None:
        limits.append(tr("{hours} GPU hours", hours=f"{budget.gpu_hours:g}"))
    if budget.by is not None:
        limits.append(tr("until {moment}", moment=moment(budget.by.astimezone())))
    return tr(", ").join(limits) or tr("every cell of the grid")


def counts(study: StudyRecord) -> str:
    """Return `36 complete, 24 pruned and 0 failed`, and what still runs or waits."""
    parts = [
        tr("{n} complete", n=len(study.in_state("COMPLETE"))),
        tr("{n} pruned", n=len(study.in_state("PRUNED"))),
        tr("{n} failed", n=len(study.in_state("FAIL"))),
    ]
    if running := len(study.in_state("RUNNING")):
        parts.append(tr("{n} running", n=running))
    if waiting := len(study.in_state("WAITING")):
        parts.append(tr("{n} waiting", n=waiting))
    again = sum(trial.requeued for trial in study.trials)
    if not again:
        return listed(parts)
    return trn(
        "{counts}; {n} attempt lost, interrupted or promoted, and gone on with",
        "{counts}; {n} attempts lost, interrupted or promoted, and gone on with",
        again,
        counts=listed(parts),
    )
