"""What a warm start is worth, and what history that misleads costs, on recorded trainings.

    python benchmarks/warm_start.py DATA --out rows.jsonl                      # about an hour of CPU
    python benchmarks/warm_start.py DATA --out rows2.jsonl --no-checkpoints    # trials that are behind are stopped
    python benchmarks/warm_start.py DATA --out rows.jsonl --table              # print what rows.jsonl holds
    python benchmarks/warm_start.py TABLES --out rows.jsonl --names a,b        # recordings of search/record_tables.py

DATA is the folder of `search/run.py`, whose problems, budget, simulator and regret these are; TABLES that of the
recorded tables, of which `--names` takes some. Each history is one study with 20 trials, whose order is what the lie is
about:

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
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent / "search"))
from paired import differences
from problems import LOSS, WORKERS, Problem, spec_of
from recorded import FAMILIES, recorded
from rows import fill
from simulator import Study, Trace, simulate
from tables import load

from hpo.search.halving import HalvingPruner
from hpo.search.samplers import make_sampler
from hpo.space.parameter import Parameter
from hpo.spec.models import WarmStartSpec
from hpo.warm_start.candidates import Source, candidates_of
from hpo.warm_start.trust import WarmStart, guard_of

TOLD = 20
MOMENTS = (0.25, 0.5, 1.0)
Lie = Callable[[Sequence[Problem], int, int], list[Source]]


@cache
def problems_of(data: Path, family: str) -> tuple[Problem, ...]:
    """The problems of a family; a table is a family of its own."""
    if family in FAMILIES:
        return tuple(recorded(data, family))
    table = load(data / f"{family}.npz")
    sign = 1.0 if table.direction == "minimize" else -1.0
    params = tuple(table.space.to_optuna(one) for one in table.configurations)
    curves = sign * table.curves[:, 0].astype(float)
    seconds = table.epoch_seconds.astype(float)
    seconds = np.where(seconds > 0, seconds, seconds[seconds > 0].min())
    return (Problem(family, family, table.space, params, curves[:, None], seconds),)


# --- histories


def _told(task: Problem, order: Iterable[int], params: Mapping[int, Mapping[str, Any]] | None = None) -> list[Source]:
    rows = [(k, (params or {}).get(i, task.configurations[i]), [float(k)]) for k, i in enumerate(order)]
    return [Source("adversary", task.space, (LOSS,), rows[:TOLD])]


def _finals(task: Problem) -> np.ndarray[Any, Any]:
    """Of each configuration its best value; NaN of one that diverges."""
    return np.asarray(task.curves[:, 0].min(axis=1))


def _ranked(task: Problem) -> list[int]:
    """Those that ran to their end, the best first."""
    finals = _finals(task)
    return [int(i) for i in np.argsort(finals) if np.isfinite(finals[i])]


def _worst(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
    return _told(of[index], reversed(_ranked(of[index])))


def _deceptive(of: Sequence[Problem], index: int, seed: int, part: float = 0.0) -> list[Source]:
    task, finals = of[index], _finals(of[index])
    bad = [i for i in _ranked(task) if finals[i] > task.scale[1]]
    at = max(3, int(part * task.curves.shape[2]) - 1)
    return _told(task, sorted(bad, key=lambda i: float(task.curves[i, 0, at])))


def _shuffled(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
    return _told(of[index], np.random.default_rng(1000 + seed).permutation(_ranked(of[index])).tolist())


def _reversed(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
    others = [other for other in range(len(of)) if other != index] or [index]
    return _worst(of, others[seed % len(others)], seed)


def _numbers(task: Problem) -> list[Parameter]:
    """Numeric parameters that every configuration has."""
    everywhere = set.intersection(*map(set, task.configurations))
    return [p for p in task.space.walk() if p.kind in ("float", "int") and p.full_name in everywhere]


def _unit(task: Problem) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Names of the numeric parameters, and their places in their ranges."""
    found, columns = _numbers(task), []
    for parameter in found:
        values = np.array([float(one[parameter.full_name]) for one in task.configurations])
        columns.append(np.log(values) if parameter.log else values)
    cube = np.array(columns).T
    return [parameter.full_name for parameter in found], (cube - cube.min(0)) / (np.ptp(cube, axis=0) + 1e-12)


