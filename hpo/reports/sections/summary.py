"""The few numbers a reader looks for first, and what was searched."""

from __future__ import annotations

from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord, best_of
from hpo.analysis.samples import spread
from hpo.analysis.wording import configuration, count, decimals, duration, listed, number, score
from hpo.budget import Span, wall_seconds
from hpo.reports.blocks import Block, Cell, Facts, Section, Table, Text
from hpo.reports.sections.shared import scores
from hpo.spec import Metric


def summary(study: StudyRecord) -> Section:
    finished = study.finished
    headline: list[tuple[str, Cell]] = []
    if len(study.metrics) == 1:
        metric = study.metrics[0]
        best = best_of(study.complete(metric), metric)
        if best is not None:
            headline.append((f"best {metric.name}", scores(study, metric)(best)))
            headline.append(("in trial", str(best.number)))
    else:
        headline.append(("on the Pareto front", count(len(pareto_front(study)), "trial")))
    headline.append(("finished", count(len(finished), "trial")))
    spans = [Span(t.started, t.started + t.seconds, t.gpu_seconds) for t in study.trials if t.started and t.seconds]
    if spans:
        headline.append(("wall time", duration(wall_seconds(spans))))
    facts: list[tuple[str, Cell]] = [("Trials", counts(study))]
    for metric in study.metrics:
        best = best_of(study.complete(metric), metric)
        if best is None:
            facts.append((f"Best {metric.name}", "none: no trial completed yet"))
        else:
            value = f"{scores(study, metric)(best)} in trial {best.number}"
            facts.append((f"Best {metric.name}", f"{value} ({configuration(best.params)})"))
            facts.append((f"All final {metric.name}", _all_finals(study, metric)))
    if spans:
        times = f"{duration(wall_seconds(spans))} of wall time, {duration(sum(s.finished - s.started for s in spans))} "
        times += "of trials"
        gpu = sum(span.gpu_seconds for span in spans)
        facts.append(("Time", f"{times}, {number(gpu / 3600, 3)} GPU hours" if gpu else times))
    space = Table(
        ("parameter", "searched", "only if"),
        tuple((p.name, p.distribution, p.condition_text) for p in study.space.walk()),
    )
    if all(not row[2] for row in space.rows):
        space = Table(space.columns[:2], tuple(row[:2] for row in space.rows))
    blocks: list[Block] = [Facts(tuple(headline), headline=True), Facts((*facts, *study.setup))]
    if space.rows:
        blocks += [Text("What was searched:"), space]
    return Section("Summary", "summary", blocks)


def _all_finals(study: StudyRecord, metric: Metric) -> str:
    finals = [trial.values[metric.name] for trial in study.complete(metric)]
    found, places = spread(finals), decimals(finals)
    if found is None:
        return "none"
    low, high, mean = (score(value, places) for value in (found.low, found.high, found.mean))
    if found.deviation is None:
        return mean
    share = f"{found.n / len(study.finished):.0%} of {count(len(study.finished), 'finished trial')}"
    return f"{low} to {high}, mean {mean}, standard deviation {score(found.deviation, places)} (n = {found.n}, {share})"


def counts(study: StudyRecord) -> str:
    """`36 complete, 24 pruned and 0 failed`, and what is still under way."""
    parts = [
        f"{len(study.in_state('COMPLETE'))} complete",
        f"{len(study.in_state('PRUNED'))} pruned",
        f"{len(study.in_state('FAIL'))} failed",
    ]
    for state, word in (("RUNNING", "running"), ("WAITING", "waiting")):
        if trials := study.in_state(state):
            parts.append(f"{len(trials)} {word}")
    text = listed(parts)
    again = sum(trial.requeued for trial in study.trials)
    return f"{text}; {count(again, 'attempt')} lost or interrupted and tried again" if again else text
