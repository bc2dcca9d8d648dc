"""Section on the significance of differences: analysis of variance, and groups pair by pair."""

from __future__ import annotations

from hpo.analysis.formatting import listed, number, numbers
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import Anova, TestedTerm, UntestedTerm, anova
from hpo.analysis.statistics.group_test import KRUSKAL_WALLIS, OUTLIER, TWO_MODES, UNEQUAL, WELCH, F, GroupTest
from hpo.analysis.statistics.pairwise import FEWEST, GAMES_HOWELL, Pairwise, pairwise
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Section, Table, Text
from hpo.reports.p_values import p_relation, p_text
from hpo.reports.sections.shared import capped, compared
from hpo.translation.catalogue import sentences, tr, trn


def significance_section(study: StudyRecord) -> Section | None:
    """Return the tests, or None where nothing is a factor: in a space of continuous parameters only."""
    blocks: list[Block] = []
    for metric in study.metrics:
        found = anova(study, metric)
        if not found.tested and not found.untested and not found.why_not:
            continue
        if len(study.metrics) > 1:
            blocks.append(Text(tr("By {metric}:", metric=metric.name)))
        blocks += _anova_blocks(found)
        if study.group_by is not None and found.n:
            blocks += _pairwise_blocks(study.group_by, pairwise(study, metric))
    return Section(tr("Analysis of variance"), "significance", blocks) if blocks else None


# --- analysis of variance


def _anova_blocks(found: Anova) -> list[Block]:
    blocks: list[Block] = []
    if found.why_not:
        blocks.append(Text(tr("Not shown: {why}.", why=found.why_not)))
    if found.tested:
        blocks.append(_tested_table(found))
        blocks += [Text(text) for text in (*_interactions(found), *_checks(found)) if text]
    if found.untested:
        blocks.append(_untested_table(found.untested))
        if found.held:
            blocks.append(Text(_held(str(found.group_by))))
    if found.continuous or found.conditional:
        blocks.append(Text(_no_factors(found)))
    blocks.append(Explanation(sentences([_which_trials(found), *([_how_to_read(found)] if found.tested else [])])))
    return blocks


def _which_trials(found: Anova) -> str:
    texts = [
        trn(
            "Of the final {metric} of {n} complete trial.",
            "Of the final {metric} of {n} complete trials.",
            found.n,
            metric=found.metric.name,
        )
    ]
    if found.pruned:
        left_out = tr(
            "{pruned} pruned and {failed} failed trials have no final value and are not in it. Pruned ones were "
            "stopped for being worse, so what is left is better and more alike than what was tried.",
            pruned=found.pruned,
            failed=found.failed,
        )
        texts.append(left_out)
    elif found.failed:
        left_out = trn(
            "{n} failed trial has no final value and is not in it.",
            "{n} failed trials have no final value and are not in it.",
            found.failed,
        )
        texts.append(left_out)
    if found.sampler:
        warning = tr(
            "The sampler, {sampler}, chose each trial by what earlier ones gave. The trials are not independent, as "
            "the tests below assume, so a p is a hint and no proof.",
            sampler=found.sampler,
        )
        texts.append(warning)
    return sentences(texts)


def _how_to_read(found: Anova) -> str:
    cells = found.cells
    if cells is None:
        return ""
    if cells.balanced:
        design = trn(
            "The design is balanced: each of the {cells} cells has {n} trial.",
            "The design is balanced: each of the {cells} cells has {n} trials.",
            cells.most,
            cells=cells.n,
        )
    else:
        design = tr(
            "The design is unbalanced: its {cells} cells have {fewest} to {most} trials; type II sums of squares.",
            cells=cells.n,
            fewest=cells.fewest,
            most=cells.most,
        )
    meaning = tr(
        "An effect is that of a factor beside all others, averaged over their levels: whether it matters, not which "
        "value is best for one group. Partial eta squared is the share that the factor explains of what the others "
        "leave. Where no effect was found, the last column is the smallest share that these trials would have found "
        "with a probability of 80 %: a smaller one may have been missed. p is not corrected for the number of factors."
    )
    return sentences([design, meaning])


