"""Words of Optuna, Ray Tune, W&B sweeps and the like for what hpo calls otherwise, and the line to write instead.

They are refused as all unknown words are; the sentence ends with what hpo says in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo.errors import KeyPath
from hpo.space.other_tools import declaration, inline
from hpo.spec import algorithms
from hpo.text import quote, show

_FALLING = ("loss", "error", "err", "mse", "mae", "rmse", "nll", "perplexity", "time", "latency", "cost")
_OTHER_GOALS = {"mode", "goal"}
_GOALS = {"max": "maximize", "min": "minimize", "maximise": "maximize", "minimise": "minimize"}
_TRIALS = ("n_trials", "num_trials", "max_trials", "num_samples", "run_cap", "trials", "max_evals", "n_iter", "count")
_TIME = {"timeout": 3600, "time_budget_s": 3600, "max_time": 3600, "seconds": 3600, "minutes": 60, "hours": 1}
_SPACES = ("parameters", "params", "param_space", "hyperparameters", "space", "config")
_METRICS = ("metric", "objective_metric", "monitor", "direction", "directions", "mode", "goal")
# Keys of the engine that stand at the top, or have another name elsewhere.
_ENGINE = {
    **dict.fromkeys(("n_jobs", "num_workers", "workers", "parallelism", "max_concurrent_trials"), "workers"),
    **dict.fromkeys(("gpu", "gpus", "num_gpus", "gpus_per_trial"), "gpu"),
    **dict.fromkeys(("cpu", "cpus", "num_cpus", "cpus_per_trial", "threads"), "cpu"),
    **dict.fromkeys(("trial_timeout", "report_timeout", "retries", "fresh_process"), ""),
}
_RENAMED = {
    **dict.fromkeys(("search_alg", "searcher", "algorithm", "method", "tuner"), "sampler"),
    **dict.fromkeys(("scheduler", "early_terminate", "early_stopping"), "pruner"),
    **dict.fromkeys(("study_name", "experiment_name", "project"), "name"),
    **dict.fromkeys(("random_state", "random_seed"), "seed"),
    **dict.fromkeys(("function", "trainable", "train_fn", "entrypoint"), "objective"),
    **dict.fromkeys(("points_to_evaluate", "initial_points", "x0"), "enqueue"),
}
_NAMES_OF_ALGORITHMS = ("type", "class", "method", "algorithm", "_target_")

Wrong = Callable[[KeyPath, str], None]


def top_level(key: str, value: Any, data: Mapping[Any, Any]) -> str:
    """Return the line that a study has in the place of a key of another tool; empty if none is known.

    Args:
        key: the unknown key.
        value: what is written below it.
        data: the whole study.
    """
    if key == "load_if_exists":
        return "nothing in its place: the same `hpo run` again always goes on"
    if key == "program" and isinstance(value, str):
        return f"objective: {value}:train for a function, or command: [python, {value}, --lr, '{{lr}}'] for a program"
    if key in _TRIALS:
        return inline({"budget": {"trials": value if _whole(value) else 50}})
    if key in _TIME:
        return inline({"budget": {"hours": _hours(key, value)}})
    if key in _METRICS:
        return _metrics_line(_metric_of(data))
    if key in _SPACES:
        return inline({"search_space": _space(value)}) if isinstance(value, Mapping) else ""
    if key == "resources_per_trial" and isinstance(value, Mapping):
        return inline({"engine": {name: value[name] for name in ("cpu", "gpu") if name in value}})
    if key in _ENGINE:
        return inline({"engine": {_ENGINE[key] or key: value if isinstance(value, (int, float)) else 1}})
    renamed = _RENAMED.get(key, "")
    if renamed in ("sampler", "pruner"):
        return inline({renamed: _algorithm_name(value) or "none"})
    if renamed:
        return f"{renamed}: {show(value)}" if isinstance(value, (int, str)) else renamed
    # A value that the objective reads.
    return inline({"constants": {key: value}}) if isinstance(value, (int, float, str)) else ""


def say_all(values: Mapping[str, Any], data: Mapping[Any, Any], wrong: Wrong) -> None:
    """Say what is written in other tools' words below keys that a study has.

    Args:
        values: what a study's keys hold.
        data: the whole study.
        wrong: is called with the path and a sentence for each.
    """
    if line := _metrics(values.get("metrics"), data):
        wrong(("metrics",), f"{quote(values['metrics'])} lacks names or directions; expected {line}")
    _budget(values.get("budget"), wrong)
    for role in ("sampler", "pruner"):
        _algorithm(role, values.get(role), wrong)
    _engine(values.get("engine"), wrong)


def stands_for(key: str) -> str:
    """Return the key of a study that another tool's key at the top stands for; empty if none."""
    if key in (*_TRIALS, *_TIME):
        return "budget"
    if key in _METRICS:
        return "metrics"
    if key in _SPACES:
        return "search_space"
    return {"program": "objective"}.get(key, _RENAMED.get(key, ""))


