"""Sections of a comparison of studies or trials."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hpo.analysis.axes import BATCH_SIZE, LEARNING_RATE
from hpo.analysis.differences import SplitData
from hpo.analysis.formatting import (
    configuration,
    decimals,
    duration,
    label,
    listed,
    number,
    rounded_percent,
    score,
)
from hpo.analysis.records import TrialRecord
from hpo.analysis.stability import WINDOW
from hpo.analysis.statistics.pairwise import FEWEST
from hpo.analysis.statistics.two_sample import ALL_EQUAL, MANN_WHITNEY, SURVIVORS, TwoSampleTest
from hpo.analysis.study_comparison import (
    GroupComparison,
    MetricComparison,
    StudyComparison,
)
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Row, Section, Table, Text
from hpo.reports.charts import TrainingChart
from hpo.reports.p_values import p_text
from hpo.reports.sections.curves import training_table
from hpo.reports.sections.shared import capped, cells_of_many, points_beyond_axis, values_beyond_axis
from hpo.reports.sections.stability import stability_text
from hpo.spec.algorithms import NOT_ADAPTIVE
from hpo.spec.models import Metric
from hpo.translation.catalogue import sentences, tr, whole

CLEAR_FACTOR = 1.5  # from here on a factor says more than a share


def overview_section(data: StudyComparison) -> Section:
    """Return the final values of each side, and what is known of their data."""
    blocks: list[Block] = [Text(text) for text in data_warnings(data)]
    blocks += [Text(text) for text in (*warm_start_warnings(data), *_metric_warnings(data))]
    for one in data.metrics:
        blocks.append(_ranges_table(one, data.whole))
    if data.whole and any(row.finals for row in data.metrics[0].comparison.groups):
        blocks.append(_ranges_chart(data.metrics[0]))
    blocks.append(_samples_table(data))
    return Section(tr("Overview"), "overview", blocks)


def data_warnings(data: StudyComparison) -> list[str]:
    """Say if all sides had the same data, as far as that is known; the validation data first."""
    train, val = data.data
    texts = [_data_warning(val, validated=True)]
    if train.same is not val.same:
        texts.append(_data_warning(train, validated=False))
    elif val.same:
        texts = [tr("Trained and validated on the same data (equal fingerprints).")]
    return texts


def _data_warning(split: SplitData, validated: bool) -> str:
    if validated:
        if split.same is None:
            return tr("Whether all were validated on the same data was not recorded.")
        if split.same:
            return tr("Validated on the same data (equal fingerprints).")
        return tr(
            "Warning: validated on other data (the fingerprints differ). Differences below may be those of the data."
        )
    if split.same is None:
        return tr("Whether all were trained on the same data was not recorded.")
    return tr("Trained on the same data (equal fingerprints).") if split.same else tr("Trained on other data.")


def warm_start_warnings(data: StudyComparison) -> list[str]:
    """Say which sides began from other studies, first whether from one of those compared."""
    texts = []
    for side, studies in zip(data.sides, data.begun_from, strict=True):
        compared = [study for study in studies if study in data.sides]
        if compared:
            texts.append(
                tr(
                    "Warning: {side} began with the best configurations of {studies}: they are not two independent "
                    "searches, and a better {side} is no sign of a better method.",
                    side=side,
                    studies=listed(compared),
                )
            )
        elif studies and data.whole:
            texts.append(
                tr(
                    "{side} began with the best configurations of {studies}, which cost it nothing.",
                    side=side,
                    studies=listed(studies),
                )
            )
        elif studies:
            texts.append(
                tr(
                    "The configuration of {side} came from an earlier study ({studies}).",
                    side=side,
                    studies=listed(studies),
                )
            )
    return texts


def _metric_warnings(data: StudyComparison) -> list[str]:
    texts = []
    for side, names in zip(data.sides, data.other_metrics, strict=True):
        if names:
            texts.append(tr("Not compared, since not all have it: {names} of {side}.", names=listed(names), side=side))
    if data.whole and data.group_by is None and len(data.metrics[0].groups) == 1:
        texts.append(tr("The studies have no group_by in common: all trials of a study are compared as one group."))
    return texts


def _ranges_table(one: MetricComparison, whole_studies: bool) -> Table:
    highest = one.metric.direction == "maximize"
    write = _writer(one)
    rows: list[tuple[Cell, ...]] = []
    for own in one.finals:
        found = own.spread
        success = "—" if own.success is None else rounded_percent(own.success)
        counts = (str(own.finished), "0" if found is None else str(found.n), success)
        if found is None:
            rows.append((own.side, *counts, "—", "—", "—", "—"))
            continue
        best, worst = (found.high, found.low) if highest else (found.low, found.high)
        deviation = "—" if found.deviation is None else write(found.deviation)
        rows.append((own.side, *counts, write(best), write(found.mean), deviation, write(worst)))
    columns = (one.metric.name, tr("finished"), "n", tr("success"), tr("best"), tr("mean"), tr("sd"), tr("worst"))
    if not whole_studies:
        finals = [None if own.spread is None else own.spread.mean for own in one.finals]
        changes = ["—", *(change_text(one.metric, finals[0], value) for value in finals[1:])]
        cells = tuple((row[0], row[4], change) for row, change in zip(rows, changes, strict=True))
        return Table((one.metric.name, tr("final value"), tr("change")), cells, frozenset({1, 2}))
    note = tr(
        "n: complete trials, which all other numbers are of. success: their share of the finished ones. sd: sample "
        "standard deviation (N - 1)."
    )
    return Table(columns, tuple(rows), frozenset(range(1, 8)), note)


def _writer(one: MetricComparison) -> Callable[[float], str]:
    places = decimals(value for row in one.comparison.groups for _, value in row.finals)
    return lambda value: score(value, places)


def _ranges_chart(one: MetricComparison) -> Chart:
    if one.comparison.densities():
        median = tr("The diamond is the group's median, its bar spans the quartiles (from three trials on).")
        text = sentences([cells_of_many(sum(len(row.finals) for row in one.comparison.groups)), median])
    else:
        text = tr("A dot is a complete trial, the diamond the median; its bar spans the quartiles.")
    caption = sentences([text, values_beyond_axis(one.comparison.beyond)])
    return Chart(tr("Final {metric}", metric=one.metric.name), one.comparison, None, caption)


def _samples_table(data: StudyComparison) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for k, side in enumerate(data.sides):
        counts = (split.samples[k] for split in data.data)
        rows.append((side, *("—" if n is None else whole(n) for n in counts)))
    note = tr("As recorded for the best trials; a dash: not recorded, or not the same in all of them.")
    # Without a unit a number of samples is what the objective calls so: patches, slices or pairs.
    names = (tr("{split}: {unit}", split=one.split, unit=one.unit) if one.unit else f"{one.split}_samples"
             for one in data.data)  # fmt: skip
    return Table(("", *names), tuple(rows), frozenset({1, 2}), note)


# --- configuration


def differences_section(data: StudyComparison) -> Section:
    """Return the differences of the configurations."""
    title = tr("Differences of configuration")
    if not data.differences:
        return Section(title, "differences", [Text(tr("None was found."))])
    rows = tuple((one.key, *one.values) for one in data.differences)
    text = tr("What is not listed is the same. Where and how they ran is not compared.")
    return Section(title, "differences", [Text(text), capped((tr("key"), *data.sides), rows, frozenset())])


# --- the best


def best_section(data: StudyComparison) -> Section:
    """Return the best trial of each group and side; of single trials, these."""
    blocks: list[Block] = []
    for one in data.metrics:
        if len(data.metrics) > 1:
            blocks.append(Text(tr("By {metric}:", metric=one.metric.name)))
        blocks.append(_best_table(data, one))
    if not data.whole:
        return Section(tr("The trials"), "best", blocks)
    title = tr("Best configuration")
    if data.group_by:
        title = tr("Best configuration of each {group}", group=data.group_by)
    text = tr("Each score is that of one run, and the best of many runs looks better than it is, the more so the more "
              "were tried.")  # fmt: skip
    return Section(title, "best", [*blocks, Text(text)])


def _without_value(state: str) -> str:
    """Return why a trial has no final value of a metric."""
    words = {"PRUNED": tr("pruned"), "FAIL": tr("failed"), "RUNNING": tr("running")}
    return words.get(state, "—")


def _best_table(data: StudyComparison, one: MetricComparison) -> Table:
    write = _writer(one)
    factors = _factors(one)
    dashes = ["—"] * len(factors)
    rows: list[tuple[Cell, ...]] = []
    for group in one.groups:
        for own in group.sides:
            if own.best is None:
                rows.append((group.group, own.side, "—", "—", *dashes, tr("no complete trial"), "—", "—"))
                continue
            best = own.best
            shown = write(best.values[one.metric.name]) if own.finals else _without_value(best.state)
            settings = configuration(best.params, without=[*factors, data.group_by if data.whole else None])
            won = (label(best.params[name]) if name in best.params else "—" for name in factors)
            epochs = "—"
            if own.epochs is not None:
                epochs = tr("{epoch} of {epochs}", epoch=own.epochs[0], epochs=own.epochs[1])
            times = (_time(best.seconds, group.sides[0].best), epochs)
            rows.append((group.group, own.side, shown, str(best.number), *won, settings, *times))
    others = tr("other parameters") if factors else tr("configuration")
    head = (data.group_by or tr("trials"), tr("study"), one.metric.name, tr("trial"), *factors, others)
    head = (*head, tr("time"), tr("epochs to best"))
    left = {0, 1, len(head) - 3}
    if not data.whole:  # a trial's name has its number
        rows = [(row[1], *row[2:3], *row[4:]) for row in rows]
        head, left = (tr("trial"), head[2], *head[4:]), {0, len(head) - 5}
    elif len(one.groups) == 1:
        rows, head, left = [row[1:] for row in rows], head[1:], {0, len(head) - 4}
    return capped(head, tuple(rows), frozenset(range(len(head))) - left)


def _time(seconds: float | None, first: TrialRecord | None) -> str:
    """Return a duration, with its factor to that of the first side where they differ clearly."""
    text = duration(seconds)
    if not seconds or first is None or not first.seconds:
        return text
    larger, smaller = max(seconds, first.seconds), min(seconds, first.seconds)
    return text if larger < CLEAR_FACTOR * smaller else tr("{value} ({word})", value=text,
                                                           word=times_text(first.seconds, seconds))  # fmt: skip


def _factors(one: MetricComparison) -> tuple[str, ...]:
    """Return learning rate and batch size, as far as a best trial has them."""
    params = [own.best.params for group in one.groups for own in group.sides if own.best is not None]
    return tuple(name for name in (*LEARNING_RATE, *BATCH_SIZE) if any(name in own for own in params))


# --- equal budgets


def budget_section(data: StudyComparison) -> Section | None:
    """Return the best after as many trials, and as many epochs, on all sides; None for single trials."""
    if not data.whole:
        return None
    title = tr("Best within equal budgets")
    blocks: list[Block] = []
    for one in data.metrics:
        if one.budgets:
            blocks.append(_budget_table(data, one))
    if not blocks:
        return Section(title, "budgets", [Text(tr("Not shown: no group was tried by all studies."))])
    text = tr(
        "The best final value after as many trials, and as many epochs, as every study has spent on the group, in the "
        "order tried. Pruned trials count with what they cost. The last column compares equal epochs where they are "
        "known, else equal trials, with {first}.",
        first=data.sides[0],
    )
    return Section(title, "budgets", [Text(text), *blocks])


def _budget_table(data: StudyComparison, one: MetricComparison) -> Table:
    write = _writer(one)
    rows: list[tuple[Cell, ...]] = []
    for budget in one.budgets:
        tried = {group.group: group for group in one.groups}.get(budget.group)
        compared = budget.after_epochs or budget.after_trials
        for k, side in enumerate(data.sides):
            sides = [group.sides[k] for group in one.groups] if tried is None else [tried.sides[k]]
            finished, pruned = sum(own.finished for own in sides), sum(own.pruned for own in sides)
            complete = sum(len(own.finals) for own in sides)
            found = [budget.after_trials[k], budget.after_epochs[k] if budget.epochs else None]
            values = ("—" if value is None else write(value) for value in found)
            change = "—" if k == 0 else change_text(one.metric, compared[0], compared[k])
            counts = (str(complete), str(pruned), str(finished - complete - pruned))
            spent = whole(budget.epochs) if budget.epochs else "—"
            by_trials, by_epochs = values
            rows.append((budget.group, side, *counts, str(budget.trials), by_trials, spent, by_epochs, change))
    names = (data.group_by or tr("trials"), tr("study"), tr("complete"), tr("pruned"), tr("failed"))
    best = tr("best {metric}", metric=one.metric.name)
    columns = (*names, tr("after trials"), best, tr("after epochs"), best, tr("change"))
    if len(one.budgets) == 1:
        return capped(columns[1:], tuple(row[1:] for row in rows), frozenset(range(1, 9)))
    return capped(columns, tuple(rows), frozenset(range(2, 10)))


def change_text(metric: Metric, before: float | None, after: float | None) -> str:
    """Return how a value has changed: `12 times less` of a loss, an error or a time, `+0.03` of a score."""
    if before is None or after is None:
        return "—"
    if metric.direction == "minimize" and before > 0 and after > 0:
        return times_text(before, after)
    return "0" if after == before else f"{'+' if after > before else ''}{number(after - before, 3)}"


def times_text(before: float, after: float) -> str:
    """Return `12 times less`, or `8 % more` where a factor would say little."""
    if before == after:
        return tr("the same")
    larger, smaller = max(before, after), min(before, after)
    factor, share = number(larger / smaller, 2), number(100 * abs(after - before) / before, 2)
    if larger >= CLEAR_FACTOR * smaller:
        return tr("{n} times less", n=factor) if after < before else tr("{n} times more", n=factor)
    return tr("{n} % less", n=share) if after < before else tr("{n} % more", n=share)


# --- tests


def tests_section(data: StudyComparison) -> Section | None:
    """Return the tests of the differences, or None for single trials: one run says nothing of how far runs scatter."""
    if not data.whole:
        return None
    blocks: list[Block] = []
    for one in data.metrics:
        if one.tests:
            if len(data.metrics) > 1:
                blocks.append(Text(tr("By {metric}:", metric=one.metric.name)))
            blocks.append(_tests_table(one))
    if not blocks:
        blocks.append(Text(tr("Not shown: no group has complete trials on both sides.")))
        return Section(tr("Is the difference more than scatter?"), "tests", blocks)
    warnings = [Text(text) for text in warm_start_warnings(data)]
    blocks = [*warnings, *blocks, Explanation(_how_to_read(data))]
    return Section(tr("Is the difference more than scatter?"), "tests", blocks)


def _how_to_read(data: StudyComparison) -> str:
    every = [test for one in data.metrics for test in one.tests]
    texts = [
        tr(
            "The final values of all complete trials of a group, {first} against the others. Welch's t test, since two "
            "searches have no reason to scatter alike; g is the difference in standard deviations (Hedges). p is "
            "corrected for the number of tests (Holm), and so are the intervals: one leaves out 0 where p is below "
            "0.05.",
            first=data.sides[0],
        )
    ]
    if any(test.method == MANN_WHITNEY for test in every):
        texts.append(
            tr(
                "Where a value lies far outside of the others, or none differs within a side, ranks are compared "
                "instead (Mann-Whitney); A is then the probability that the one is above the other (Vargha-Delaney)."
            )
        )
    if any(test.missed is not None for test in every):
        texts.append(
            tr(
                "Where no difference is found, the smallest one that so many trials would have found with a "
                "probability of 80 % is given, in standard deviations: a smaller one may have been missed."
            )
        )
    adaptive = [name for name in data.samplers if name not in NOT_ADAPTIVE]
    if adaptive:
        texts.append(
            tr(
                "Trials that {samplers} chose by what earlier ones gave are not independent, as the tests assume: p "
                "is a hint and no proof.",
                samplers=listed(adaptive),
            )
        )
    texts.append(tr("It compares what the searches tried, not their best configurations: for that train the two best "
                    "several times."))  # fmt: skip
    return sentences(texts)


def _tests_table(one: MetricComparison) -> Table:
    rows = tuple((t.group, tr("{a} less {b}", a=t.after, b=t.before), *_test_cells(t)) for t in one.tests)
    columns = (tr("difference"), tr("interval"), tr("corrected p"), tr("effect size (interval)"), tr("test"))
    return capped((tr("group"), tr("compared"), "n₁", "n₂", *columns), rows, frozenset({2, 3, 4, 5, 6, 7}))


def _test_cells(test: TwoSampleTest) -> tuple[str, ...]:
    sizes = (str(test.n_after), str(test.n_before))
    if test.why_not:
        return (*sizes, "—", "—", "—", "—", tr("not shown ({why})", why=why_no_test(test)))
    method = test.method
    if test.missed is not None:
        method = tr("{test}; may have missed d below {d}", test=method, d=number(test.missed, 2))
    if test.method == MANN_WHITNEY:
        above = "—" if test.a is None else f"A = {test.a:.2f}"
        return (*sizes, number(test.difference, 3), "—", p_text(test.p), above, method)
    g = "—"
    if test.g is not None and test.g_low is not None and test.g_high is not None:
        interval = tr("{low} to {high}", low=f"{test.g_low:.2f}", high=f"{test.g_high:.2f}")
        g = tr("{value} ({word})", value=f"g = {test.g:.2f}", word=interval)
    span = tr("{low} to {high}", low=number(test.low, 3), high=number(test.high, 3))
    return (*sizes, number(test.difference, 3), span, p_text(test.p), g, method)


def why_no_test(test: TwoSampleTest) -> str:
    """Return why there is no test of a group."""
    if test.why_not == SURVIVORS:
        return tr("pruning left a larger share of one study than of the other, so this would hold survivors against "
                  "all; see the best within equal budgets")  # fmt: skip
    if test.why_not == ALL_EQUAL:
        return tr("all values are equal")
    return tr("n = {n}, at least {needed} needed", n=min(test.n_before, test.n_after), needed=FEWEST)


# --- training


def curves_section(data: StudyComparison) -> Section:
    """Return the curves of the best trials side by side, a row for each group."""
    title = tr("Training curves")
    found = data.trainings
    if found is None:
        text = tr("The trials that are compared reported no loss and no metric of the study while they trained.")
        return Section(title, "curves", [Text(text)])
    texts = [tr("The best trials side by side, on the same axes.") if data.whole else tr("On the same axes.")]
    if any(own.best is not None for own in found.groups):
        star = tr("The star is the epoch with the best {metric}, and the dotted line marks that epoch.",
                  metric=found.metric.name)  # fmt: skip
        texts.append(star)
    charts = tuple(
        Chart(tr("{group} (trial {n})", group=own.group, n=own.trial.number), TrainingChart(found, own))
        for own in found.groups
    )
    beyond = points_beyond_axis(sum(own.beyond for own in found.groups))
    blocks: list[Block] = [Text(sentences(texts))]
    # A row a group, so that before and after stand beside each other.
    drawn = [sum(1 for own in group.sides if own.best and own.best.history) for group in data.metrics[0].groups]
    ends = [end for end, n in zip(itertools.accumulate(drawn), drawn, strict=True) if n]
    for first, end in itertools.pairwise([0, *ends]):
        last = end == len(charts)
        blocks.append(Row(charts[first:end], "", training_table(found) if last else None, beyond if last else ""))
    return Section(title, "curves", blocks)


# --- stability


def stability_section(data: StudyComparison) -> Section:
    """Return the stability of the best trials."""
    title = tr("Training stability")
    if not data.series:
        text = tr("Not shown: no validation loss was reported, or not the same one by all.")
        return Section(title, "stability", [Text(text)])
    groups = data.metrics[0].groups
    rows = tuple(_stability_row(group) for group in groups)
    text = tr(
        "The sample standard deviation (N - 1) of {series} over the last {n} epochs of each trial above, or over all "
        "if it has fewer. Deviations of different losses do not compare.",
        series=data.series,
        n=WINDOW,
    )
    columns = (data.group_by or tr("trials"), *data.sides)
    if len(groups) == 1:
        columns, rows = columns[1:], tuple(row[1:] for row in rows)
    right = frozenset(range(len(columns) - len(data.sides), len(columns)))
    return Section(title, "stability", [Text(text), capped(columns, rows, right)])


def _stability_row(group: GroupComparison) -> tuple[Cell, ...]:
    cells = []
    for own in group.sides:
        found = own.stability
        if found.deviation is None:
            cells.append("—" if not found.why_not else tr("not shown ({why})", why=found.why_not))
        else:
            cells.append(stability_text(found))
    return (group.group, *cells)