def _half(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
    task, finals = of[index], _finals(of[index])
    names, cube = _unit(task)
    halves = [half for k in range(len(names)) for half in (cube[:, k] < 0.5, cube[:, k] >= 0.5)]
    filled = [half for half in halves if np.isfinite(finals[half]).sum() >= TOLD]
    inside = max(filled, key=lambda half: np.nanmin(finals[half]))
    return _told(task, [i for i in _ranked(task) if inside[i]])


def _bound(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
    from scipy.stats import spearmanr

    task, best = of[index], _ranked(of[index])
    names, cube = _unit(task)
    matters = max(range(len(names)), key=lambda k: abs(spearmanr(cube[best, k], _finals(task)[best]).statistic))
    parameter = next(p for p in task.space.walk() if p.full_name == names[matters])
    wrong = parameter.high if cube[best[:TOLD], matters].mean() < 0.5 else parameter.low
    lied = {i: {**task.configurations[i], names[matters]: wrong} for i in best[:TOLD]}
    return _told(task, lied, lied)


def _mediocre(of: Sequence[Problem], index: int, seed: int) -> list[Source]:
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


def _searched(task: Problem, seed: int, sources: Sequence[Source], checkpoints: bool) -> tuple[Trace, Study]:
    spec = spec_of(task.space, seed).model_copy(update={"warm_start": WarmStartSpec()})
    warm = WarmStart(candidates_of(spec, sources), guard_of(spec), maximize=False) if sources else None
    sampler = make_sampler(spec_of(task.space, seed), 0)
    return simulate(task, sampler, HalvingPruner(promotion=checkpoints), checkpoints=checkpoints, warm=warm)


@cache
def _found(data: Path, family: str, index: int, seed: int, checkpoints: bool) -> Source:
    """What the default finds on a task."""
    task = problems_of(data, family)[index]
    _, study = _searched(task, seed, (), checkpoints)
    ended = study.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))
    complete = [(one.number, one.params, one.values) for one in ended if one.values]
    return Source(task.name, task.space, (LOSS,), complete, tried=len(ended))


def _history(data: Path, name: str, family: str, index: int, seed: int, checkpoints: bool) -> list[Source]:
    if name == "default":
        return []
    of = problems_of(data, family)
    if name in LIES:
        return LIES[name](of, index, seed)
    if len(of) == 1:
        return [_found(data, family, index, 1000 + seed, checkpoints)]
    return [_found(data, family, other, seed, checkpoints) for other in range(len(of)) if other != index]


def row_of(data: Path, checkpoints: bool, job: tuple[str, str, int, int]) -> dict[str, Any]:
    """Simulate one search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    name, family, index, seed = job
    task = problems_of(data, family)[index]
    trace, _ = _searched(task, seed, _history(data, name, family, index, seed, checkpoints), checkpoints)
    share = sum(trace.told.values()) / (WORKERS * task.budget)
    regret = trace.regrets(task, MOMENTS)
    return {"history": name, "family": family, "task": task.name, "seed": seed, "share": share, "regret": regret}


# --- the table


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Shares, regrets, and differences from the default, paired by task and seed, with both drawn for the interval."""
    plain: dict[str, dict[tuple[str, int], list[float]]] = {row["family"]: {} for row in rows}
    for row in rows:
        if row["history"] == "default":
            plain[row["family"]][row["task"], row["seed"]] = row["regret"][-1:]
    columns = [f"at {100 * moment:g} %" for moment in MOMENTS]
    lines = [f"| family | history | runs | share: mean | at most | regret {' | '.join(columns)} | less the default's |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    for family in dict.fromkeys(row["family"] for row in rows):
        for name in dict.fromkeys(row["history"] for row in rows):
            own = [row for row in rows if (row["family"], row["history"]) == (family, name)]
            if not own:
                continue
            cells = [f"{value:.1f}" for value in np.array([row["regret"] for row in own]).mean(axis=0)]
            shares = [row["share"] for row in own]
            ends = {(row["task"], row["seed"]): row["regret"][-1:] for row in own}
            known = ends.keys() & plain[family].keys() if name != "default" else ()
            paired = differences(ends, plain[family])[0] if known else ""
            lines.append(
                f"| {family} | {name} | {len(own)} | {np.mean(shares):.1%} | {max(shares):.1%} | {' | '.join(cells)} | "
                f"{paired} |"
            )
    for name in dict.fromkeys(row["history"] for row in rows if row["history"] in LIES):
        shares = [row["share"] for row in rows if row["history"] == name]
        lines.append(f"\n{name}: {np.mean(shares):.1%} of the budget, at most {max(shares):.1%} of {len(shares)} runs")
    return "\n".join(lines)


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
    parser.add_argument("--no-checkpoints", action="store_true", help="trials that are behind are stopped")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    jobs = {
        (name, family, task.name, seed): (name, family, index, seed)
        for seed in range(given.first, given.first + (0 if given.table else given.seeds))
        for family in (given.names.split(",") if given.names else FAMILIES)
        for index, task in enumerate(problems_of(given.data, family))
        for name in given.only.split(",")
        if name not in ("half", "bound") or _numbers(task)
    }
    print(table(fill(given.out, jobs, _key, partial(row_of, given.data, not given.no_checkpoints), given.jobs)))


if __name__ == "__main__":
    main()
