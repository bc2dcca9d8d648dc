"""How well search policies spend a budget, on recorded trainings: what hpo's defaults rest on.

    python benchmarks/policies.py DATA --out rows.jsonl              # about an hour of CPU
    python benchmarks/policies.py DATA --out rows.jsonl --table      # print what rows.jsonl holds
    python benchmarks/policies.py DATA --out rows.jsonl --only 'default,random + halving' --seeds 5

DATA is a folder with taskset.npz (6 tasks of 1,000 configurations and 50 evaluations; Metz et al. 2020) and lcbench.npz
(4 tasks of 2,000 configurations and 50 epochs, from the surrogate of LCBench; Zimmer et al. 2021). Rows are appended,
and what is there already is not run again.

Each policy drives hpo's own Oracle through its replay engine: 8 workers, and as much time as 20 full trainings take on
average. A sampler's proposal is moved to the nearest recorded configuration that is left, and it is told of that one;
a training that diverges is ended by the default red flag. Trainings save a checkpoint in each epoch, so that those that
are behind under the default's pruner wait and may go on. Regret: the best value seen in any epoch, minus the best of
the table, in percent of what separates the table's median configuration from its best. Differences are paired by task
and seed; for their 95 % intervals both are drawn (search/paired.py).

`warm start` begins from what the default found on the family's other tasks with the same seed (TaskSet's tasks share
one data set, so that this is optimistic there). `misled` is given each task's worst configurations as if they were the
best of an earlier study, `deceived` those that are good for four epochs and bad at the end."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import tried
from bohb import BOHBSampler
from optuna.trial import TrialState

from hpo.engines.replay import NOWHERE, Clock, MemoryFiles, RecordedSampler, Recording, Recordings, ReplayEngine
from hpo.oracle.oracle import Oracle
from hpo.search.halving import HalvingPruner
from hpo.search.samplers import make_pruner, make_sampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import KERNEL, Budget, StudySpec, WarmStartSpec
from hpo.trackers.base import Tracker
from hpo.trial import Job
from hpo.warm_start.candidates import Source, candidates_of
from hpo.warm_start.trust import WarmStart, guard_of

sys.path.insert(0, str(Path(__file__).parent / "search"))
from paired import differences, figures_of, task_means
from problems import FULL_TRAININGS as FULL_TRAININGS  # for group_policies.py
from problems import LOSS, WORKERS, Problem, spec_of
from ray_asha import RayAsha
from recorded import FAMILIES, recorded
from rows import fill, search_of

MOMENTS = (0.25, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Task:
    """recordings: one a configuration. seconds: of an epoch of each. budget: in seconds of wall time. low, middle,
    high: the best, the median and the worst of the configurations' best values."""

    family: str
    name: str
    space: SearchSpace
    recordings: tuple[Recording, ...]
    seconds: tuple[float, ...]
    budget: float
    low: float
    middle: float
    high: float

    def regret(self, value: float) -> float:
        return 100 * (value - self.low) / (self.middle - self.low)


@cache
def tasks(data: Path, family: str) -> tuple[Task, ...]:
    return tuple(map(task_of, recorded(data, family)))


def task_of(problem: Problem) -> Task:
    low, middle, high = problem.scale
    seconds = tuple(problem.seconds.tolist())
    return Task(
        problem.family, problem.name, problem.space, problem.recordings(), seconds, problem.budget, low, middle, high
    )


# --- the policies


@dataclass(frozen=True)
class Policy:
    """`sampler` of what is searched, with its seed, `pruner` of the longest training; `history`: what a warm start is
    given."""

    sampler: Callable[[StudySpec], optuna.samplers.BaseSampler]
    pruner: Callable[[int], optuna.pruners.BasePruner]
    history: Callable[[Path, str, int, int], list[Source]] | None = None


def _our_pruner(epochs: int) -> optuna.pruners.BasePruner:
    return make_pruner(spec_of(SearchSpace(()), 0))


def _ours(spec: StudySpec, **options: Any) -> optuna.samplers.BaseSampler:
    """The default, or the sampler `kernel` with other options."""
    if not options:
        return make_sampler(spec, 0)
    kernel = KERNEL.model_copy(update={"options": KERNEL.options | options})
    return make_sampler(spec.model_copy(update={"sampler": kernel}), 0)


def _random(spec: StudySpec) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=spec.seed)


def _tpe(spec: StudySpec) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=spec.seed)  # as Optuna has it


