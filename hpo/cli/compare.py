"""`hpo compare`: compare studies, or trials, with each other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo import layout
from hpo.analysis.formatting import number, rounded_percent
from hpo.cli.common import (
    aligned,
    emit,
    find_study,
    json_option,
    output_option,
    page_options,
    present_report,
    runs_option,
    write_where_allowed,
)
from hpo.cli.complete import studies_and_trials
from hpo.cli.output import say, say_document
from hpo.text import count

if TYPE_CHECKING:
    from hpo.analysis.study_comparison import StudyComparison


@click.command(
    epilog="""\b
Examples:
  hpo compare before after          two studies: does `after` reach more?
  hpo compare before after other    each against `before`
  hpo compare before/3 after/12     two trials, with their curves
  hpo compare before after --lang zh-TW --open
  hpo compare before after --json | jq .metrics[].tests
"""
)
@click.argument("given", nargs=-1, required=True, metavar="A B [C ...]", shell_complete=studies_and_trials)
@output_option("Write it to this folder; that of the first study otherwise.")
@page_options
@runs_option
@json_option
def compare(
    given: tuple[str, ...],
    output: Path | None,
    lang: str | None,
    images: str | None,
    show: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Compare studies, or trials, with each other.

    The report says what was reached, with which configuration and data, and if the difference is more than chance. A,
    B, ... are studies by name or YAML, or trials as STUDY/NUMBER; the first is what the others are compared with. It
    is written to comparison-with-B.html, .md and .json in the folder of study A.
    """
    from hpo.actions.compare import read_sides, write_comparison
    from hpo.analysis.study_comparison import compare_sides
    from hpo.reports.comparison_report import comparison_data
    from hpo.translation.catalogue import ENGLISH, chosen, language

    code = chosen(lang)
    sides = read_sides(runs, [_meant(runs, one) for one in given])
    found = compare_sides(sides)
    with language(code):
        written = write_where_allowed(
            lambda: write_comparison(runs, sides, found, output, images), output, needed=show or images is not None
        )
    if as_json:
        files = {} if written is None else asdict(written)
        emit({"language": code, **files, **comparison_data(found)}, say_document)
    else:
        with language(ENGLISH):
            say(_summary(found))
    present_report(written, show, quiet=as_json)


def _meant(runs: Path, given: str) -> tuple[str, int | None]:
    """Return the study, and the trial of `STUDY/12`; a study or YAML of that very name comes first."""
    study, slash, tail = given.rpartition("/")
    if slash and tail.isdigit() and given not in layout.studies_in(runs):
        return find_study(runs, study), int(tail)
    return find_study(runs, given), None


def _summary(found: StudyComparison) -> str:
    """Return what a terminal has room for: the ranges, the tests, and if the data are the same."""
    from hpo.reports.p_values import p_text
    from hpo.reports.sections.study_comparison import (
        change_text,
        data_warnings,
        warm_start_warnings,
        why_no_test,
    )

    lines: list[str] = []
    for one in found.metrics:
        if not found.whole:
            values = ((own.side, "-" if own.spread is None else number(own.spread.mean)) for own in one.finals)
            lines += [*aligned([("", one.metric.name), *values], right=[1]), ""]
            continue
        best, worst = ("max", "min") if one.metric.direction == "maximize" else ("min", "max")
        rows: list[tuple[str, ...]] = [(one.metric.name, "n", "success", best, "mean", "sd", worst)]
        for own in one.finals:
            spread, success = own.spread, "-" if own.success is None else rounded_percent(own.success)
            if spread is None:
                rows.append((own.side, "0", success, "-", "-", "-", "-"))
                continue
            extremes = (spread.high, spread.low) if best == "max" else (spread.low, spread.high)
            numbers = (extremes[0], spread.mean, spread.deviation, extremes[1])
            rows.append((own.side, str(spread.n), success, *("-" if v is None else number(v) for v in numbers)))
        lines += [*aligned(rows, right=range(1, 7)), ""]
        for budget in one.budgets:
            compared = budget.after_epochs or budget.after_trials
            spent = count(budget.epochs, "epoch") if budget.epochs else count(budget.trials, "trial")
            for side, value in zip(found.sides[1:], compared[1:], strict=True):
                ends = " to ".join("-" if one is None else number(one) for one in (compared[0], value))
                change = change_text(one.metric, compared[0], value)
                lines.append(f"{budget.group}: best after {spent} each, {found.sides[0]} to {side}  {ends} ({change})")
        lines += [""] if one.budgets else []
        for test in one.tests:
            place = f"{test.group}: {test.after} less {test.before}"
            if test.why_not:
                lines.append(f"{place}  not shown ({why_no_test(test)})")
            else:
                effects = [f"{name} {size:.2f}" for name, size in (("g", test.g), ("A", test.a)) if size is not None]
                result = ", ".join([number(test.difference, 3), f"p {p_text(test.p)}", *effects])
                lines.append(f"{place}  {result} ({test.method})")
        lines += [""] if one.tests else []
    lines += [
        *data_warnings(found),
        *warm_start_warnings(found),
        f"{count(len(found.differences), 'difference')} of configuration; the whole comparison:",
    ]
    return "\n".join(lines)
