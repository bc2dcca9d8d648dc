"""Driving of a study by a command: what is shown while it runs, how it ended, and where its files are."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from hpo import layout
from hpo.analysis.formatting import configuration, duration
from hpo.cli.common import LABEL, follow_up, labelled, metrics_text
from hpo.cli.display import Display
from hpo.cli.output import echo, say
from hpo.errors import HpoError
from hpo.spec.racing import is_race
from hpo.text import count, redact

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord
    from hpo.cli.progress import StudyProgress
    from hpo.runner import RunResult
    from hpo.spec.models import StudySpec

INTERRUPTED, STOPPED = 130, 4


@dataclass(frozen=True)
class Driven:
    """A study that a command has driven: the exit code, and what is said at the end."""

    spec: StudySpec
    result: RunResult
    code: int
    verdict: str

    def document(self) -> dict[str, Any]:
        """Return the document of `--json`."""
        progress = asdict(self.result.progress) | {"finished": self.result.progress.finished}
        return asdict(self.result) | {"progress": progress, "exit_code": self.code}


def drive_study(
    context: click.Context,
    spec: StudySpec,
    runs: Path,
    *,
    hints: Sequence[str] = (),
    strict: bool = False,
    retry_failed: bool = False,
    display: Display,
) -> Driven:
    """Drive a study to the end of its budget, and show how it goes and ends."""
    from hpo.control.requests import effective, read_steering
    from hpo.runner import run as drive
    from hpo.storage.study_folder import refuse_taken

    refuse_taken(runs, spec.name)
    directory = layout.study_directory(runs, spec.name)
    spec = effective(spec, read_steering(directory))  # for what is shown; the runner does this for itself
    if not display.quiet:
        _show_header("\n".join([_header(spec, runs), *(f"warning: {hint}" for hint in hints)]), display.out)
    trackers = display.trackers(spec, runs)
    try:
        result = drive(spec, runs, trackers, strict=strict, retry_failed=retry_failed)
    except HpoError as error:
        display.ends(redact(str(error)))
        raise
    finally:
        display.close()
    code, verdict = _verdict(spec, runs, result, display.progress, context)
    code = code or int(not result.reports)  # why it was not written has been said
    display.ends(f"{verdict} (exit code {code})")
    if verdict and (code or display.shows_end):
        text = verdict.lstrip("\n") if display.quiet else verdict
        say(text, file=sys.stderr if code else display.out)
    return Driven(spec, result, code, verdict)


def show_ending(driven: Driven, runs: Path, out: IO[str]) -> None:
    """Print what no red flag has looked at, the best trial, and where all files are."""
    for sentence in _silent_flags(driven.spec, runs):
        say(f"warning: {sentence}", file=out)
    from hpo.cli.best_table import width_of

    say(_ending(driven.spec, runs, driven.result, width_of(out)), file=out)


def _show_header(header: str, out: IO[str]) -> None:
    """Print what is about to be run. Nothing has been done: if nobody reads it, nothing is."""
    try:
        echo(header, file=out)
    except BrokenPipeError:
        raise
    except OSError:
        echo(header, err=True)


def command_line(context: click.Context) -> str:
    """Return the command line as it was given, for giving it again."""
    return redact(shlex.join(context.obj or ("hpo", *sys.argv[1:])))


def _header(spec: StudySpec, runs: Path) -> str:
    from hpo.spec.wording import algorithm_text, budget_text, confirm_text, metric_text, sampler_text

    engine = spec.engine
    workers = "as many as fit" if engine.workers is None else str(engine.workers)
    where = f" at {engine.address}" if engine.address else ""
    gpu = f", {engine.gpu_text}" if engine.gpu else ""
    return labelled(
        [
            ("study", f"{spec.name} ({spec.source})"),
            ("objective", spec.objective_ref().label),
            ("metrics", ", ".join(map(metric_text, spec.metrics))),
            ("sampler", sampler_text(spec, reason=True)),
            ("pruner", algorithm_text(spec.pruner)),
            ("budget", budget_text(spec.budget)),
            *([("confirm", confirm_text(spec))] if spec.confirms else []),
            ("workers", f"{workers} ({engine.name} engine{where}{gpu})"),
            ("where", str(layout.study_directory(runs, spec.name))),
        ]
    )


def _verdict(
    spec: StudySpec, runs: Path, result: RunResult, progress: StudyProgress | None, context: click.Context
) -> tuple[int, str]:
    """Return the exit code, and the sentences that say how the run ended."""
    trials = result.progress
    counts = [
        f"{n} {word}"
        for n, word in (
            (trials.complete, "complete"),
            (trials.pruned, "pruned"),
            (trials.failed, "failed"),
            (trials.requeued, "requeued"),
        )
        if n
    ]
    total = count(trials.finished, "trial") if trials.budget is None else f"{trials.finished} of {trials.budget} trials"
    summary = f"\n{total} finished" + (f": {', '.join(counts)}" if counts else "")
    if result.stopped_by:
        said = f"stopped by {result.stopped_by} with `hpo stop`"
        return STOPPED, f"{summary}\n{said}; to go on, give the same command again: {command_line(context)}"
    if result.paused:
        resume = follow_up(f"resume {shlex.quote(spec.name)}", runs)
        said = f"interrupted while it was paused; to go on, `{resume}`, and give the same command again"
        return STOPPED, f"{summary}\n{said}: {command_line(context)}"
    if result.interrupted:
        said = "interrupted; to go on, give the same command again"
        return INTERRUPTED, f"{summary}\n{said}: {command_line(context)}"
    if trials.complete == 0:
        said = result.stopped or "no trial completed"
        lines = [f"{said}. {_first_error(runs, result)}".rstrip()]
        if result.stopped:
            lines.append(
                "when the cause is fixed, the same command goes on; with --retry-failed it tries what failed again"
            )
        return 1, "\n".join([summary, *lines])
    if not result.done:
        return 1, f"{summary}\nstopped before its budget was spent: {result.stopped or 'no reason was given'}"
    if progress is not None and progress.started_trials == 0:
        all_tried = spec.tries_each_once and trials.finished >= (spec.space.grid_size() or 0)
        more = (
            ""
            if all_tried or is_race(spec) or spec.budget.trials is None
            else f"; `--trials {2 * spec.budget.trials}` would go on"
        )
        return 0, f"{summary}\nnothing was left to run{more}"
    return 0, summary if progress is None else f"{summary}, in {duration(progress.elapsed)}"


def _silent_flags(spec: StudySpec, runs: Path) -> list[str]:
    from hpo.analysis.records import read_study
    from hpo.analysis.study_status import silent_flags

    return silent_flags(read_study(runs, spec.name, histories=False), spec)


def _first_error(runs: Path, result: RunResult) -> str:
    """Return why the first failed trial failed, with the file of its traceback; if none failed, why one was pruned."""
    from hpo.analysis.records import read_study

    record = read_study(runs, result.study, histories=False)
    ended = [trial for trial in record.trained if trial.state != "COMPLETE"]
    failed = [trial for trial in ended if trial.state == "FAIL"]
    if failed:
        first = failed[0]
        return f"The first error, trial {first.number}: {first.reason}\n{_evidence(result.directory, first.number)}"
    if ended:
        how_many = "The only trial was" if len(ended) == 1 else f"All {len(ended)} trials were"
        whose = "" if len(ended) == 1 else ", the first one"
        return f"{how_many} pruned{whose} because {ended[0].reason}"
    return ""


def _evidence(study: Path, number: int) -> str:
    """Return the file that says most about why a trial failed."""
    trial = layout.trial_directory(study, number)
    for name, what in ((layout.ERROR, "traceback"), (layout.CRASH, "Python stacks"), (layout.OUTPUT, "output")):
        path = trial / name
        if path.exists() and path.stat().st_size > 0:
            return f"its {what}: {path}"
    return f"what its worker printed: {study / 'workers'}"


def _ending(spec: StudySpec, runs: Path, result: RunResult, width: int) -> str:
    """Return the best trial, what was found, and where all files are."""
    from hpo.analysis.records import read_study
    from hpo.storage.open import dashboard_argument

    study, best = shlex.quote(result.study), result.progress.best
    record = read_study(runs, result.study, histories=False)
    lines = []
    if best is not None:
        lines += _best(record, width - LABEL)
        lines.append(("trials", follow_up(f"trials {study}", runs)))
    lines += _found(record)
    lines += [("report" if index == 0 else "", str(path)) for index, path in enumerate(result.reports)]
    lines += [
        ("all files", str(result.directory)),
        ("dashboard", follow_up(f"dashboard {study}", runs)),
        ("", f"optuna-dashboard {shlex.quote(dashboard_argument(result.storage))}"),
        *_mlflow(spec, runs),
    ]
    if best is not None:
        file = f"{study}-best.yaml"
        lines.append(("train it", f"{follow_up(f'best {study}', runs)} > {file} && {follow_up(f'run {file}', runs)}"))
    return "\n" + labelled(lines)


def _best(record: StudyRecord, width: int) -> list[tuple[str, str]]:
    """Return the best trial with its parameters, that of each group, and who reached the goals."""
    from hpo.analysis.goals import goal_states
    from hpo.analysis.groups import best_per_group
    from hpo.analysis.ranking import best_first
    from hpo.cli.best_table import best_table, varying
    from hpo.reports.sections.goals import goal_sentence

    metric = record.metrics[0]
    bests = best_first((g.best for g in best_per_group(record, metric) if g.best is not None), metric)
    if not bests:  # its record is damaged
        return []
    values = metrics_text({one.name: bests[0].values[one.name] for one in record.metrics})
    said = f"{values}, trial {bests[0].number}"
    if len(bests) == 1:
        params = varying(record.space, bests[0].params) or bests[0].params
        lines = [("best", f"{said}: {configuration(params)}")]
    else:
        lines = [("best", said), *(("", line) for line in best_table(record, width))]
    return lines + [("" if place else "goal", goal_sentence(state)) for place, state in enumerate(goal_states(record))]


def _found(record: StudyRecord) -> list[tuple[str, str]]:
    """Return what the report says first, in three lines at most and in the language of reports."""
    from hpo.reports.sections.found import short_findings
    from hpo.translation.catalogue import chosen, language

    with language(chosen()):
        found = short_findings(record)
    return [("" if place else "found", f"{one.text} {one.command}".rstrip()) for place, one in enumerate(found)]


def _mlflow(spec: StudySpec, runs: Path) -> Iterator[tuple[str, str]]:
    from hpo.trackers.mlflow.place import is_server, read_place

    known = read_place(layout.study_directory(runs, spec.name))
    if spec.mlflow is not None and known is not None:
        yield "mlflow", follow_up(f"mlflow {shlex.quote(spec.name)}", runs)
        uri = known.tracking_uri
        yield "", uri if is_server(uri) else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
