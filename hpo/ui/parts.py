"""Contents of the pages of a study, as plain data and as parts of a report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo import layout
from hpo.analysis.axes import flat_params
from hpo.analysis.density import MOST_DOTS
from hpo.analysis.failures import Cause, causes_of, warnings_of
from hpo.analysis.forecast import epochs_of
from hpo.analysis.formatting import listed
from hpo.analysis.groups import GroupBest, best_per_group
from hpo.analysis.heatmaps import heatmaps
from hpo.analysis.lineages import searched
from hpo.analysis.optimization_history import optimization_history
from hpo.analysis.parallel import parallel_coordinates
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.curves import trainings, trainings_of
from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.training_log import log_of
from hpo.machine.files import NotPlainError, tail_of
from hpo.reports.blocks import Block, Chart, Row, Section, Text
from hpo.reports.charts import ColourScale, HeatmapChart, TrainingChart
from hpo.reports.training_report import training_report
from hpo.spec.models import Metric
from hpo.text import presentable
from hpo.ui.live import Snapshot, mark_of
from hpo.ui.standing import gpu_seconds_so_far

# Bytes of an output that a page shows, its last ones.
MOST_OUTPUT = 64 * 1024
OUTPUTS = (layout.OUTPUT, layout.ERROR, layout.CRASH)


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs.

    Attributes:
        trial: The trial.
        epoch: The last step that it reported; None before the first.
        epochs: Number of epochs that it is to train; None if that is not known.
        seconds: Since its start; None if that is not known.
        gpu_seconds: What it cost so far.
        curve: Its leading metric by step.
    """

    trial: TrialRecord
    epoch: int | None
    epochs: int | None
    seconds: float | None
    gpu_seconds: float
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Bests:
    """The best trial of each group by a metric."""

    metric: Metric
    groups: tuple[GroupBest, ...]


def running_trials(snapshot: Snapshot) -> list[RunningTrial]:
    """Return the trials that run."""
    now = time.time()
    metric = snapshot.record.metrics[0].name
    found = []
    for trial in snapshot.record.in_state("RUNNING"):
        curve = tuple((step, value) for step, value in trial.series(metric) if math.isfinite(value))
        last = trial.history[-1].step if trial.history else None
        seconds = None if trial.started is None else max(0.0, now - trial.started)
        cost = gpu_seconds_so_far(snapshot, trial, now)
        found.append(RunningTrial(trial, last, epochs_of(snapshot.spec, trial.params), seconds, cost, curve))
    return found


def bests(study: StudyRecord) -> list[Bests]:
    """Return the best trials of each group, by each metric."""
    return [Bests(metric, best_per_group(study, metric)) for metric in study.metrics]


def deaths(study: StudyRecord) -> tuple[tuple[Cause, ...], dict[str, int]]:
    """Return the causes for which trials ended early, and on how many trials each red flag only warned."""
    return causes_of(study), warnings_of(study)


def curve_blocks(study: StudyRecord) -> list[Block]:
    """Return the curves of the best trial of each group; nothing before there are any."""
    best = trainings(study, study.metrics[0])
    if best is not None:
        charts = tuple(
            Chart(f"{own.group} (trial {own.trial.number})", TrainingChart(best, own)) for own in best.groups
        )
        title = f"Curves of the best trial of each {study.group_by}" if study.group_by else "Curves of the best trial"
        return [Row(charts, title)]
    return []


def history_blocks(study: StudyRecord) -> list[Block]:
    """Return the value of each trial in the order tried, and the best so far."""
    blocks: list[Block] = []
    for metric in study.metrics:
        data = optimization_history(_drawn(searched(study), metric), metric)
        if data.points:
            blocks.append(Chart(f"{metric.name} of each trial", data))
    return blocks or [Text("No trial has a value yet.")]


def _drawn(study: StudyRecord, metric: Metric) -> StudyRecord:
    """Return a study with what is drawn of its history: of very many trials not what pruned ones reported last."""
    if len(study.finished) <= MOST_DOTS:
        return study
    return replace(study, trials=study.complete(metric))


