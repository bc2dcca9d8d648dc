from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from reading import SCORE, SPACE, study, trial

from hpo.analysis.red_flag_regions import Share
from hpo.analysis.summary_statistics import Spread
from hpo.reports.study_json import study_data
from hpo.reports.to_json import Each, document, to_plain_data

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}


def test_everything_becomes_what_json_can_hold() -> None:
    given = {
        "spread": Spread(2, 0.5, None, 0.5, math.nan, math.inf),
        1: [np.float64(0.25), np.arange(3), np.bool_(True)],
        "trial": trial(7, UNET, 0.5),
        "metric": SCORE,
        "path": Path("a/b"),
    }
    assert to_plain_data(given) == {
        "spread": {"n": 2, "mean": 0.5, "deviation": None, "median": 0.5, "low": None, "high": None, "quartiles": None},
        "1": [0.25, [0, 1, 2], True],
        "trial": 7,
        "metric": {"name": "score", "direction": "maximize", "goal": None},
        "path": "a/b",
    }


def test_a_program_finds_the_best_of_each_architecture() -> None:
    record = study(
        [
            trial(0, UNET, 0.5, curve=[0.1, 0.5], seconds=2.0),
            trial(1, {**UNET, "learning_rate": 1e-2}, 0.75),
            trial(2, {**UNET, "architecture": "resnet"}, 0.25),
            trial(3, UNET, state="PRUNED", cause="pruner", reason="behind", curve=[0.1]),
        ],
        space=SPACE,
    )
    data = json.loads(json.dumps(to_plain_data(study_data(record)), allow_nan=False))
    best = {row["group"]: row["best"] for row in data["by_metric"]["score"]["best"]}
    assert best == {"unet": 1, "resnet": 2}
    assert data["counts"] == {"complete": 3, "pruned": 1, "fail": 0, "running": 0}
    assert data["failures"] == [{"state": "PRUNED", "cause": "pruner", "flag": "", "trials": [3]}]
    first = data["trials"][0]
    assert (first["values"], first["epochs"], first["epochs_to_best"]) == ({"score": 0.5}, 2, 2)


def test_a_renamed_field_keeps_its_key() -> None:
    assert to_plain_data(Share(1, 4)) == {"ill": 1, "n": 4}


def test_a_file_is_written_in_pieces_and_says_the_same() -> None:
    record = study([trial(k, UNET, 0.5, curve=[0.1, 0.5]) for k in range(50)], space=SPACE)
    whole = json.dumps(to_plain_data(study_data(record)), ensure_ascii=False, indent=1, allow_nan=False)
    written = "".join(document(study_data(record)))
    now = json.loads(whole)["written"]
    assert written.replace(json.loads(written)["written"], now) == f"{whole}\n"
    assert "".join(document(Each(str, ()), indent=2)) == "[]\n"


def test_what_is_written_later_is_made_later() -> None:
    made: list[int] = []
    pieces = document({"trials": Each(lambda k: made.append(k) or {"number": k, "state": "x" * 10}, range(40_000))})
    next(pieces)
    assert 0 < len(made) < 40_000
    rest = "".join(pieces)
    assert len(made) == 40_000
    assert rest.endswith("}\n ]\n}\n")
