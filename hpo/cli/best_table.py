"""The best trial of each group as a table, with the parameters that vary."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import IO, Any

from hpo.analysis.axes import flat_params, searched
from hpo.analysis.formatting import configuration, label, number
from hpo.analysis.groups import best_per_group
from hpo.analysis.ranking import best_first
from hpo.analysis.records import StudyRecord
from hpo.cli.common import aligned
from hpo.space.search_space import SearchSpace
from hpo.text import presentable

# Columns of an output that is no terminal.
_COLUMNS = 120


def width_of(out: IO[str]) -> int:
    """Return the columns of an output."""
    if not out.isatty():
        return _COLUMNS
    try:
        return os.get_terminal_size(out.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def varying(space: SearchSpace, params: Mapping[str, Any], without: str | None = None) -> dict[str, Any]:
    """Return the parameters of a configuration that a space varies, in its order, but for one that is left out."""
    flat = flat_params(params)
    return {name: flat[name] for name in searched(space) if name in flat and name != without}


def best_table(study: StudyRecord, width: int) -> list[str]:
    """Return the lines of the best of each group, the best group first; none if fewer than two groups have one.

    Each parameter has a column where all fit; otherwise they are in one text a line.

    Args:
        study: the study.
        width: columns that a line may take.
    """
    metric = study.metrics[0]
    best = {group.best.number: group.group for group in best_per_group(study, metric) if group.best is not None}
    trials = best_first((g.best for g in best_per_group(study, metric) if g.best is not None), metric)
    if len(trials) < 2:
        return []
    params = [varying(study.space, trial.params, study.group_by) for trial in trials]
    first = [(best[trial.number], number(trial.values[metric.name]), str(trial.number)) for trial in trials]
    title = (study.group_by or "", metric.name, "trial")
    names = [name for name in searched(study.space) if any(name in own for own in params)]
    rows = [(*row, *(_cell(own, name) for name in names)) for row, own in zip(first, params, strict=True)]
    lines = _lines((*title, *names), rows)
    if all(len(line) <= width for line in lines):
        return lines
    rows = [(*row, configuration(own)) for row, own in zip(first, params, strict=True)]
    return _lines((*title, "parameters"), rows)


def _cell(params: Mapping[str, Any], name: str) -> str:
    return label(params[name]) if name in params else "-"


def _lines(title: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return aligned([tuple(map(presentable, row)) for row in (title, *rows)], right=(1, 2))
