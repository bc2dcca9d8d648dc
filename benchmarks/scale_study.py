"""A study of many cheap trials, written in minutes as `hpo run` would have left it after days.

    python benchmarks/scale_study.py FOLDER [--trials 100000]

FOLDER gets objective.py, study.yaml and runs/. One trial is run, and makes way for many like it: the records of each in
the journal, with its parameters, JOB, reports and OUTCOME, and its files. A third of them are pruned, 2 % failed, and
there are three groups. Afterwards `hpo run FOLDER/study.yaml --runs FOLDER/runs --trials N` goes on with it."""

from __future__ import annotations

import argparse
import json
import math
import random
import runpy
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hpo
from hpo import layout
from hpo.control.requests import record
from hpo.spec.load import load_spec
from hpo.storage.history import HistoryWriter, Step, mark_of
from hpo.storage.journal_records import CREATE_TRIAL, INTERMEDIATE, PARAM, STATE, TRIAL_SYSTEM_ATTR, Record
from hpo.storage.trial_attributes import JOB, OUTCOME

STUDY = """
name: scale
objective: objective.py:train
metrics: [{{name: score, direction: maximize}}]
group_by: architecture
search_space:
  architecture: {{choices: [unet, attention_unet, residual_unet]}}
  learning_rate: {{low: 1.0e-5, high: 1.0e-2, log: true}}
  batch_size: {{choices: [8, 16, 32]}}
  dropout: {{low: 0.0, high: 0.5}}
  loss: {{choices: [bce, dice, focal]}}
engine: {{workers: 2, cpu: 1}}
mlflow: false
budget: {{trials: {trials}}}
"""
OBJECTIVE = '''
"""A trial of ten reports that costs nothing."""

import math

PEAKS = {"unet": 0.80, "attention_unet": 0.84, "residual_unet": 0.82}


def score(params, step):
    best = PEAKS[params["architecture"]] - 0.1 * (math.log10(params["learning_rate"]) + 3.2) ** 2
    best -= 0.2 * params["dropout"] + 0.001 * params["batch_size"] + 0.01 * (params["loss"] == "focal")
    return best * (1 - math.exp(-step / 3))


def train(trial):
    for step in range(1, 11):
        value = score(trial.params, step)
        trial.report(step, score=value, loss=1 - value)
    return {"score": value}
'''
SECONDS = 2.0  # of a whole trial; two run at a time
RUNNING = 0  # of Optuna
FATES = {
    "COMPLETE": (1, "", ""),
    "PRUNED": (2, "pruner", "the pruner stopped it"),
    "FAIL": (3, "exception", "RuntimeError: no luck"),
}
Params = Mapping[str, Any]
# What a trial with these parameters reports, by step, and the final value of its metric.
Curve = Callable[[Params], tuple[dict[int, dict[str, float]], float]]