def heatmap_blocks(study: StudyRecord) -> list[Block]:
    """Return the heatmaps of each metric, one a group: nothing is averaged over groups."""
    blocks: list[Block] = []
    for metric in study.metrics:
        data = heatmaps(searched(study), metric)
        if data is None:
            return [Text("No parameter with values of its own is searched, so there is nothing to lay out.")]
        if data.low is not None:
            best = "higher" if metric.direction == "maximize" else "lower"
            caption = f"Yellow is best ({best} is better)."
            blocks.append(Row((Chart(f"Colour scale: {metric.name}", ColourScale(data)),), caption=caption))
        blocks.append(
            Row(
                tuple(
                    Chart(f"{study.group_by}: {own.group}" if study.group_by else own.group, HeatmapChart(data, own))
                    for own in data.maps
                )
            )
        )
        if data.averaged:
            text = f"A cell with n above 1 averages over other parameters: {listed(data.averaged)}."
            blocks.append(Text(text))
    return blocks


def parallel_blocks(study: StudyRecord) -> list[Block]:
    """Return parallel coordinates by each metric."""
    blocks: list[Block] = []
    for metric in study.metrics:
        data = parallel_coordinates(searched(study), metric)
        if data is None:
            continue
        left = f"Not shown, for want of room: {listed(data.left_out)}." if data.left_out else ""
        blocks.append(Chart(f"COMPLETE trials by {metric.name}", data, caption=left))
    return blocks or [Text("No trial has completed yet.")]


# --- one trial


def training_sections(study: StudyRecord, trial: TrialRecord) -> Sequence[Section]:
    """Return the diagnosis of a trial with its curves; nothing without a report."""
    return training_report(diagnose(log_of(study, trial))).sections if trial.history else ()


def comparison_blocks(study: StudyRecord, trials: Sequence[TrialRecord]) -> list[Block]:
    """Return the curves of some trials, on the same axes."""
    named = [(f"trial {trial.number}", trial) for trial in trials if trial.history]
    data = trainings_of(named, study.metrics[0], study.metrics, None)
    if data is None:
        return [Text("Neither has reported a loss or a metric of the study.")]
    return [Row(tuple(Chart(own.group, TrainingChart(data, own)) for own in data.groups))]


@dataclass(frozen=True)
class ComparedValue:
    """A parameter or a result of trials, None where one lacks it; `differ`: they are not all the same."""

    name: str
    values: tuple[Any, ...]

    @property
    def differ(self) -> bool:
        """Return True if the values are not all the same."""
        return any(value != self.values[0] for value in self.values)


def compared(trials: Sequence[TrialRecord]) -> tuple[list[ComparedValue], list[ComparedValue]]:
    """Return the final values and the parameters of some trials beside each other."""
    return list(_beside([trial.values for trial in trials])), list(_beside([flat_params(t.params) for t in trials]))


def _beside(found: Sequence[Any]) -> Iterator[ComparedValue]:
    for name in dict.fromkeys(name for one in found for name in one):
        yield ComparedValue(name, tuple(one.get(name) for one in found))


@dataclass(frozen=True)
class Output:
    """Text that a trial left in a file: its name, the last of its text, and whether there is more of it."""

    name: str
    text: str
    cut: bool


def outputs(study: StudyRecord, number: int) -> list[Output]:
    """Return what a trial printed, its traceback and the stacks of a crash, as far as they are there."""
    folder = layout.trial_directory(study.directory, number)
    return [found for name in OUTPUTS if (found := _output(folder / name)) is not None]


def output_marks(study: StudyRecord, number: int) -> tuple[object, ...]:
    """Return what changes when one of these files does."""
    folder = layout.trial_directory(study.directory, number)
    return tuple(mark_of(folder / name) for name in OUTPUTS)


def _output(path: Any) -> Output | None:
    try:
        content = tail_of(path, MOST_OUTPUT)
    except FileNotFoundError:
        return None
    except NotPlainError as error:
        return Output(path.name, f"it cannot be shown: {error.strerror}", False)
    except OSError as error:
        return Output(path.name, f"it cannot be read: {error.strerror}", False)
    text = content.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return Output(path.name, presentable(text), len(content) == MOST_OUTPUT) if text.strip() else None
