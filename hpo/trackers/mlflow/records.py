"""Content of MLflow's runs as plain data, made from the Optuna trials and their history files alone.

The same study always gives the same data, so writing it twice is harmless.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.machine.files import read_json
from hpo.spec.racing import is_race, race_of
from hpo.storage.budget import exhausted, span_of
from hpo.storage.evaluations import stored_evaluations
from hpo.storage.history import Step
from hpo.storage.trial_attributes import (
    FLAGS,
    JOB,
    ORIGIN,
    OUTCOME,
    RACE,
    SEGMENT,
    continued_from,
    outcome_of,
    params_of,
    requeued,
    started_of,
    values_of,
)
from hpo.text import cut

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

KEY, KIND, TRIAL = "hpo.key", "hpo.kind", "hpo.trial"
STUDY = "hpo.study"
STUDY_KIND, TRIAL_KIND = "study", "trial"
# The key of the study that a run was taken out of.
ORPHAN = "hpo.orphan_of"
PARENT = "mlflow.parentRunId"
# The run is in MLflow's trash because its trial is not, or no more, among the best that have runs.
BEYOND = "hpo.beyond"
NOTE = "mlflow.note.content"
# Tags of a run that a trial may come to have, or to have no more.
TRIAL_TAGS = frozenset(
    {"hpo.state", "hpo.group", "hpo.retry_of", "hpo.cause", "hpo.flag", "hpo.reason", "hpo.warnings", "hpo.requeued"}
    | {"hpo.confirmed", "hpo.continues", BEYOND}
)
ARTIFACTS = (layout.OUTPUT, layout.ERROR, layout.HISTORY, layout.CRASH, layout.STEPS, layout.EPOCHS)
STUDY_ARTIFACTS = (layout.SPEC, *layout.REPORTS)
DIAGNOSED = "hpo.diagnosis"
ADDED = SECONDS, PEAK = "seconds", "peak_gpu_mib"
MAX_ARTIFACT_BYTES = 20 * 2**20

# MLflow's limits (mlflow.utils.validation): longer values are refused, or cut by some of its stores only.
_MAX_NAME, _MAX_PARAM, _MAX_TAG = 250, 6000, 8000
_STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@dataclass(frozen=True)
class Gaps:
    """Parts that a run lacks.

    points: (name, step) of metrics. files: names of artifacts.
    """

    points: frozenset[tuple[str, int]]
    files: frozenset[str]


@dataclass(frozen=True)
class Point:
    """One value of a metric: time in milliseconds since the epoch."""

    name: str
    value: float
    time: int
    step: int


def name_of(given: str) -> str:
    """Return a name as MLflow takes it for a parameter, a metric or a tag.

    MLflow takes letters, digits, `_ - . : /` and spaces, and no path that means another (`a//b`). A name that had to be
    changed ends in six digits of its SHA-1, so that two names never become one.
    """
    name = re.sub(r"[^/\w.\- :]", "_", given)
    if len(name) > _MAX_NAME:
        name = name[: _MAX_NAME - 7]
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        name = name.replace("/", "_")
        name = f"_{name}" if name.startswith("..") or name in ("", ".") else name
    return name if name == given else f"{name}-{hashlib.sha1(given.encode()).hexdigest()[:6]}"


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return parameters as MLflow keeps them: text under one name each, a mapping's parts as `weights.dice`."""
    result: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[name_of(f"{prefix}{name}")] = cut(str(value), _MAX_PARAM)
    return result


def trial_params(trial: FrozenTrial, spec: StudySpec) -> dict[str, str]:
    """Return the parameters of a trial's run: its own, and `constants.NAME`, by which studies differ."""
    constants = {**spec.constants, **continued_from(trial.user_attrs).get("constants", {})}
    return flat({"constants": constants}) | flat(params_of(trial, spec.space))


def tags_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return tags within MLflow's limits, without those that are None or empty."""
    return {name_of(key): cut(str(value), _MAX_TAG) for key, value in given.items() if value not in (None, "")}


def milliseconds(seconds: float) -> int:
    """Return seconds as MLflow keeps times: whole milliseconds."""
    return round(seconds * 1000)


def points_of(rows: Iterable[Step]) -> list[Point]:
    """Return the metrics of a history as points: of each name in a step the latest value, with the time of its row.

    Args:
        rows: those of the file, as they were written. A step may have several, and put together it would have one time
            for all: a point that was written while the trial ran would be another one later.
    """
    points = {
        (row.step, name): Point(name_of(name), value, milliseconds(row.time), row.step)
        for row in rows
        for name, value in row.metrics.items()
    }
    return list(points.values())


