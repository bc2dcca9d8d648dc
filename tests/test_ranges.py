"""Studies of the widest and narrowest ranges that doubles and integers have: they run, and have a true report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo import layout
from hpo.errors import SpecError
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.spec.models import Component

LARGE, ULP = 2**53, math.nextafter(1.0, 2.0)
RANGES: dict[str, dict[str, Any]] = {
    "wide": {"low": 0.0, "high": 1e300},
    "wide_log": {"low": 5e-324, "high": 1.7e308, "log": True},
    "both_sides": {"low": -8e307, "high": 8e307},
    "subnormal": {"low": 0.0, "high": 5e-324},
    "subnormal_log": {"low": 5e-324, "high": 1e-320, "log": True},
    "ulp": {"low": 1.0, "high": ULP},
    "ulp_log": {"low": math.nextafter(2.0, 1.0), "high": 2.0, "log": True},
    "ulp_large": {"low": 1e300, "high": math.nextafter(1e300, math.inf), "log": True},
    "integers": {"low": -LARGE, "high": LARGE},
    "integers_log": {"low": 1, "high": LARGE, "log": True},
    "last_integers": {"low": LARGE - 20, "high": LARGE},
    "two_integers": {"low": LARGE - 1, "high": LARGE, "log": True},
    "one_step": {"low": 3, "high": 8, "step": 5},
    "large_steps": {"low": 0.0, "high": 1e300, "step": 1e299},
    "least_steps": {"low": 0.0, "high": 5e-323, "step": 5e-324},
}
# TPE draws NaN there.
TOO_NARROW = ("subnormal", "ulp_large", "two_integers")
FLAG = {"name": "high", "when": "score > 0.5", "action": "warn"}


@pytest.mark.parametrize(
    ("names", "sampler"),
    # Each of them once in `make test`.
    [
        pytest.param(names, name, id=f"{names[0]}-{name}", marks=[] if n == k else pytest.mark.slow)
        for n, names in enumerate(list(RANGES)[k : k + 5] for k in (0, 5, 10))
        for k, name in enumerate(("kernel", "random", "tpe"))
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning:optuna")
def test_a_study_of_such_ranges_has_a_report(
    study_yaml: Callable[..., Path], runs: Path, sampler: str, names: list[str]
) -> None:
    names = [name for name in names if sampler != "tpe" or name not in TOO_NARROW]
    space = {"x": {"low": 0.0, "high": 1.0}} | {name: RANGES[name] for name in names}
    path = study_yaml(search_space=space, sampler=sampler, budget={"trials": 24}, engine="inline", red_flags=[FLAG])
    result = run(path, runs=runs)
    assert (result.state, result.progress.complete) == ("finished", 24)
    report = json.loads((layout.study_directory(runs, result.study) / "report.json").read_text())
    for effect in report["by_metric"]["score"]["effects"]["shown"]:
        for group in effect["groups"]:
            assert group["unplaced"] == 0, effect["axis"]["name"]
            assert all(-0.5 <= dot["position"] <= len(effect["axis"]["labels"]) - 0.5 for dot in group["dots"])
        labels = [part for label in effect["axis"]["labels"] for part in label.split(" to ")]
        bins = [label.split(" to ") for label in effect["axis"]["labels"] if " to " in label]
        assert all(low != high for low, high in bins), labels


@pytest.mark.parametrize("name", TOO_NARROW)
def test_what_tpe_cannot_draw_is_refused(study_yaml: Callable[..., Path], name: str) -> None:
    metrics = [{"name": each, "direction": "maximize"} for each in ("score", "other")]
    two = {"sampler": "kernel", "metrics": metrics}
    for keys in ({"sampler": "tpe"}, two):
        with pytest.raises(SpecError, match=rf"search_space\.{name}: .* too narrow for the sampler tpe"):
            load_spec(study_yaml(search_space={name: RANGES[name]}, **keys))


def test_what_gp_cannot_tell_apart_is_refused(study_yaml: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match=r"'n' goes beyond 2\*\*51, where the sampler gp confuses integers"):
        load_spec(study_yaml(search_space={"n": RANGES["last_integers"]}, sampler="gp"))


def test_a_spec_that_was_changed_in_python_is_refused_too(study_yaml: Callable[..., Path], runs: Path) -> None:
    spec = load_spec(study_yaml(search_space={"n": RANGES["integers"]}))
    with pytest.raises(SpecError, match="of which the sampler gp would keep a list"):
        run(spec.model_copy(update={"sampler": Component(name="gp")}), runs=runs)
