"""`hpo status`: show where a study stands, read from its storage; a running driver is not disturbed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.analysis.formatting import around, configuration, duration, numbers, rough_duration
from hpo.cli.common import (
    aligned,
    emit,
    find_study,
    follow_up,
    json_option,
    labelled,
    metrics_text,
    runs_option,
    study_argument,
)
from hpo.cli.output import echo
from hpo.errors import StudyNotFound
from hpo.text import count

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord, TrialRecord
    from hpo.analysis.study_status import StudyStatus
    from hpo.cluster.jobs import Job

# Regions of the space that are shown; --json has some more.
MOST_REGIONS = 3


@click.command(
    epilog="""\b
Examples:
  hpo status                        the study last driven
  hpo status quickstart             by name
  hpo status studies/quickstart.yaml --runs /data/runs
  watch -n 5 hpo status
  hpo status --json | jq .finished
"""
)
@study_argument
@runs_option
@json_option
def status(study: str | None, runs: Path, as_json: bool) -> None:
    """Show where a study stands.

    It prints counts, the best trial so far, the running trials with their last epoch, the time spent, what ended
    trials early (each red flag by itself), and where in the search space red flags are raised. STUDY is a name in the
    runs folder or a YAML; by default the study last driven.
    """
    from hpo.analysis.goals import goal_states
    from hpo.analysis.notices import change_sentence, notices_of
    from hpo.analysis.records import records_of
    from hpo.analysis.study_status import part_of, silent_flags, study_status
    from hpo.cluster.jobs import jobs_of, states_of
    from hpo.control.requests import read_steering
    from hpo.layout import study_directory, trials_directory
    from hpo.reports.sections.red_flag_regions import region_sentences
    from hpo.storage.budget import span_of, span_until, wall_seconds
    from hpo.storage.driver_lock import driver_of
    from hpo.storage.load_study import load_study
    from hpo.storage.open import storage_url
    from hpo.storage.trial_attributes import JOB, waits
    from hpo.text import redact

    try:
        name = find_study(runs, study)
    except StudyNotFound:
        jobs = jobs_of(study_directory(runs, study)) if study else []
        if not jobs or trials_directory(study_directory(runs, str(study))).exists():
            raise
        _not_started(str(study), jobs, states_of(jobs), as_json)
        return
    spec, stored = load_study(runs, name)
    record = records_of(stored, spec, study_directory(runs, name), histories=False)
    now = study_status(record, spec)
    driver = driver_of(record.directory)
    trials = stored.get_trials(deepcopy=False)
    spans = [span for trial in trials if (span := span_of(trial.user_attrs))]
    if driver is not None:
        started = [trial for trial in trials if trial.state.name == "RUNNING" and not waits(trial)]
        running = [job for trial in started if (job := trial.user_attrs.get(JOB))]
        spans += [span_until(time.time(), job, spec.engine.gpus) for job in running]
    spent = {"seconds": wall_seconds(spans), "gpu_seconds": sum(span.gpu_seconds for span in spans)}
    part, of_part = part_of(record)
    where = [f"{sentence}{of_part}" for sentence in region_sentences(part)]
    silent = silent_flags(record, spec)
    notices = [*map(change_sentence, record.changes), *map(str, notices_of(record))]
    jobs = jobs_of(record.directory)
    states = states_of(jobs)
    paused = read_steering(record.directory).paused
    rest = None
    if driver is not None and paused is None:
        from hpo.analysis.forecast import rest_of

        rest = rest_of(record, spec, time.time())
    if as_json:
        emit(
            {
                "study": name,
                "directory": record.directory,
                "storage": redact(storage_url(spec, runs)),
                "driver": driver,
                "jobs": _jobs(jobs, states),
                "paused": paused and asdict(paused),
                "budget": {
                    "trials": now.budget,
                    "hours": spec.budget.hours,
                    "gpu_hours": spec.budget.gpu_hours,
                    "by": spec.budget.by and spec.budget.by.isoformat(sep=" "),
                },
                "finished": now.finished,
                "complete": now.complete,
                "pruned": now.pruned,
                "failed": now.failed,
                "requeued": now.requeued,
                "waiting": now.waiting,
                "at_rung": now.at_rung,
                "imported": now.imported,
                "best": now.best and _trial(now.best),
                "goals": goal_states(record),
                "pareto_front": [trial.number for trial in now.front] if len(record.metrics) > 1 else None,
                "running": [_trial(trial) | _last(trial) for trial in now.running],
                "causes": now.causes,
                "warnings": now.warnings,
                "red_flags_where": where,
                "red_flags_silent": silent,
                "notices": notices,
                "seconds_left": rest and rest.seconds._asdict(),
                **spent,
            }
        )
    else:
        resume = f"{paused}; `{follow_up(f'resume {shlex.quote(name)}', runs)}` resumes it" if paused else ""
        seen = {"where": where[:MOST_REGIONS], "silent": silent, "notices": notices}
        left = "" if rest is None else f"in about {around(rest.seconds, rough_duration)}"
        echo(_text(record, now, driver, _queue(jobs, states), resume, spent, left, seen))


def _trial(trial: TrialRecord) -> dict[str, Any]:
    return {"trial": trial.number, "values": trial.values, "params": trial.params, "started": trial.started}


def _last(trial: TrialRecord) -> dict[str, Any]:
    last = trial.history[-1] if trial.history else None
    return {"step": last and last.step, "metrics": last.metrics if last else {}, "attempt": trial.attempt}


def _text(
    record: StudyRecord,
    now: StudyStatus,
    driver: Mapping[str, Any] | None,
    queue: str,
    paused: str,
    spent: Mapping[str, float],
    left: str,
    seen: Mapping[str, Sequence[str]],
) -> str:
    from hpo.analysis.confirmation import confirmation_of, own_race
    from hpo.analysis.goals import goal_states
    from hpo.reports.sections.confirmation import confirmation_sentences
    from hpo.reports.sections.goals import goal_sentence
    from hpo.storage.driver_lock import driver_text

    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed"
    lines = [
        ("study", f"{record.name} ({record.directory})"),
        ("driver", "none" if driver is None else driver_text(driver)),
        *([("queue", queue)] if queue else []),
        *([("paused", paused)] if paused else []),
        ("finished", f"{now.total}: {counts}"),
    ]
    if now.at_rung:
        lines.append(
            ("", f"{now.at_rung} of the pruned {'waits' if now.at_rung == 1 else 'wait'} at a rung, and may go on")
        )
    if now.requeued:
        again = "lost, interrupted or promoted; gone on with, and not counted"
        lines.append(("", f"{count(now.requeued, 'attempt')} {again}"))
    if now.imported:
        lines.append(("imported", f"{count(now.imported, 'trial')} that {'was' if now.imported == 1 else 'were'} "
                      "trained elsewhere, in no other number"))  # fmt: skip
    if now.waiting:
        lines.append(("waiting", f"{count(now.waiting, 'queued trial')}"))
    confirmed = confirmation_of(record)
    if now.best is None:
        lines.append(("best", "no trial has completed yet"))
    elif own_race(record) is None:  # the best training of a race has the luckiest seed
        searched = {metric.name: now.best.values[metric.name] for metric in record.metrics}
        lines.append(("best", f"{metrics_text(searched)}, trial {now.best.number}"))
        lines.append(("", configuration(now.best.params)))
    if confirmed is not None:
        lines.append(("confirmed", confirmation_sentences(confirmed)[0]))
    lines += [("" if place else "goal", goal_sentence(state)) for place, state in enumerate(goal_states(record))]
    if len(record.metrics) > 1 and now.front:
        lines.append(("front", f"no other trial beats these in every metric: {numbers(t.number for t in now.front)}"))
    gpu = f", {duration(spent['gpu_seconds'])} of GPU" if spent["gpu_seconds"] else ""
    lines.append(("time", f"{duration(spent['seconds'])}{gpu}"))
    if left:
        lines.append(("ends", left))
    if now.causes:
        lines.append(("ended by", ", ".join(f"{cause} {n}" for cause, n in now.causes.items())))
    if now.warnings:
        lines.append(("warned of", ", ".join(f"{flag} {n}" for flag, n in now.warnings.items())))
    for name, sentences in seen.items():
        lines += [("" if place else name, sentence) for place, sentence in enumerate(sentences)]
    text = labelled(lines)
    if not now.running:
        return text
    rows = [("trial", "epoch", "time", "metrics", "parameters"), *(_row(trial) for trial in now.running)]
    title = "running"
    if driver is None:
        title = "left running by a driver that died; `hpo run` puts them back in the queue"
    return "\n".join([text, "", title, *(f"  {line}" for line in aligned(rows, right=(0, 1, 2)))])


def _queue(jobs: Sequence[Job], states: Mapping[str, str]) -> str:
    """Return the jobs that wait or run, else the last one; empty if none was submitted."""
    if not jobs:
        return ""
    shown = [job for job in jobs if job.id in states] or jobs[-1:]
    states_text = ", ".join(f"{job.label}: {states.get(job.id, 'not seen in the queue')}" for job in shown)
    return f"{states_text} ({count(len(jobs), 'job')} submitted)"


def _jobs(jobs: Sequence[Job], states: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"queue": job.queue, "id": job.id, "state": states.get(job.id)} for job in jobs]


def _not_started(name: str, jobs: Sequence[Job], states: Mapping[str, str], as_json: bool) -> None:
    """Print what is known of a study that was submitted and of which no job has run yet."""
    if as_json:
        emit({"study": name, "driver": None, "jobs": _jobs(jobs, states)})
    else:
        echo(labelled([("study", f"{name} has not started yet"), ("queue", _queue(jobs, states))]))


def _row(trial: TrialRecord) -> tuple[str, str, str, str, str]:
    last = trial.history[-1] if trial.history else None
    passed = "" if trial.started is None else duration(time.time() - trial.started)
    epoch, metrics = (str(last.step), metrics_text(last.metrics)) if last else ("", "")
    return str(trial.number), epoch, passed, metrics, configuration(trial.params)