# --- a trial


def trial_of(tags: Mapping[str, str]) -> int | None:
    """Return the number of the trial that a run with these tags is of.

    None for a parent, and for a run whose tags were changed to what hpo does not write.
    """
    number = tags.get(TRIAL, "")
    return int(number) if tags.get(KIND) == TRIAL_KIND and number.isascii() and number.isdigit() else None


def started(trial: FrozenTrial) -> float:
    """Return when a trial started, in seconds since the epoch; 0 if it never did."""
    return started_of(trial) or 0.0


def began(trials: Iterable[FrozenTrial], now: float) -> float:
    """Return when the first of the trials started, in seconds since the epoch; `now` if none has."""
    return min((started(trial) for trial in trials if trial.datetime_start), default=now)


def finished(trial: FrozenTrial) -> float:
    """Return when a trial finished, in seconds since the epoch; if hpo did not end it, as Optuna noted it."""
    noted = (trial.user_attrs.get(OUTCOME) or {}).get("finished")
    if noted is not None:
        return float(noted)
    return trial.datetime_complete.timestamp() if trial.datetime_complete else started(trial)


def status(trial: FrozenTrial) -> str:
    """Return MLflow's status of a trial. A requeued attempt is KILLED: it is not the trial that failed."""
    return "KILLED" if requeued(trial.user_attrs) and trial.state.is_finished() else _STATUS[trial.state.name]


def run_name(trial: FrozenTrial, spec: StudySpec) -> str:
    """Return the name of a trial's run: its number, and its value of `group_by`."""
    group = params_of(trial, spec.space).get(spec.group_by) if spec.group_by else None
    return f"trial {trial.number}" if group is None else cut(f"trial {trial.number} {group}", _MAX_NAME)


def standings(directory: Path) -> dict[str, str]:
    """Return the standings of a study's trials in its confirmation, by their numbers; empty if there is none."""
    try:
        noted = read_json(directory / layout.CONFIRMED)
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in noted.items() if isinstance(value, str)} if isinstance(noted, dict) else {}


