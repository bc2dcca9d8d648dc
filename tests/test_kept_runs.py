"""A runs folder that an earlier version of hpo made, and a kill left behind, opens, reports and resumes.

tests/data/kept_runs was written by the version of commit dd86589, before its modules moved into packages: 21 of 36
trials finished, and trial 21 running when the driver was killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hpo

KEPT = Path(__file__).parent / "data" / "kept_runs"
# The words around the numbers may improve, and numbers be added; what was found may not change.
FOUND = ("metrics", "group_by", "counts", "pareto_front", "by_metric", "failures", "red_flags", "trials")
# Which factors are tested, and from how many trials on importance is shown, are rules that have changed since.
CHANGED = {"anova", "importance", "labels"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Copies the runs folder, its study.yaml and its objective to a folder of the test."""
    shutil.copytree(KEPT / "runs_folder", tmp_path / "runs")
    for name in ("study.yaml", "toy.py"):
        shutil.copy(KEPT / name, tmp_path / name)
    return tmp_path


def numbers_of(report: Mapping[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in FOUND}


def assert_same(now: object, before: object, place: str = "report") -> None:
    """Compares JSON data. A number may differ where it was solved for numerically: by one in a million."""
    if isinstance(before, dict) and isinstance(now, dict):
        assert now.keys() >= before.keys(), place
        for key in before.keys() - CHANGED:
            assert_same(now[key], before[key], f"{place}.{key}")
    elif isinstance(before, list) and isinstance(now, list):
        assert len(now) == len(before), place
        for index, (one, other) in enumerate(zip(now, before, strict=True)):
            assert_same(one, other, f"{place}[{index}]")
    elif isinstance(before, float):
        assert now == pytest.approx(before, rel=1e-6), place
    else:
        assert now == before, place


def test_it_reports_as_before(kept: Path) -> None:
    before = json.loads((kept / "runs" / "kept" / "report.json").read_text())
    written = hpo.load_study("kept", runs=kept / "runs").report()
    assert_same(numbers_of(json.loads(written.json.read_text())), numbers_of(before))


def test_it_resumes_and_ends_with_its_budget(kept: Path) -> None:
    before = hpo.load_study("kept", runs=kept / "runs")
    assert list(before.trials()["state"]).count("RUNNING") == 1
    earlier = before.trials().loc[:20]
    history = before.history()
    assert hpo.run(hpo.load_spec(kept / "study.yaml"), kept / "runs").done
    after = hpo.load_study("kept", runs=kept / "runs")
    trials = after.trials()
    pd.testing.assert_frame_equal(trials.loc[:20], earlier)
    assert (~trials["requeued"]).sum() == 36
    assert trials.loc[21, "requeued"]
    assert (trials["retry_of"] == 21).sum() == 1
    assert after.history()[: len(history[history["trial"] < 21])].equals(history[history["trial"] < 21])
    # The toy does not restore: the second attempt trains every epoch again.
    (retry,) = trials.index[trials["retry_of"] == 21]
    steps = after.history().query(f"trial == {retry}")
    assert list(steps["step"]) == list(range(1, 7))
    assert set(steps["attempt"]) == {2}
