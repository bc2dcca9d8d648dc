"""compare: what it says and writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Hpo


@pytest.fixture
def two(hpo: Hpo, study_yaml: Callable[..., Path]) -> tuple[str, str]:
    """Studies `before` and `after` of 7 trials each, which differ in their seed and a constant."""
    hpo("run", study_yaml(name="before", budget={"trials": 7}, constants={"data": {"size": 1}}), "-q")
    hpo("run", study_yaml(name="after", budget={"trials": 7}, constants={"data": {"size": 2}}, seed=2), "-q")
    return "before", "after"


def test_two_studies_are_compared(hpo: Hpo, two: tuple[str, str], runs: Path) -> None:
    said = hpo("compare", *two)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split() == ["score", "n", "success", "max", "mean", "sd", "min"]
    assert [line.split()[:3] for line in lines[1:3]] == [["before", "7", "100%"], ["after", "7", "100%"]]
    assert any(line.startswith("all trials: after less before  ") and "p " in line for line in lines)
    assert "Whether all were validated on the same data was not recorded." in said.out
    assert "2 differences of configuration" in said.out
    paths = [runs / f"before/comparison-with-after.{suffix}" for suffix in ("html", "md", "json")]
    assert lines[-3:] == [str(path) for path in paths]
    assert json.loads(paths[2].read_text())["differences"] == [
        {"key": "data.size", "values": ["1", "2"]},
        {"key": "seed", "values": ["1", "2"]},
    ]


def test_trials_are_compared_where_the_user_wants_it_and_in_chinese(
    hpo: Hpo, two: tuple[str, str], tmp_path: Path
) -> None:
    said = hpo("compare", "before/0", "before/3", "-o", tmp_path / "out", "--lang", "zh-TW", "--json")
    assert said.code == 0
    data = json.loads(said.out)
    page = tmp_path / "out/trial-0-comparison-with-before-3.zh-TW.html"
    assert (data["language"], data["html"], data["sides"]) == ("zh-TW", str(page), ["before/0", "before/3"])
    assert page.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["before"], "before alone cannot be compared; expected two studies, or two trials"),
        (["before", "before"], "before is given twice; expected each study or trial once"),
        (["before", "after/1"], "before and after/1 are studies and trials; expected either studies or trials"),
        (["before/1", "after/9"], "study 'after' has no trial 9; it has trials 0 to 6"),
        (["before", "afte"], "Did you mean 'after'?"),
    ],
)
def test_what_cannot_be_compared_is_said(hpo: Hpo, two: tuple[str, str], given: list[str], said: str) -> None:
    refused = hpo("compare", *given)
    assert refused.code == 2
    assert said in refused.err


def test_studies_of_other_metrics_are_refused(hpo: Hpo, study_yaml: Callable[..., Path]) -> None:
    hpo("run", study_yaml(name="up", budget={"trials": 1}), "-q")
    turned = [{"name": "score", "direction": "minimize"}]
    hpo("run", study_yaml(name="down", budget={"trials": 1}, metrics=turned), "-q")
    refused = hpo("compare", "up", "down")
    assert refused.code == 2
    assert "there is no metric to compare by: up has " in refused.err
    assert "expected one of equal name and direction in all" in refused.err