def trial_tags(
    trial: FrozenTrial, spec: StudySpec, confirmed: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return tags that say what a trial is and, once it ended, how.

    Args:
        trial: The trial.
        spec: The study.
        confirmed: See `standings`.
    """
    job = trial.user_attrs.get(JOB) or {}
    origin = trial.user_attrs.get(ORIGIN) or {}
    place = origin.get(SEGMENT) or {}
    ended = trial.state.is_finished()
    outcome = outcome_of(trial) if ended else {}
    return tags_of(
        {
            KIND: TRIAL_KIND,
            TRIAL: trial.number,
            STUDY: spec.name,
            "hpo.state": trial.state.name,
            "hpo.group": params_of(trial, spec.space).get(spec.group_by) if spec.group_by else None,
            "hpo.source": job.get("source"),
            "hpo.attempt": job.get("attempt"),
            "hpo.retry_of": origin.get("retry_of"),
            "hpo.seed": job.get("seed"),
            "hpo.cause": outcome.get("cause"),
            "hpo.flag": outcome.get("flag"),
            "hpo.reason": outcome.get("reason"),
            "hpo.warnings": ", ".join(_warned(trial)),
            "hpo.warm_start": _warm(origin),
            **{f"hpo.{key}": place.get(key) for key in ("member", "generation", "parent") if place},
            "hpo.confirms": _confirms(origin, spec),
            "hpo.part": (origin.get(RACE) or {}).get("part"),
            "hpo.confirmed": confirmed.get(str(trial.number)),
            "hpo.continues": _continues(continued_from(trial.user_attrs)),
            "hpo.requeued": "true" if outcome.get("requeued") else None,
        }
    )


def _confirms(origin: Mapping[str, Any], spec: StudySpec) -> str | None:
    """Return the earlier trial whose configuration is trained again, as `study/number`."""
    index = (origin.get(RACE) or {}).get("configuration")
    if index is None or not is_race(spec):
        return None
    plan = race_of(spec)
    return f"{plan.study}/{plan.trials[index]}" if index < len(plan.trials) else None


def _warned(trial: FrozenTrial) -> list[str]:
    """Return the red flags that were raised in a trial and did not end it."""
    ended_by = (trial.user_attrs.get(OUTCOME) or {}).get("flag")
    return [flag["name"] for flag in trial.user_attrs.get(FLAGS) or () if flag["name"] != ended_by]


def _continues(place: Mapping[str, Any]) -> str | None:
    """Return `17 from epoch 20` of a trial that a person had go on from trial 17."""
    return f"{place['parent']} from epoch {place['start']}" if place else None


def _warm(origin: Mapping[str, Any]) -> str | None:
    """Return the earlier trial that it was started from, as `study/number`."""
    if origin.get("from") is None:
        return None
    number = origin.get("number")
    return str(origin["from"]) if number is None else f"{origin['from']}/{number}"


def ended_points(trial: FrozenTrial, spec: StudySpec, rows: Sequence[Step], folder: Path) -> list[Point]:
    """Return all points that the run of a finished trial has.

    Args:
        trial: The trial.
        spec: The study.
        rows: Rows of its history.
        folder: Its folder.
    """
    reported = {name_of(name) for row in rows for name in row.metrics}
    return points_of(rows) + final_points(trial, spec, reported) + evaluated_points(folder, trial, reported)


def final_points(trial: FrozenTrial, spec: StudySpec, reported: Iterable[str]) -> list[Point]:
    """Return the results of a trial as points.

    They are `final/<metric>` of the metrics that it returned, `seconds` and `peak_gpu_mib`, without those that the
    objective itself `reported`.
    """
    outcome = trial.user_attrs.get(OUTCOME) or {}
    values = values_of(trial, [metric.name for metric in spec.metrics])
    own = {f"final/{name}": value for name, value in values.items()}
    if "seconds" in outcome:
        own[SECONDS] = outcome["seconds"]
    if outcome.get("peak_gpu_bytes"):
        own[PEAK] = outcome["peak_gpu_bytes"] / 2**20
    taken, time = set(reported), milliseconds(finished(trial))
    return [Point(name_of(name), value, time, 0) for name, value in own.items() if name_of(name) not in taken]


def evaluated_points(folder: Path, trial: FrozenTrial, reported: Iterable[str]) -> list[Point]:
    """Return the scores of `hpo evaluate` as `test_<name>`, the first evaluation of the trial at step 0.

    Args:
        folder: The trial's folder.
        trial: The trial.
        reported: Names that the objective itself reported, which stay its own.
    """
    taken, points = set(reported), []
    own = [one for one in stored_evaluations(folder) if one.get("trial") == trial.number]
    for step, one in enumerate(own):
        scores = one.get("scores")
        for name, score in scores.items() if isinstance(scores, dict) else ():
            value, metric = score.get("value") if isinstance(score, dict) else None, name_of(f"test_{name}")
            if isinstance(value, (int, float)) and metric not in taken:
                points.append(Point(metric, float(value), milliseconds(float(one.get("when") or 0)), step))
    return points


def artifacts(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of `names` that are there, not empty and at most 20 MB."""
    found = []
    for name in names:
        path = folder / name
        if path.is_file() and 0 < path.stat().st_size <= MAX_ARTIFACT_BYTES:
            found.append(path)
    return found


def diagnosed(files: Iterable[Path]) -> str:
    """Return a mark that changes with the names, sizes and times of a diagnosis's files; empty without files."""
    seen = [(file.name, status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return hashlib.sha1(repr(seen).encode()).hexdigest()[:12] if seen else ""


# --- the study


def study_params(spec: StudySpec) -> dict[str, str]:
    """Return parameters of a study: what cannot change once it has trials, as MLflow's parameters cannot."""
    metrics = ", ".join(f"{metric.direction} {metric.name}" for metric in spec.metrics)
    return flat({"objective": spec.objective_ref().label, "metrics": metrics})


def counted(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the finished trials without requeued attempts, in the order in which they finished."""
    ended = [trial for trial in trials if trial.state.is_finished() and not requeued(trial.user_attrs)]
    return sorted(ended, key=lambda trial: (finished(trial), trial.number))


def study_status(spec: StudySpec, trials: Iterable[FrozenTrial]) -> str:
    """Return MLflow's status of a study that nobody drives: FINISHED when its budget is spent, else KILLED."""
    trials = list(trials)
    ended, planned = len(counted(trials)), spec.planned_trials()
    spans = [span for trial in trials if (span := span_of(trial.user_attrs))]
    ended_by = exhausted(spec.search_budget, ended, spans, clock.time())
    spent = (planned is not None and ended >= planned) or ended_by
    return "FINISHED" if spent else "KILLED"
