"""Record small trainings with many configurations, for judging search policies offline.

    python benchmarks/search/record_tables.py benchmarks/search/tables                # what is missing there, ~2 h
    python benchmarks/search/record_tables.py OUT_DIR --only digits_mlp --jobs 2

Each table is OUT_DIR/NAME.npz; `tables.load` reads it. Trainings that are done are kept in OUT_DIR/NAME.jsonl until all
are, and a second call goes on from there; delete that file after a change of the training. One thread a process; the
same seeds give the same curves."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.search.tables import NAMES
from benchmarks.search.trainings.training import Training, training
from hpo.space.search_space import SearchSpace

Row = tuple[int, int, list[list[float]]]


def configurations_of(found: Training) -> list[dict[str, Any]]:
    """Return every cell of a finite space, or uniform draws, as the objective sees them."""
    space, rng = SearchSpace.parse(found.space), random.Random(0)
    drawn = space.grid() if found.repeats > 1 else (space.sample(rng) for _ in range(found.configurations))
    return [space.resolve(each) for each in drawn]


def seed_of(configuration: int, repeat: int) -> int:
    return 10 * configuration + repeat


def record_one(name: str, configurations: list[dict[str, Any]], place: tuple[int, int]) -> Row:
    torch.set_num_threads(1)
    configuration, repeat = place
    curves = training(name).record(configurations[configuration], seed_of(configuration, repeat))
    return configuration, repeat, curves.tolist()


def kept_rows(path: Path) -> dict[tuple[int, int], list[list[float]]]:
    """Return the curves by configuration and repeat. A last line that was cut off is written anew."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    return {(row[0], row[1]): row[2] for row in map(json.loads, whole)}


def record(name: str, folder: Path, jobs: int) -> None:
    found = training(name)
    configurations = configurations_of(found)
    kept_path = folder / f"{name}.jsonl"
    rows = kept_rows(kept_path)
    places = [(i, r) for i in range(len(configurations)) for r in range(found.repeats) if (i, r) not in rows]
    started = time.monotonic()
    with kept_path.open("a") as kept, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for configuration, repeat, curves in pool.imap_unordered(partial(record_one, name, configurations), places):
            rows[configuration, repeat] = curves
            kept.write(json.dumps([configuration, repeat, curves]) + "\n")
            kept.flush()
    save(folder / f"{name}.npz", found, configurations, rows)
    kept_path.unlink()
    print(f"{name}: {len(configurations)} configurations, {time.monotonic() - started:.0f} s", flush=True)


def save(path: Path, found: Training, configurations: list[dict[str, Any]], rows: dict[Any, Any]) -> None:
    shape = (len(configurations), found.repeats)
    seeds = np.array([[seed_of(i, r) for r in range(shape[1])] for i in range(shape[0])], np.int32)
    # (configurations, repeats, metrics, epochs)
    curves = np.array([[rows[i, r] for r in range(shape[1])] for i in range(shape[0])], np.float32)
    if found.repeats == 1:
        curves = curves[:, 0]
    seconds = np.array([found.work(params).seconds for params in configurations], np.float32)
    second = {"second": curves[..., 1, :]} if found.second_metric else {}
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez_compressed(
        unfinished,
        space=json.dumps(found.space),
        configurations=json.dumps(configurations),
        metric=found.metric,
        direction=found.direction,
        curves=curves[..., 0, :],
        second_metric=found.second_metric,
        second_direction=found.second_direction,
        epoch_seconds=seconds,
        seeds=seeds,
        **second,
    )
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help="record this table alone")
    parser.add_argument("--jobs", type=int, choices=range(1, 129), default=1, metavar="N", help="processes (1)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else NAMES:
        if not (arguments.folder / f"{name}.npz").exists():
            record(name, arguments.folder, arguments.jobs)


if __name__ == "__main__":
    main()