def write_study(folder: Path, trials: int) -> None:
    """Write the study, its journal and its files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objective.py").write_text(OBJECTIVE.lstrip())
    (folder / "study.yaml").write_text(STUDY.format(trials=trials).lstrip())
    score, dice = runpy.run_path(str(folder / "objective.py"))["score"], random.Random(2)

    def curve(params: Params) -> tuple[dict[int, dict[str, float]], float]:
        values = {step: score(params, step) + dice.gauss(0, 0.01) for step in range(1, 11)}
        return {step: {"score": value, "loss": 1 - value} for step, value in values.items()}, values[10]

    write_trials(folder / "study.yaml", folder / "runs", trials, curve)


def write_trials(path: Path, runs: Path, trials: int, curve: Curve) -> None:
    """Write a study with so many trials, which report as `curve` says, into the runs folder.

    Args:
        path: study.yaml; the study is new, and has one metric.
        runs: the runs folder.
        trials: number of trials.
        curve: what they report.
    """
    hpo.run(path, runs, overrides=["budget.trials=1", "pruner=none"])  # to its end, without a wait at a rung
    spec, journal = load_spec(path), runs / layout.JOURNAL
    directory = layout.study_directory(runs, spec.name)
    record(spec, directory)
    shutil.rmtree(layout.trials_directory(directory))
    for report in layout.REPORTS:
        (directory / report).unlink(missing_ok=True)
    known = [json.loads(line) for line in journal.read_text().splitlines()]
    model = [one for one in known if "trial_id" in one or one["op_code"] == CREATE_TRIAL]
    dice = random.Random(1)
    with journal.open("w") as file:
        file.writelines(_line(one) for one in known if one not in model)
        for number in range(trials):
            ago = SECONDS / 2 * (trials - number)
            file.writelines(map(_line, _trial(directory, number, model, curve, dice, ago)))


def _line(one: Record) -> str:
    return json.dumps(one, separators=(",", ":")) + "\n"


def _trial(
    directory: Path, number: int, model: Sequence[Record], curve: Curve, dice: random.Random, ago: float
) -> Iterator[Record]:
    """Write the files of a trial, and yield its records, like those of the model."""
    job, note = (next(r["user_attr"][key] for r in model if key in r.get("user_attr", {})) for key in (JOB, OUTCOME))
    metric, started = next(iter(note["metrics"])), job["started"] - ago
    params: dict[str, Any] = {}
    internal: dict[str, float] = {}
    for one in model:
        if one["op_code"] == PARAM:
            name = one["param_name"]
            params[name], internal[name] = _drawn(json.loads(one["distribution"]), dice)
    steps, final = curve(params)
    fate = dice.random()
    state = "COMPLETE" if fate > 1 / 3 + 0.02 else ("PRUNED" if fate > 0.02 else "FAIL")
    if state != "COMPLETE":
        steps = dict(list(steps.items())[: dice.randint(1, len(steps) - 1)])
    code, cause, reason = FATES[state]
    finished = started + SECONDS * len(steps) / 10
    values = {step: metrics[metric] for step, metrics in steps.items()}
    job = job | {"seed": dice.randrange(2**31), "started": started, "params": params}
    note = note | {
        "state": state, "cause": cause, "reason": reason, "finished": finished, "seconds": round(finished - started, 3),
        "metrics": {metric: final} if state == "COMPLETE" else {},
    }  # fmt: skip
    _write_files(layout.trial_directory(directory, number), mark_of(number, started), started, steps, state, reason)
    reported = False
    for one in model:
        kind, own = one["op_code"], one | {"trial_id": number}
        if kind == CREATE_TRIAL:  # as the sampler's own: the first trial was queued, for its group
            yield {key: one[key] for key in ("op_code", "worker_id", "study_id")} | {"datetime_start": _time(started)}
        elif kind == PARAM:
            yield own | {"param_value_internal": internal[one["param_name"]]}
        elif kind in (INTERMEDIATE, TRIAL_SYSTEM_ATTR):  # reports, and what the pruner noted of them
            if not reported:
                base = {"op_code": INTERMEDIATE, "worker_id": one["worker_id"], "trial_id": number}
                yield from (base | {"step": step, "intermediate_value": value} for step, value in values.items())
            reported = True
        elif JOB in one.get("user_attr", {}):
            yield own | {"user_attr": {JOB: job}}
        elif OUTCOME in one.get("user_attr", {}):
            yield own | {"user_attr": {OUTCOME: note}}
        elif kind == STATE and one["state"] != RUNNING:
            last = [final] if state == "COMPLETE" else list(values.values())[-1:]  # as Optuna has it of a pruned one
            result = None if state == "FAIL" else last
            yield own | {"state": code, "values": result, "datetime_complete": _time(finished)}


def _write_files(
    folder: Path, mark: str, started: float, steps: Mapping[int, Mapping[str, float]], state: str, reason: str
) -> None:
    history = HistoryWriter(folder / layout.HISTORY, mark)
    for place, (step, metrics) in enumerate(steps.items(), start=1):
        history.append(Step(step, started + SECONDS * place / 10, 1, metrics))
    history.close()
    (folder / layout.OUTPUT).touch()
    if state == "FAIL":
        (folder / layout.ERROR).write_text(f"Traceback (most recent call last):\n{reason}\n")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _drawn(kind: Mapping[str, Any], dice: random.Random) -> tuple[Any, float]:
    """Return a value of a distribution, and how Optuna writes it."""
    own = kind["attributes"]
    if "choices" in own:
        index = dice.randrange(len(own["choices"]))
        return own["choices"][index], index
    low, high = (math.log(own[key]) if own["log"] else own[key] for key in ("low", "high"))
    value = math.exp(dice.uniform(low, high)) if own["log"] else dice.uniform(low, high)
    return value, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the study")
    parser.add_argument("--trials", type=int, default=100_000)
    options = parser.parse_args()
    write_study(options.folder.absolute(), options.trials)


if __name__ == "__main__":
    main()
