"""What a warm start is worth, and what history that misleads costs, on recorded trainings.

    python benchmarks/warm_start.py DATA --out rows.jsonl                      # about an hour of CPU
    python benchmarks/warm_start.py DATA --out rows.jsonl --table              # print what rows.jsonl holds
    python benchmarks/warm_start.py TABLES --out rows.jsonl --names a,b        # recordings of search/record_tables.py

DATA is the folder of `policies.py`, whose tasks, budget, replay and regret these are; TABLES that of the recorded
tables, of which `--names` takes some. Each history is one study with 20 trials, whose order is what the lie is about:

| history | is told as the best |
|---|---|
| truth | what the default found on the family's other tasks with the same seed; of a table, with another seed |
| worst | the worst that ran to their end |
| deceived | worse at the end than the median, and of these the best at the fourth epoch |
| deceived late | the same at half of the epochs |
| shuffled | any that ran to their end |
| reversed | the worst of another task (of a table: its own, so that it is `worst`) |
| half | the best of that half of the space, by one parameter, whose best is worst |
| bound | the best, with the parameter that matters most at the wrong bound |
| mediocre | those just above the median |

The share is the part of the budget that went into these configurations. Rows that are there are not run again."""

from __future__ import annotations

import argparse
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from policies import FAMILIES, LOSS, MOMENTS, OURS, Task, regrets_of, study_of, task_of, tasks, warm_share
from rows import fill  # policies.py has put its folder on the path

from hpo.warm_start.candidates import Source

TOLD = 20
Lie = Callable[[Sequence[Task], int, int], list[Source]]


@cache
def tasks_of(data: Path, family: str) -> tuple[Task, ...]:
    """The tasks of a family; a table is a family of its own."""
    if family in FAMILIES:
        return tasks(data, family)
    from problems import Problem
    from tables import load

    table = load(data / f"{family}.npz")
    sign = 1.0 if table.direction == "minimize" else -1.0
    params = [table.space.to_optuna(one) for one in table.configurations]
    curves = sign * table.curves[:, 0].astype(float)
    seconds = table.epoch_seconds.astype(float)
    seconds = np.where(seconds > 0, seconds, seconds[seconds > 0].min())
    return (task_of(Problem(family, family, table.space, tuple(params), curves[:, None], seconds)),)


# --- histories


def _told(task: Task, order: Iterable[int], params: Mapping[int, Mapping[str, Any]] | None = None) -> list[Source]:
    rows = [(k, (params or {}).get(i, task.recordings[i].params), [float(k)]) for k, i in enumerate(order)]
    return [Source("adversary", task.space, (LOSS,), rows[:TOLD])]


def _finals(task: Task) -> np.ndarray[Any, Any]:
    """Of each configuration the value at its end; NaN of one that diverges."""
    return np.array([recording.outcome.metrics.get("loss", np.nan) for recording in task.recordings])


def _ranked(task: Task) -> list[int]:
    """Those that ran to their end, the best first."""
    finals = _finals(task)
    return [int(i) for i in np.argsort(finals) if np.isfinite(finals[i])]