def _no_pruner(epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.NopPruner()


def _halving(epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)


def _by_three(epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


@cache
def _complete(data: Path, family: str, index: int, seed: int) -> Source:
    """What the default finds on a task."""
    task = tasks(data, family)[index]
    _, study = study_of(task, POLICIES["default"], seed, ())
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    complete = [(trial.number, trial.params, trial.values) for trial in ended if trial.state == TrialState.COMPLETE]
    return Source(task.name, task.space, (LOSS,), complete, tried=len(ended))


def _other_tasks(data: Path, family: str, index: int, seed: int) -> list[Source]:
    others = [other for other in range(len(tasks(data, family))) if other != index]
    return [_complete(data, family, other, seed) for other in others]


def _worst(data: Path, family: str, index: int, seed: int) -> list[Source]:
    """The worst that ran to their end, said to be the best."""
    task = tasks(data, family)[index]
    complete = [r for r in task.recordings if r.outcome.metrics]
    return _lie(task, sorted(complete, key=lambda r: -r.outcome.metrics["loss"]))


def _deceptive(data: Path, family: str, index: int, seed: int) -> list[Source]:
    """Worse at the end than the median, but then the best at the fourth epoch."""
    task = tasks(data, family)[index]
    bad = [r for r in task.recordings if r.outcome.metrics and r.outcome.metrics["loss"] > task.middle]
    return _lie(task, sorted(bad, key=lambda r: r.steps[3].metrics["loss"]))


def _lie(task: Task, recordings: Sequence[Recording]) -> list[Source]:
    told = [(k, recording.params, [float(k)]) for k, recording in enumerate(recordings[:20])]
    return [Source("adversary", task.space, (LOSS,), told)]


PEERS = {
    "random": Policy(_random, _no_pruner),
    "Optuna's default": Policy(_tpe, lambda epochs: optuna.pruners.MedianPruner()),
    "Hyperband": Policy(_tpe, lambda epochs: optuna.pruners.HyperbandPruner(1, epochs, 3)),
    "Ray's ASHA": Policy(_random, RayAsha),
    "TPE + halving": Policy(_tpe, _halving),
    "random + halving": Policy(_random, _halving),
}
TRIED = {
    "noise-aware": Policy(_ours, lambda epochs: tried.NoiseAware()),
    "bound": Policy(_ours, lambda epochs: tried.Bound()),
    "Sobol start": Policy(lambda spec: tried.qmc_start(_ours(spec), spec.seed), _halving),
    "TPE/random + halving": Policy(lambda spec: tried.half_random(spec.seed), _halving),
    "BOHB + halving": Policy(lambda spec: BOHBSampler(seed=spec.seed), _halving),
    "half random": Policy(lambda spec: _ours(spec, random_fraction=0.5), _halving),
    "factor 3": Policy(_ours, _by_three),
}
OURS = {
    "default": Policy(_ours, _our_pruner),
    "default without checkpoints": Policy(_ours, lambda epochs: HalvingPruner(promotion=False)),
    "warm start": Policy(_ours, _our_pruner, _other_tasks),
    "misled": Policy(_ours, _our_pruner, _worst),
    "deceived": Policy(_ours, _our_pruner, _deceptive),
}
POLICIES = OURS | PEERS | TRIED
NAMES = (*POLICIES, "promotion")


class Trace(Tracker):
    """Every value with its moment, and how many trials there were."""

    def __init__(self, clock: Clock) -> None:
        self.seen: list[tuple[float, float]] = []
        self.trials = 0
        self._clock = clock

    def trial_started(self, job: Job) -> None:
        self.trials += 1

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        if math.isfinite(metrics["loss"]):
            self.seen.append((self._clock.now, metrics["loss"]))


def study_of(task: Task, policy: Policy, seed: int, sources: Sequence[Source]) -> tuple[Trace, optuna.Study]:
    longest = max(len(recording.steps) for recording in task.recordings)
    budget = Budget(trials=len(task.recordings), failures=10**9)
    spec = spec_of(task.space, seed).model_copy(update={"budget": budget, "constants": {"epochs": longest}})
    recordings, clock, files = Recordings(task.space, task.recordings), Clock(), MemoryFiles(saves=True)
    study = optuna.create_study(
        sampler=RecordedSampler(policy.sampler(spec), recordings), pruner=policy.pruner(longest)
    )
    trace = Trace(clock)
    warm = None
    if sources:
        spec = spec.model_copy(update={"warm_start": WarmStartSpec()})
        warm = WarmStart(candidates_of(spec, sources), guard_of(spec), maximize=False)
    oracle = Oracle(spec, study, NOWHERE, trace, clock, files, warm)
    ReplayEngine(recordings, clock, WORKERS, task.budget, files).run(oracle)
    oracle.end()
    return trace, study


def _row(data: Path, name: str, family: str, index: int, seed: int) -> dict[str, Any]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    task = tasks(data, family)[index]
    row = {"policy": name, "family": family, "task": task.name, "seed": seed}
    if name == "promotion":
        curves = [
            [step.metrics["loss"] for step in recording.steps if math.isfinite(step.metrics["loss"])]
            for recording in task.recordings
        ]
        return row | regrets_of(task, tried.promotion(curves, task.seconds, WORKERS, task.budget, seed))
    policy = POLICIES[name]
    sources = policy.history(data, family, index, seed) if policy.history else []
    trace, study = study_of(task, policy, seed, sources)
    row |= regrets_of(task, trace.seen) | {"trials": trace.trials}
    return row | ({"warm_share": warm_share(task, study)} if sources else {})


def regrets_of(task: Task, seen: Iterable[tuple[float, float]]) -> dict[str, Any]:
    seen = list(seen)
    best = [min((value for at, value in seen if at <= part * task.budget), default=task.high) for part in MOMENTS]
    return {"regret": [task.regret(value) for value in best]}


def warm_share(task: Task, study: optuna.Study) -> float:
    """Of the budget, what went into configurations of an earlier study."""
    spent = 0.0
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get("hpo:origin", {}).get("source") == "warm_start":
            job, outcome = trial.user_attrs["hpo:job"], trial.user_attrs.get("hpo:outcome")
            spent += (outcome["finished"] if outcome else task.budget) - job["started"]
    return spent / (task.budget * WORKERS)


# --- the tables


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    moments = [MOMENTS.index(moment) for moment in (0.25, 0.5, 1.0)]
    for family in FAMILIES:
        lines += [
            f"{family}: regret at 25, 50 and 100 % of the budget, and default minus policy with its 95 % interval\n",
            "| policy | seeds | 25 % | 50 % | 100 % | difference at 25 % | at 50 % | at 100 % |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        ours = figures_of(rows, "default", family)
        for name in NAMES:
            own = figures_of(rows, name, family)
            by_task = task_means(own)
            if not own or by_task.keys() != {task for task, _ in ours}:
                continue
            means = np.mean(list(by_task.values()), axis=0)
            seeds = min(Counter(task for task, _ in own).values())
            apart = [""] * len(MOMENTS) if name == "default" else differences(ours, own)
            cells = [f"{means[moment]:.1f}" for moment in moments] + [apart[moment] for moment in moments]
            lines.append(f"| {name} | {seeds} | {' | '.join(cells)} |")
        lines.append("")
        for name in ("misled", "deceived"):
            lines += _misled(rows, name, family)
    return "\n".join(lines)


def _misled(rows: Sequence[Mapping[str, Any]], name: str, family: str) -> list[str]:
    """The whole budget misled, against nine tenths of it without any history."""
    whole = {key: [regrets[-1]] for key, regrets in figures_of(rows, name, family).items()}
    part = {key: [regrets[MOMENTS.index(0.9)]] for key, regrets in figures_of(rows, "default", family).items()}
    shares = [row["warm_share"] for row in rows if (row["policy"], row["family"]) == (name, family)]
    if not whole or whole.keys() != part.keys():
        return []
    return [
        f"{family}, {name}: {np.mean(shares):.1%} of the budget (at most {max(shares):.1%}) went into the earlier "
        f"study's configurations; regret minus that of the default after 90 % of the budget "
        f"{differences(whole, part)[0]}\n"
    ]


def _compute(data: Path, job: tuple[str, str, int, int]) -> dict[str, Any]:
    return _row(data, *job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default=",".join(NAMES), help="policies, with commas between")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    jobs = {
        (name, family, task.name, seed): (name, family, index, seed)
        for seed in range(given.first, given.first + (0 if given.table else given.seeds))
        for name in given.only.split(",")
        for family in FAMILIES
        for index, task in enumerate(tasks(given.data, family))
    }
    print(table(fill(given.out, jobs, search_of, partial(_compute, given.data), given.jobs)))


if __name__ == "__main__":
    main()
