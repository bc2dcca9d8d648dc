"""From a study's records to the sections of its report: plain data, in the order they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpo import layout
from hpo.analysis.architecture import Heatmap, Heatmaps, best_per_group, heatmaps
from hpo.analysis.axes import searched
from hpo.analysis.effects import METHOD, Importance, importance
from hpo.analysis.failures import causes_of
from hpo.analysis.pareto import pareto_front
from hpo.analysis.progress import History, optimization_history
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.wording import configuration, count, decimals, duration, listed, number, numbers, score
from hpo.budget import Span, wall_seconds
from hpo.reports.blocks import Block, Cell, Chart, Facts, Link, Report, Row, Section, Table, Text
from hpo.spec import Metric

# Longer tables end in a note of how many rows were left out.
MOST_ROWS = 60


def report_of(study: StudyRecord) -> Report:
    """The whole report; a section that has nothing to say says why."""
    makers: tuple[Callable[[StudyRecord], Section | None], ...] = (
        summary,
        best_configurations,
        pareto,
        heatmap_section,
        history_section,
        importance_section,
        failures,
        files,
    )
    sections = (make(study) for make in makers)
    return Report(study.name, _subtitle(study), tuple(section for section in sections if section is not None))


def _subtitle(study: StudyRecord) -> str:
    names = [name for name in searched(study.space) if name != study.group_by]
    goals = listed(f"{metric.direction} {metric.name}" for metric in study.metrics)
    goals = goals[0].upper() + goals[1:]
    over = f" over {listed(names)}" if names else ""
    return f"{goals}{over}{f', for each {study.group_by}' if study.group_by else ''}."


# --- summary


def summary(study: StudyRecord) -> Section:
    finished = study.finished
    headline: list[tuple[str, Cell]] = []
    if len(study.metrics) == 1:
        metric = study.metrics[0]
        best = best_of(study.complete(metric), metric)
        if best is not None:
            headline.append((f"best {metric.name}", _scores(study, metric)(best)))
            headline.append(("in trial", str(best.number)))
    else:
        headline.append(("on the Pareto front", count(len(pareto_front(study)), "trial")))
    headline.append(("finished", count(len(finished), "trial")))
    spans = [Span(t.started, t.started + t.seconds, t.gpu_seconds) for t in study.trials if t.started and t.seconds]
    if spans:
        headline.append(("wall time", duration(wall_seconds(spans))))
    facts: list[tuple[str, Cell]] = [("Trials", _counts(study))]
    for metric in study.metrics:
        best = best_of(study.complete(metric), metric)
        if best is None:
            facts.append((f"Best {metric.name}", "none: no trial completed yet"))
        else:
            value = f"{_scores(study, metric)(best)} in trial {best.number}"
            facts.append((f"Best {metric.name}", f"{value} ({configuration(best.params)})"))
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


def _counts(study: StudyRecord) -> str:
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


def _scores(study: StudyRecord, metric: Metric) -> Callable[[TrialRecord], str]:
    """How final values of `metric` are written: with the same decimals throughout the report."""
    places = decimals(trial.values[metric.name] for trial in study.complete(metric))
    return lambda trial: score(trial.values[metric.name], places) if metric.name in trial.values else "—"


# --- best configurations


def best_configurations(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    if not any(study.complete(metric) for metric in study.metrics):
        blocks.append(Text("No trial has completed yet, so there is no best configuration."))
    else:
        for metric in study.metrics:
            if len(study.metrics) > 1:
                blocks.append(Text(f"By {metric.name} alone ({metric.direction}):"))
            blocks.append(_best_table(study, metric))
        blocks.append(
            Text(
                "Each score is that of one run. With another seed it would differ, and the best of many runs "
                "looks better than it is: train the configurations you compare more than once."
            )
        )
    title = "Best configuration" + (f" of each {study.group_by}" if study.group_by else "")
    return Section(title, "best", blocks)


def _best_table(study: StudyRecord, metric: Metric) -> Table:
    scores = _scores(study, metric)
    rows: list[tuple[Cell, ...]] = []
    for group in best_per_group(study, metric):
        tried = f"{group.complete} / {group.pruned} / {group.failed}"
        if group.best is None:
            rows.append((group.group, "—", "—", "no complete trial", "—", "—", tried))
        else:
            best = group.best
            rows.append(
                (
                    group.group,
                    scores(best),
                    str(best.number),
                    configuration(best.params, without=[study.group_by]),
                    duration(best.seconds),
                    str(best.steps) if best.history else "—",
                    tried,
                )
            )
    columns = (
        study.group_by or "trials",
        metric.name,
        "trial",
        "configuration",
        "time",
        "steps",
        "complete / pruned / failed",
    )
    return Table(columns, tuple(rows), numeric=frozenset({1, 2, 4, 5, 6}))


# --- several metrics


@dataclass(frozen=True)
class Front:
    """Final values of the first two metrics: (trial number, first, second, is on the front)."""

    metrics: tuple[Metric, Metric]
    points: tuple[tuple[int, float, float, bool], ...]


def front_of(study: StudyRecord) -> Front:
    first, second = study.metrics[:2]
    best = {trial.number for trial in pareto_front(study)}
    complete = [t for t in study.complete(first) if second.name in t.values]
    return Front(
        (first, second),
        tuple((t.number, t.values[first.name], t.values[second.name], t.number in best) for t in complete),
    )


def pareto(study: StudyRecord) -> Section | None:
    if len(study.metrics) < 2:
        return None
    front = pareto_front(study)
    if not front:
        return Section("Pareto front", "pareto", [Text("No trial has completed yet, so there is no front.")])
    writers = [_scores(study, metric) for metric in study.metrics]
    rows = tuple(
        (str(t.number), *(write(t) for write in writers), configuration(t.params), duration(t.seconds)) for t in front
    )
    columns = ("trial", *(m.name for m in study.metrics), "configuration", "time")
    numeric = frozenset({0, *range(1, len(study.metrics) + 1), len(study.metrics) + 2})
    goals = listed(f"{metric.name} ({metric.direction})" for metric in study.metrics)
    text = f"{count(len(front), 'trial')} that no other beats in all of {goals}."
    shown = " Shown are the first two metrics." if len(study.metrics) > 2 else ""
    chart = Chart("Pareto front", front_of(study), caption=f"Complete trials; those on the front are joined.{shown}")
    return Section("Pareto front", "pareto", [Text(text), chart, _capped(columns, rows, numeric)])


def _capped(
    columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], numeric: frozenset[int], **more: str
) -> Table:
    note = f"{len(rows) - MOST_ROWS} more are left out here." if len(rows) > MOST_ROWS else ""
    return Table(columns, rows[:MOST_ROWS], numeric, note=note, **more)


# --- heatmaps


@dataclass(frozen=True)
class HeatmapChart:
    """One of the heatmaps, with what all of them have in common."""

    shared: Heatmaps
    own: Heatmap


@dataclass(frozen=True)
class ColourScale:
    shared: Heatmaps


def heatmap_section(study: StudyRecord) -> Section:
    maps = [heatmaps(study, metric, [name for name, _ in importance(study, metric).shares]) for metric in study.metrics]
    known = [data for data in maps if data is not None]
    if not known:
        text = "No parameter with values of its own is searched, so there is nothing to lay out."
        return Section("Heatmaps", "heatmaps", [Text(text)])
    if not study.finished:
        return Section("Heatmaps", "heatmaps", [Text("No trial has finished yet.")])
    first = known[0]
    several = len(known) > 1
    blocks: list[Block] = [Text(_how_to_read(first, several))]
    for data in known:
        if several:
            same = (data.rows.name, data.columns.name) == (first.rows.name, first.columns.name)
            aside = f" {data.chosen}" if not same else ""
            blocks.append(Text(f"Final {data.metric.name} ({data.metric.direction}):{aside}"))
        blocks += _heatmap_blocks(study, data)
    if first.averaged:
        text = f"Other parameters vary within a cell: {listed(first.averaged)}. A cell with n above 1 averages over "
        blocks.append(Text(text + "them, and two cells may differ because of them."))
    spoken = [axis.name.replace("_", " ") for axis in (first.rows, first.columns) if axis.name]
    title = " by ".join([spoken[0][0].upper() + spoken[0][1:], *spoken[1:]])
    return Section(title + (f" for each {study.group_by}" if study.group_by else ""), "heatmaps", blocks)


def _heatmap_blocks(study: StudyRecord, data: Heatmaps) -> Iterable[Block]:
    if data.low is not None:
        yield Chart(f"Colour scale of all heatmaps: {data.metric.name}", ColourScale(data), caption=_clipping(data))
    yield Row(
        tuple(
            Chart(
                f"{study.group_by}: {own.group}" if study.group_by else own.group,
                HeatmapChart(data, own),
                heatmap_table(data, own),
                _unplaced(data, own),
            )
            for own in data.maps
        )
    )


def _how_to_read(data: Heatmaps, several: bool) -> str:
    parts = [data.chosen] if data.chosen else []
    parts.append(
        f"The number in a cell is the final {'value' if several else data.metric.name} of its complete trials: of one "
        "trial where n = 1, the mean where n is larger."
    )
    if data.group_by:
        scale = "all heatmaps of a metric share" if several else "all heatmaps share"
        parts.append(f"No cell mixes values of {data.group_by}, and {scale} one colour scale.")
    parts.append(
        "Pruned and failed trials are counted in their cells and never averaged in; empty cells were not tried."
    )
    if any(own.best for own in data.maps):
        parts.append("The best cell of each heatmap is outlined.")
    for axis in (data.rows, data.columns):
        if axis.binned:
            kind = "has many values" if axis.whole else "is continuous"
            steps = "equal steps of its logarithm" if axis.log else "equal steps"
            edges = (
                "" if axis.whole else "; the edges are on the axis, and a bin holds its lower edge, the last bin both"
            )
            parts.append(f"{axis.name} {kind} and is binned in {steps}{edges}.")
    return " ".join(parts)


def _clipping(data: Heatmaps) -> str:
    brighter = "higher" if data.metric.direction == "maximize" else "lower"
    text = f"Yellow is best ({brighter} is better)."
    if data.clipped:
        text += " Some cells lie far beyond the bad end of the scale and have its end colour; their numbers are exact."
    return text


def _unplaced(data: Heatmaps, own: Heatmap) -> str:
    if not own.unplaced:
        return ""
    axes = listed((axis.name for axis in (data.rows, data.columns) if axis.name), "or")
    return f"{count(own.unplaced, 'trial')} of this group had no {axes} and is not shown."


def heatmap_table(data: Heatmaps, own: Heatmap) -> Table:
    """The heatmap in words; the best cell ends in a star."""
    across, down = data.columns.name, data.rows.name
    columns = (f"{down} ↓  {across} →" if across else down, *(data.columns.labels if across else (data.metric.name,)))
    rows = tuple(
        (text, *("; ".join(cell_lines(data, own, i, j)) for j in range(len(own.cells[i]))))
        for i, text in enumerate(data.rows.labels)
    )
    return Table(columns, rows, note="★ the best cell" if own.best else "", folded="The numbers as a table")


def cell_lines(data: Heatmaps, own: Heatmap, row: int, column: int) -> tuple[str, ...]:
    """What stands in a cell, line by line: `0.912`, `n = 2`, `1 pruned`."""
    cell = own.cells[row][column]
    lines: list[str] = []
    if cell.mean is not None:
        star = " ★" if own.best == (row, column) else ""
        lines += [score(cell.mean, cell_places(data)) + star, f"n = {cell.n}"]
    if cell.pruned:
        lines.append(f"{cell.pruned} pruned")
    if cell.failed:
        lines.append(f"{cell.failed} failed")
    return tuple(lines)


def cell_places(data: Heatmaps) -> int:
    return decimals(value for value in (data.low, data.high) if value is not None)


# --- optimization history


def history_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    for metric in study.metrics:
        data = optimization_history(study, metric)
        if data.points:
            table = _best_so_far(study, data)
            blocks.append(Chart(f"{metric.name} of each trial", data, table, _history_caption(data)))
        else:
            blocks.append(Text(f"No trial has a value of {metric.name} yet."))
    return Section("Optimization history", "history", blocks)


def _best_so_far(study: StudyRecord, data: History) -> Table:
    """The trials that were the best when they completed."""
    places = decimals(trial.values[data.metric.name] for trial in study.complete(data.metric))
    steps: list[tuple[Cell, ...]] = []
    last: float | None = None
    group_of = {point.number: point.group for point in data.points}
    for trial, value in data.best:
        if value != last:
            steps.append((str(trial), score(value, places), group_of[trial])[: 3 if data.group_by else 2])
            last = value
    columns = ("trial", f"best {data.metric.name} so far", data.group_by or "")[: 3 if data.group_by else 2]
    return _capped(columns, tuple(steps), frozenset({0, 1}), folded="Every improvement")


def _history_caption(data: History) -> str:
    parts = []
    if data.best:
        parts.append("The line is the best final value so far.")
    pruned = sum(point.state == "PRUNED" for point in data.points)
    if pruned:
        parts.append("A cross is the last value that a pruned trial reported: it is not a final value.")
    if data.silent:
        parts.append(f"{count(data.silent, 'pruned trial')} reported none.")
    if data.failed:
        parts.append(f"{count(data.failed, 'failed trial')} {'has' if data.failed == 1 else 'have'} no value.")
    if data.beyond:
        parts.append(f"{count(data.beyond, 'extreme point')} lie beyond the axis; double-click to see all.")
    return " ".join(parts)


# --- parameter importance


def importance_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    for metric in study.metrics:
        data = importance(study, metric)
        if not data.shares:
            name = f" for {metric.name}" if len(study.metrics) > 1 else ""
            blocks.append(Text(f"{METHOD}{name}: {data.why_not}."))
            continue
        rows = tuple((name, f"{share:.1%}") for name, share in data.shares)
        table = Table(("parameter", "share"), rows, frozenset({1}), folded="The numbers as a table")
        blocks.append(Chart(f"Importance for {metric.name}", data, table, _importance_caption(data)))
    return Section("Parameter importance", "importance", blocks)


def _importance_caption(data: Importance) -> str:
    text = (
        f"{METHOD}, Optuna's default: how differently each parameter is distributed among the best {data.top} of "
        f"{data.n} complete trials and among all {data.n}, as a share of the total. Pruned trials have no final value "
        "and are not in it."
    )
    return text + (" With fewer than 50 complete trials the shares are rough." if data.rough else "")


# --- failures and prunings


def failures(study: StudyRecord) -> Section:
    causes = causes_of(study)
    if not causes:
        text = "No trial failed and none was pruned." if study.finished else "No trial has finished yet."
        return Section("Failures and prunings", "failures", [Text(text)])
    words = {"FAIL": "failed", "PRUNED": "pruned"}
    counts = Table(
        ("ended as", "cause", "trials", "meaning", "which"),
        tuple(
            (
                "tried again" if cause.requeued else words[cause.state],
                cause.cause.replace("_", " ") or "unknown",
                str(len(cause.trials)),
                cause.meaning,
                numbers(trial.number for trial in cause.trials),
            )
            for cause in causes
        ),
        frozenset({2}),
    )
    blocks: list[Block] = [counts]
    failed = [trial for cause in causes if cause.state == "FAIL" for trial in cause.trials]
    pruned = [trial for cause in causes if cause.state == "PRUNED" for trial in cause.trials]
    if failed:
        blocks += [Text("Every failure, with its reason:"), _endings(study, failed)]
    if pruned:
        blocks.append(_endings(study, pruned, folded="Every pruning, with its reason"))
    return Section("Failures and prunings", "failures", blocks)


def _endings(study: StudyRecord, trials: Iterable[TrialRecord], **more: str) -> Table:
    columns = ("trial", "reason", "steps", "time", "configuration")
    rows = tuple(
        (
            _trial_link(study, trial),
            (trial.reason or "none recorded") + (" (tried again)" if trial.requeued else ""),
            str(trial.steps),
            duration(trial.seconds),
            configuration(trial.params),
        )
        for trial in sorted(trials, key=lambda t: t.number)
    )
    return _capped(columns, rows, frozenset({0, 2, 3}), **more)


def _trial_link(study: StudyRecord, trial: TrialRecord) -> Cell:
    """To the traceback where one was kept, else to the trial's folder, if there is one."""
    folder = layout.trial_directory(study.directory, trial.number)
    for path in (folder / layout.ERROR, folder):
        if path.exists():
            return Link(str(trial.number), path.relative_to(study.directory).as_posix())
    return str(trial.number)


# --- files


def files(study: StudyRecord) -> Section:
    items: list[tuple[str, Cell]] = [("This study's folder", str(study.directory))]
    known = (
        ("The study as it ran", layout.SPEC),
        ("A folder for each trial", "trials"),
        ("What workers printed outside of trials", "workers"),
    )
    items += [(name, Link(path, path)) for name, path in known if (study.directory / path).exists()]
    items += [
        (
            "In a trial's folder",
            f"{layout.HISTORY}: every metric of every step; {layout.OUTPUT}: what it printed; "
            f"{layout.ERROR}: the traceback if it failed",
        ),
        *((("The trials' results", study.storage),) if study.storage else ()),
        ("This report", Link("report.html", "report.html")),
        ("This report as text", Link("report.md", "report.md")),
    ]
    return Section("Where the files are", "files", [Facts(tuple(items))])