def _metrics(written: Any, data: Mapping[Any, Any]) -> str:
    """Return the line of `metrics` for a name, a list of names or a mapping in its place; empty if it is none."""
    if isinstance(written, str):
        return _metrics_line([(written, _direction(data, written))])
    if isinstance(written, Mapping):
        if "name" in written:
            return _metrics_line(_metric_of({"metric": written}))
        if written and all(isinstance(part, str) for pair in written.items() for part in pair):
            return _metrics_line([(name, str(_GOALS.get(goal, goal))) for name, goal in written.items()])
    if isinstance(written, list) and written and all(isinstance(name, str) for name in written):
        return _metrics_line([(name, _direction(data, name)) for name in written])
    entries = written if isinstance(written, list) else []
    if any(
        isinstance(entry, Mapping) and _OTHER_GOALS & entry.keys() and "direction" not in entry for entry in entries
    ):
        return _metrics_line([pair for entry in entries for pair in _metric_of({"metric": entry})])
    return ""


def _budget(written: Any, wrong: Wrong) -> None:
    """Say what to write for a budget that is a number, or that has keys of other tools."""
    if _whole(written):
        wrong(("budget",), f"{written} has no unit; expected a mapping, {{trials: {written}}} or {{hours: {written}}}")
    for key in written if isinstance(written, Mapping) else ():
        if key in ("trials", "hours") or key not in (*_TRIALS, *_TIME):
            continue
        name, value = ("trials", written[key]) if key in _TRIALS else ("hours", _hours(key, written[key]))
        wrong(
            ("budget", key), f"is not a key of budget; expected trials, hours, gpu_hours or failures: {name}: {value}"
        )


def _algorithm(role: str, written: Any, wrong: Wrong) -> None:
    """Say that `name` is the key of a sampler's or a pruner's name, if another key has it."""
    if not isinstance(written, Mapping) or "name" in written:
        return
    for key in _NAMES_OF_ALGORITHMS:
        if isinstance(written.get(key), str):
            name = algorithms.known_name(written[key]) or written[key]
            wrong((role, key), f"is not a key of a {role}; expected name: {name}")
            return


def _engine(written: Any, wrong: Wrong) -> None:
    for key in ("workers", "cpu") if isinstance(written, Mapping) else ():
        if written.get(key) in ("auto", -1, "max", "all"):
            wrong(("engine", key), f"{quote(written[key])} is the default; leave {key} out, or give a number from 1")


def _metric_of(data: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return the names and directions of metrics that are written in another tool's keys."""
    written = data.get("metric", data.get("metrics", data.get("objective_metric", data.get("monitor"))))
    if isinstance(written, Mapping) and "name" in written:
        name = str(written["name"])
        goal = str(written.get("goal", written.get("direction", written.get("mode", ""))))
        return [(name, _GOALS.get(goal, goal) or _guess(name))]
    names = written if isinstance(written, list) else [written] if isinstance(written, str) else ["val_loss"]
    names = [str(one.get("name", one)) if isinstance(one, Mapping) else str(one) for one in names]
    return [(name, _direction(data, name, index)) for index, name in enumerate(names)]


def _direction(data: Mapping[Any, Any], name: str, index: int = 0) -> str:
    for key in ("direction", "directions", "mode", "goal"):
        given = data.get(key)
        if isinstance(given, list) and index < len(given):
            given = given[index]
        if isinstance(given, str):
            return _GOALS.get(given, given)
    return _guess(name)


def _guess(name: str) -> str:
    return "minimize" if any(word in name.lower().split("_") for word in _FALLING) else "maximize"


def _metrics_line(found: Sequence[tuple[str, str]]) -> str:
    return inline({"metrics": [{"name": name, "direction": direction} for name, direction in found]})


def _space(written: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): declaration(value) or value for name, value in written.items()}


def _hours(key: str, value: Any) -> Any:
    return float(f"{value / _TIME[key]:.3g}") if isinstance(value, (int, float)) and math.isfinite(value) else 8


def _algorithm_name(written: Any) -> str:
    if isinstance(written, Mapping):
        written = next((written[key] for key in ("name", *_NAMES_OF_ALGORITHMS) if key in written), "")
    return algorithms.known_name(str(written)) or str(written)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
