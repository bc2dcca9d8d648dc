"""`hpo replay`: replay a finished study under other samplers, pruners and red flags."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.analysis.formatting import duration, number, rough_duration, rounded_percent
from hpo.cli.common import aligned, emit, find_study, json_option, runs_option, set_option, study_argument
from hpo.cli.output import echo
from hpo.text import count

if TYPE_CHECKING:
    from hpo.actions.replay import Policy, Recorded, Replayed
    from hpo.spec.models import Metric


@click.command(
    epilog="""\b
Examples:
  hpo replay                                the study last driven, under its own pruner
  hpo replay mito --pruner median --pruner successive_halving --pruner hyperband
  hpo replay mito --pruner '{name: successive_halving, min_resource: 1, reduction_factor: 3}'
  hpo replay mito --sampler tpe --sampler bohb --workers 8
  hpo replay mito --pruner none --set 'red_flags=[non_finite, {name: collapsed, from_epoch: 4}]'
  hpo replay mito --pruner median --json | jq .policies[].saved
"""
)
@study_argument
@click.option("--pruner", "pruners", multiple=True, metavar="YAML", help="A pruner to try; any number of them.")
@click.option(
    "--sampler",
    "samplers",
    multiple=True,
    metavar="YAML",
    help="A sampler to try, any number; else a random order.",
)
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(min=1), help="Replays of each.")
@click.option("--workers", type=click.IntRange(min=1), help="Trials at a time.  [default: as many as ran]")
@set_option
@runs_option
@json_option
def replay(
    study: str | None,
    pruners: tuple[str, ...],
    samplers: tuple[str, ...],
    seeds: int,
    workers: int | None,
    overrides: tuple[str, ...],
    runs: Path,
    as_json: bool,
) -> None:
    """Replay recorded trials under another pruner, sampler or red flag.

    The recorded trainings of STUDY run again in simulated time and in memory. Each epoch takes as long as it took;
    nothing is trained and nothing is changed. For each policy it prints the epochs that it saves, and in how many of
    the replays the study's best trial still runs to its end. A trial that was stopped when it ran is known only up to
    there: a study that ran with `pruner: none` shows most.
    """
    from hpo.actions.replay import policy_of, recorded_of
    from hpo.actions.replay import replay as replay_once
    from hpo.analysis.records import read_study

    name = find_study(runs, study)
    record = read_study(runs, name)
    recorded = recorded_of(record)
    policies = [policy_of(runs, name, s, p, overrides) for s in samplers or (None,) for p in pruners or (None,)]
    at_once = workers or recorded.workers
    found: list[tuple[Policy, list[Replayed]]] = []
    began, shown = time.monotonic(), time.monotonic()
    for policy in policies:
        replays: list[Replayed] = []
        for seed in range(seeds):
            replays.append(replay_once(recorded, policy, at_once, seed))
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                done = len(found) * seeds + len(replays)
                left = (shown - began) / done * (len(policies) * seeds - done)
                echo(f"{done} of {len(policies) * seeds} replays, about {rough_duration(left)} to go", err=True)
        found.append((policy, replays))
    if as_json:
        emit(_data(name, recorded, at_once, found))
    else:
        echo(_text(name, record.metrics[0], recorded, at_once, found))


def _saved(recorded: Recorded, replays: Sequence[Replayed]) -> list[float]:
    return [1 - replayed.steps / recorded.steps for replayed in replays]


def _data(name: str, recorded: Recorded, workers: int, found: Sequence[tuple[Policy, list[Replayed]]]) -> Any:
    return {
        "study": name,
        "trials": len(recorded.recordings),
        "complete": recorded.complete,
        "cut": recorded.cut,
        "left_out": recorded.left_out,
        "saves_checkpoints": recorded.saves,
        "steps": recorded.steps,
        "winner": recorded.winner,
        "best": recorded.best,
        "workers": workers,
        "policies": [
            {
                "name": policy.name,
                "sampler": None if policy.shuffled else policy.spec.sampler.data(),
                "pruner": policy.spec.pruner.data(),
                "saved": statistics.median(_saved(recorded, replays)),
                "kept_winner": sum(replayed.kept for replayed in replays),
                "replays": [asdict(replayed) for replayed in replays],
            }
            for policy, replays in found
        ],
    }


def _text(
    name: str,
    metric: Metric,
    recorded: Recorded,
    workers: int,
    found: Sequence[tuple[Policy, list[Replayed]]],
) -> str:
    trials = count(len(recorded.recordings), "trial")
    lines = [
        f"{name}: {trials} of {count(recorded.steps, 'epoch')} in all, {count(workers, 'worker')} at a time",
        f"best {metric.name} {number(recorded.best)}, trial {recorded.winner}",
    ]
    if recorded.cut:
        lines.append(
            f"{count(recorded.cut, 'trial')} did not run to the end. How they would have continued is not known, so "
            "their replay ends where they ended"
        )
    if recorded.left_out:
        lines.append(
            f"{count(recorded.left_out, 'finished trial')} left out, since nothing was recorded of what they reported"
        )
    if any(policy.has_trials_wait for policy, _ in found):
        lines.append(
            "Its trials saved checkpoints: under halving one that is behind waits, and may go on"
            if recorded.saves
            else "No trial has left a checkpoint: under halving one that is behind is stopped, and none waits"
        )
    rows = [("policy", "epochs saved", "time", "best trial kept", f"best {metric.name}", "found after")]
    for policy, replays in found:
        saved = sorted(_saved(recorded, replays))
        middle, least, most = (rounded_percent(share) for share in (statistics.median(saved), saved[0], saved[-1]))
        reached = [replayed.best for replayed in replays if replayed.best is not None]
        after = [replayed.found_steps for replayed in replays if replayed.found_steps is not None]
        rows.append(
            (
                policy.name,
                f"{middle} ({least} to {most})",
                duration(statistics.median(replayed.seconds for replayed in replays)),
                f"{sum(replayed.kept for replayed in replays)} of {len(replays)}",
                number(statistics.median(reached)) if reached else "none",
                f"{statistics.median(after):.0f} epochs" if after else "",
            )
        )
    lines += ["", *aligned(rows), "", *(_sentence(recorded, policy, replays) for policy, replays in found)]
    lines.append("Numbers are medians over the replays, with the smallest and the largest in brackets.")
    return "\n".join(lines)


def _sentence(recorded: Recorded, policy: Policy, replays: Sequence[Replayed]) -> str:
    saved = statistics.median(_saved(recorded, replays))
    kept = sum(replayed.kept for replayed in replays)
    return (
        f"{policy.name} would have saved {rounded_percent(saved)} of the epochs and kept the winner in {kept} of "
        f"{count(len(replays), 'replay')}."
    )
