"""A page of the table of a study's trials: filtered, sorted and cut on the server."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hpo.analysis.axes import flat_params, searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.failures import ended_by
from hpo.analysis.formatting import configuration, duration, label, number
from hpo.analysis.groups import group_labels, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.trial_rows import sorted_by

PAGE = 50
STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
# More parameters than that are one column with the whole configuration.
_MOST_COLUMNS = 12


@dataclass(frozen=True)
class Query:
    """Question to the table.

    Attributes:
        sort: What it is sorted by; empty: the first metric.
        reverse: The other way round.
        state: Only trials in this state; empty: all.
        group: Only trials of this group; empty: all.
        words: Words that all stand in the row of a trial.
        page: Counted from 1.
    """

    sort: str = ""
    reverse: bool = False
    state: str = ""
    group: str = ""
    words: str = ""
    page: int = 1

    def as_values(self) -> dict[str, str]:
        """Return it as the values of a URL, without those that say nothing."""
        found = {
            "sort": self.sort,
            "order": "reverse" if self.reverse else "",
            "state": self.state,
            "group": self.group,
            "q": self.words,
            "page": str(self.page) if self.page > 1 else "",
        }
        return {name: value for name, value in found.items() if value}

    def sorted_by(self, key: str) -> Query:
        """Return what a click on the head of a column asks for: by that column, and once more the other way round."""
        return replace(self, sort=key, reverse=self.sort == key and not self.reverse, page=1)


def query_of(values: Mapping[str, str]) -> Query:
    """Return what the values of a URL ask for; what makes no sense asks for nothing."""
    page = values.get("page", "")
    return Query(
        sort=values.get("sort", ""),
        reverse=values.get("order", "") == "reverse",
        state=values.get("state", "") if values.get("state", "") in STATES else "",
        group=values.get("group", ""),
        words=values.get("q", "").strip()[:200],
        page=int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 9 and int(page) > 0 else 1,
    )


@dataclass(frozen=True)
class Column:
    """A column: its head, what it is sorted by (empty: it is not), and whether it holds numbers."""

    head: str
    key: str
    numeric: bool = False


@dataclass(frozen=True)
class RowOfTrial:
    """A row: the trial, and the texts of the columns."""

    trial: TrialRecord
    cells: tuple[str, ...]


@dataclass(frozen=True)
class TablePage:
    """A page of the table.

    Attributes:
        query: What it answers, with the page that is shown.
        columns: The columns.
        rows: The rows of this page.
        found: Number of trials that the filter lets through.
        all: Number of trials.
        pages: Number of pages.
        groups: Labels of the groups to choose from.
    """

    query: Query
    columns: tuple[Column, ...]
    rows: tuple[RowOfTrial, ...]
    found: int
    all: int
    pages: int
    groups: tuple[str, ...]


def table_page(study: StudyRecord, query: Query) -> TablePage:
    """Return a page of the trials of a study."""
    columns = _columns(study)
    group_of = _labels(study)
    keys = {column.key for column in columns if column.key}
    key = query.sort if query.sort in keys else study.metrics[0].name
    words = query.words.lower().split()
    texts = row_texts(study) if words else {}
    found = [
        trial
        for trial in study.trials
        if (not query.state or trial.state == query.state)
        and (not query.group or group_of.get(trial.number) == query.group)
        and all(word in texts[trial.number] for word in words)
    ]
    ordered = sorted_by(study, key, found, query.reverse)
    pages = max(1, math.ceil(len(ordered) / PAGE))
    shown = replace(query, sort=key, page=min(query.page, pages))
    first = (shown.page - 1) * PAGE
    rows = table_rows(study, ordered[first : first + PAGE])
    groups = tuple(dict.fromkeys(group.label for group in groups_of(study))) if study.group_by else ()
    return TablePage(shown, columns, rows, len(ordered), len(study.trials), pages, groups)


def rows_of(study: StudyRecord, numbers: Sequence[int]) -> TablePage:
    """Return these trials, in this order, as a table that is not sorted and has one page."""
    trials = [study.by_number[one] for one in numbers if one in study.by_number]
    columns = tuple(replace(column, key="") for column in _columns(study))
    return TablePage(Query(), columns, table_rows(study, trials), len(trials), len(study.trials), 1, ())


def table_rows(study: StudyRecord, trials: Sequence[TrialRecord]) -> tuple[RowOfTrial, ...]:
    """Return the rows of some trials. Their histories are read for the number of their steps."""
    names = _parameters(study)
    group_of = _labels(study)
    rows = []
    for trial in trials:
        params = flat_params(trial.params)
        shown = [label(params[name]) if name in params else "" for name in names]
        if len(names) > _MOST_COLUMNS:
            shown = [configuration(trial.params, without=[study.group_by]) if trial.params else ""]
        cells = [
            *([group_of.get(trial.number, "")] if study.group_by else []),
            *(number(trial.values[one.name]) if one.name in trial.values else "" for one in study.metrics),
            str(trial.steps),
            "" if trial.seconds is None else duration(trial.seconds),
            *shown,
            ended_by(trial),
        ]
        rows.append(RowOfTrial(trial, tuple(cells)))
    return tuple(rows)


def _columns(study: StudyRecord) -> tuple[Column, ...]:
    names = _parameters(study)
    kinds = {name: {one.kind for one in declared} for name, declared in searched(study.space).items()}
    params = [Column(name, name, kinds[name] <= {"float", "int"}) for name in names]
    if len(names) > _MOST_COLUMNS:
        params = [Column("configuration", "")]
    return (
        Column("trial", "trial", True),
        Column("state", "state"),
        *([Column(study.group_by, "group")] if study.group_by else []),
        *(Column(metric.name, metric.name, True) for metric in study.metrics),
        # Sorting by it would read every history.
        Column("epochs", "", True),
        Column("time", "seconds", True),
        *params,
        Column("ended by", "cause"),
    )


def _parameters(study: StudyRecord) -> list[str]:
    return [name for name in searched(study.space) if name != study.group_by]


@cached_per_study
def _labels(study: StudyRecord) -> Mapping[int, str]:
    """Return the group of every trial, of those that run too."""
    found = dict(group_labels(study))
    for trial in study.trials:
        if trial.number not in found and study.group_by and study.group_by in trial.params:
            found[trial.number] = label(trial.params[study.group_by])
    return found


@cached_per_study
def row_texts(study: StudyRecord) -> Mapping[int, str]:
    """Return what the words of a filter are looked for in, by the number of the trial."""
    group_of = _labels(study)
    return {
        trial.number: " ".join(
            (
                str(trial.number),
                trial.state,
                group_of.get(trial.number, ""),
                ended_by(trial),
                trial.reason,
                trial.source,
                configuration(trial.params),
            )
        ).lower()
        for trial in study.trials
    }