def _tested_table(found: Anova) -> Table:
    rows: list[tuple[Cell, ...]] = [_tested_row(one, found.n) for one in found.tested]
    residual = ("", str(found.residual_df), number(found.residual, 3), "", "", "", str(found.n), "")
    rows.append((tr("residual"), *residual))
    columns = (
        tr("factor"),
        tr("levels"),
        tr("df"),
        tr("sum of squares"),
        "F",
        "p",
        tr("partial eta²"),
        "n",
        tr("may have missed eta² below"),
    )
    return Table(columns, tuple(rows), frozenset(range(1, 9)))


def _tested_row(one: TestedTerm, n: int) -> tuple[Cell, ...]:
    cells = (str(one.levels), str(one.df), number(one.sum_of_squares, 3), number(one.f, 3), p_text(one.p))
    return (_name(one.names), *cells, f"{one.eta:.3f}", str(n), "—" if one.found else f"{one.least:.3f}")


def _name(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else tr("{name} by {other}", name=names[0], other=names[1])


def _interactions(found: Anova) -> list[str]:
    texts = []
    for one in found.tested:
        if len(one.names) < 2:
            continue
        group, name = one.names
        if one.found:
            text = tr(
                "The effect of {name} differs between the values of {group} (interaction, p {p}): read it for each of "
                "them in the heatmaps.",
                name=name,
                group=group,
                p=p_relation(one.p),
            )
        else:
            text = tr(
                "That the effect of {name} differs between the values of {group} is not shown (interaction, p {p}), "
                "which is no proof that it does not.",
                name=name,
                group=group,
                p=p_relation(one.p),
            )
        texts.append(text)
    return texts


def _checks(found: Anova) -> list[str]:
    texts = [_equal_variances(found) if found.group_test is None else _which_holds(found, found.group_test)]
    if found.outliers:
        texts.append(
            trn(
                "{n} trial lies far outside of the others (trial {trials}): such a value can hide an effect or feign "
                "one.",
                "{n} trials lie far outside of the others (trials {trials}): such values can hide an effect or feign "
                "one.",
                len(found.outliers),
                trials=numbers(found.outliers),
            )
        )
    return texts


def _equal_variances(found: Anova) -> str:
    name = found.tested[0].names[0]
    if found.levene is None:
        return tr("Whether the variances are equal could not be checked: that takes two levels of {name} with three "
                  "different values each.", name=name)  # fmt: skip
    values = {"name": name, "w": number(found.levene.w, 3), "p": p_relation(found.levene.p)}
    if found.levene.unequal:
        return tr("The variances seem to differ between the levels of {name} (Levene's test about the median: W = {w}, "
                  "p {p}), against what the analysis assumes.", **values)  # fmt: skip
    return tr("No sign that the variances differ between the levels of {name} (Levene's test about the median: "
              "W = {w}, p {p}).", **values)  # fmt: skip


def _which_holds(found: Anova, test: GroupTest) -> str:
    """Return the sentence on which test of the groups holds and why, and the p of the others."""
    said = {
        "group": compared(str(found.group_by), test),
        "test": _statistic(test),
        "p": p_relation(test.p),
        "others": _others(test),
    }
    if test.holds == F:
        return tr("For {group} the F test holds (p {p}): no sign of two modes, unequal variances or residuals that are "
                  "not normal. Beside it: {others}.", **said)  # fmt: skip
    if test.reason == TWO_MODES and test.modes is not None:
        low, high = (number(mode, 3) for mode in (test.modes.low, test.modes.high))
        return tr("For {group} the test by ranks holds ({test}, p {p}): the values have two modes, near {low} and "
                  "{high}, and no training ends where the means are. Beside it: {others}.",
                  **said, low=low, high=high)  # fmt: skip
    if test.reason == OUTLIER:
        return tr("For {group} the test by ranks holds ({test}, p {p}): a mean follows a value that lies far outside "
                  "of its group. Beside it: {others}.", **said)  # fmt: skip
    if test.reason == UNEQUAL:
        levene = "" if found.levene is None else p_relation(found.levene.p)
        return tr("For {group} {test} holds (p {p}), not the F test: without the effects of the other factors, the "
                  "variances of its values seem to differ (Levene's test about the median, p {levene}). Beside it: "
                  "{others}.",
                  **said, levene=levene)  # fmt: skip
    normal = "" if test.normal_p is None else p_relation(test.normal_p)
    return tr("For {group} the test by ranks holds ({test}, p {p}): the residuals are not normal (Shapiro-Wilk, p "
              "{normal}). Beside it: {others}.", **said, normal=normal)  # fmt: skip


def _statistic(test: GroupTest) -> str:
    """Return `Kruskal-Wallis, H(2) = 5.1` or `Welch's test, F(2, 6.3) = 4.2`."""
    if test.holds == WELCH and test.welch is not None:
        df, rest = (number(one, 3) for one in test.welch.df)
        return tr("Welch's test, F({df}, {rest}) = {f}", df=df, rest=rest, f=number(test.welch.f, 3))
    return tr("Kruskal-Wallis, H({df}) = {h}", df=test.kruskal.df, h=number(test.kruskal.h, 3))


def _others(test: GroupTest) -> str:
    ps = {F: test.f_p, WELCH: None if test.welch is None else test.welch.p, KRUSKAL_WALLIS: test.kruskal.p}
    return listed(f"{name} p {p_relation(p)}" for name, p in ps.items() if p is not None and name != test.holds)


def _untested_table(untested: tuple[UntestedTerm, ...]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (_name(one.names), tr("not shown ({why})", why=one.why_not)) for one in untested
    )
    return Table((tr("factor"), tr("not in the analysis")), rows)


def _held(group_by: str) -> str:
    return tr("{group} is in the model all the same: the effects above are within its values.", group=group_by)


def _no_factors(found: Anova) -> str:
    texts = []
    if found.continuous:
        texts.append(tr("Not factors, since they are continuous: {names}.", names=listed(found.continuous)))
    if found.conditional:
        texts.append(tr("Not factors, since not every trial has them: {names}.", names=listed(found.conditional)))
    return sentences(texts)


# --- pair by pair


def _pairwise_blocks(group_by: str, data: Pairwise) -> list[Block]:
    title = tr("Pairs of {group}", group=group_by)
    blocks: list[Block] = []
    if data.why_not:
        blocks.append(Text(tr("{title}: not shown ({why}).", title=title, why=data.why_not)))
    else:
        blocks.append(Chart(title, data, _pairs_table(data), _method(data)))
    if data.left_out:
        names = listed(tr("{group} (n = {n})", group=group, n=n) for group, n in data.left_out)
        text = tr("Not shown in any pair: {names}; at least {needed} complete trials each are needed.",
                  names=names, needed=FEWEST)  # fmt: skip
        blocks.append(Text(text))
    return blocks


def _method(data: Pairwise) -> str:
    if data.method == GAMES_HOWELL:
        method = tr(
            "Games-Howell's test, because the variances of the values as they are seem to differ by Levene's test."
        )
    elif data.levene is None:
        method = tr("Tukey-Kramer's test; whether the groups' variances are equal could not be checked.")
    else:
        method = tr("Tukey-Kramer's test; no sign of unequal variances of the values as they are, by Levene's test.")
    interval = trn(
        "The bar is the 95 % interval of the difference of means.",
        "The bar is the simultaneous 95 % interval of the difference of means: p and intervals are corrected for all "
        "{n} pairs at once.",
        len(data.pairs),
    )
    meaning = tr(
        "A filled diamond is a difference whose interval leaves out 0. The means are of the trials there were, not "
        "adjusted for the other parameters; g is Hedges' g, the difference in standard deviations."
    )
    return sentences([method, interval, meaning])


def _pairs_table(data: Pairwise) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for pair in data.pairs:
        interval = tr("{low} to {high}", low=number(pair.low, 3), high=number(pair.high, 3))
        g = "—" if pair.g is None else f"{pair.g:.2f}"
        sizes = (str(pair.n_a), str(pair.n_b))
        name = tr("{a} less {b}", a=pair.a, b=pair.b)
        rows.append((name, number(pair.difference, 3), interval, p_text(pair.p), g, *sizes))
    columns = (tr("groups"), tr("difference"), tr("95 % interval"), tr("corrected p"), "g", "n₁", "n₂")
    return capped(columns, tuple(rows), frozenset(range(1, 7)))