def _worst(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    return _told(of[index], reversed(_ranked(of[index])))


def _deceptive(of: Sequence[Task], index: int, seed: int, part: float = 0.0) -> list[Source]:
    task = of[index]
    bad = [i for i in _ranked(task) if task.recordings[i].outcome.metrics["loss"] > task.middle]
    at = max(3, int(part * len(task.recordings[bad[0]].steps)) - 1)
    return _told(task, sorted(bad, key=lambda i: task.recordings[i].steps[at].metrics["loss"]))


def _shuffled(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    return _told(of[index], np.random.default_rng(1000 + seed).permutation(_ranked(of[index])).tolist())


def _reversed(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    others = [other for other in range(len(of)) if other != index] or [index]
    return _worst(of, others[seed % len(others)], seed)


def _unit(task: Task) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Numeric parameters that every configuration has, and their places in their ranges."""
    everywhere = set.intersection(*(set(recording.params) for recording in task.recordings))
    found = [p for p in task.space.walk() if p.kind in ("float", "int") and p.full_name in everywhere]
    columns = []
    for parameter in found:
        values = np.array([float(recording.params[parameter.full_name]) for recording in task.recordings])
        columns.append(np.log(values) if parameter.log else values)
    cube = np.array(columns).T
    return [parameter.full_name for parameter in found], (cube - cube.min(0)) / (np.ptp(cube, axis=0) + 1e-12)


def _half(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    task, finals = of[index], _finals(of[index])
    names, cube = _unit(task)
    halves = [half for k in range(len(names)) for half in (cube[:, k] < 0.5, cube[:, k] >= 0.5)]
    filled = [half for half in halves if np.isfinite(finals[half]).sum() >= TOLD]
    inside = max(filled, key=lambda half: np.nanmin(finals[half]))
    return _told(task, [i for i in _ranked(task) if inside[i]])


def _bound(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    from scipy.stats import spearmanr

    task, best = of[index], _ranked(of[index])
    names, cube = _unit(task)
    matters = max(range(len(names)), key=lambda k: abs(spearmanr(cube[best, k], _finals(task)[best]).statistic))
    parameter = next(p for p in task.space.walk() if p.full_name == names[matters])
    wrong = parameter.high if cube[best[:TOLD], matters].mean() < 0.5 else parameter.low
    lied = {i: {**task.recordings[i].params, names[matters]: wrong} for i in best[:TOLD]}
    return _told(task, lied, lied)


def _mediocre(of: Sequence[Task], index: int, seed: int) -> list[Source]:
    ranked = _ranked(of[index])
    return _told(of[index], ranked[int(0.6 * len(ranked)) :])


LIES: dict[str, Lie] = {
    "worst": _worst,
    "deceived": _deceptive,
    "deceived late": partial(_deceptive, part=0.5),
    "shuffled": _shuffled,
    "reversed": _reversed,
    "half": _half,
    "bound": _bound,
    "mediocre": _mediocre,
}


@cache
def _found(data: Path, family: str, index: int, seed: int) -> Source:
    """What the default finds on a task."""
    task = tasks_of(data, family)[index]
    _, study = study_of(task, OURS["default"], seed, ())
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return Source(task.name, task.space, (LOSS,), [(trial.number, trial.params, trial.values) for trial in complete])


def _history(data: Path, name: str, family: str, index: int, seed: int) -> list[Source]:
    if name == "default":
        return []
    of = tasks_of(data, family)
    if name in LIES:
        return LIES[name](of, index, seed)
    if len(of) == 1:
        return [_found(data, family, index, 1000 + seed)]
    return [_found(data, family, other, seed) for other in range(len(of)) if other != index]


def row_of(data: Path, job: tuple[str, str, int, int]) -> dict[str, Any]:
    """Replay one search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    name, family, index, seed = job
    task = tasks_of(data, family)[index]
    trace, study = study_of(task, OURS["default"], seed, _history(data, name, family, index, seed))
    row = {"history": name, "family": family, "task": task.name, "seed": seed, "share": warm_share(task, study)}
    return row | regrets_of(task, trace.seen)


# --- the table


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Shares, regrets, and differences from the default, paired by task and seed, with both drawn for the interval."""
    plain = {(row["family"], row["task"], row["seed"]): row["regret"] for row in rows if row["history"] == "default"}
    columns = [f"at {100 * moment:g} %" for moment in MOMENTS if moment != 0.9]
    lines = [f"| family | history | runs | share: mean | at most | regret {' | '.join(columns)} | less the default's |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    for family in dict.fromkeys(row["family"] for row in rows):
        for name in dict.fromkeys(row["history"] for row in rows):
            own = [row for row in rows if (row["family"], row["history"]) == (family, name)]
            if not own:
                continue
            regrets = np.array([row["regret"] for row in own]).mean(axis=0)
            cells = [f"{regrets[k]:.1f}" for k, moment in enumerate(MOMENTS) if moment != 0.9]
            shares = [row["share"] for row in own]
            pairs: dict[str, dict[int, float]] = {}
            for row in own:
                if (before := plain.get((family, row["task"], row["seed"]))) is not None:
                    pairs.setdefault(row["task"], {})[row["seed"]] = row["regret"][-1] - before[-1]
            paired = "" if name == "default" else _mean_and_interval(pairs)
            lines.append(
                f"| {family} | {name} | {len(own)} | {np.mean(shares):.1%} | {max(shares):.1%} | {' | '.join(cells)} | "
                f"{paired} |"
            )
    for name in dict.fromkeys(row["history"] for row in rows if row["history"] in LIES):
        shares = [row["share"] for row in rows if row["history"] == name]
        lines.append(f"\n{name}: {np.mean(shares):.1%} of the budget, at most {max(shares):.1%} of {len(shares)} runs")
    return "\n".join(lines)


def _mean_and_interval(pairs: Mapping[str, Mapping[int, float]]) -> str:
    """Mean difference, with 95 % of the means where tasks and seeds are drawn."""
    if not pairs:
        return ""
    seeds = sorted(set.intersection(*(set(one) for one in pairs.values())))
    grid = np.array([[one[seed] for seed in seeds] for one in pairs.values()])
    rng = np.random.default_rng(0)
    drawn = [
        grid[np.ix_(rng.integers(0, len(grid), len(grid)), rng.integers(0, len(seeds), len(seeds)))].mean()
        for _ in range(10_000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{grid.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return row["history"], row["family"], row["task"], row["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--names", help="recorded tables, with commas between, instead of TaskSet and LCBench")
    parser.add_argument("--only", default=",".join(("default", "truth", *LIES)), help="histories, with commas between")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    jobs = {
        (name, family, task.name, seed): (name, family, index, seed)
        for seed in range(given.first, given.first + (0 if given.table else given.seeds))
        for family in (given.names.split(",") if given.names else FAMILIES)
        for index, task in enumerate(tasks_of(given.data, family))
        for name in given.only.split(",")
    }
    print(table(fill(given.out, jobs, _key, partial(row_of, given.data), given.jobs)))


if __name__ == "__main__":
    main()
