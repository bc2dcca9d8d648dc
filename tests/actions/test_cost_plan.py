"""What `hpo plan` says of a space that wastes hours or memory: measured, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.actions import cost_plan
from hpo.actions.cost_plan import GIB, GroupCost, plan_costs
from hpo.runner import run
from hpo.spec.load import load_spec

NETS = """
import time

def train(trial):
    net = trial.params["net"]
    if net == "broken":
        raise ValueError("no such layer")
    if net == "huge":
        raise MemoryError("cannot hold 40 GB")
    for epoch in range(1, 5):
        time.sleep({"large": 0.1}.get(net, 0.005))
        trial.report(epoch, score=1.0)
    return {"score": 1.0}
"""


@pytest.fixture
def nets(tmp_path: Path, study_yaml):
    def write(*choices: str, **keys):
        (tmp_path / "nets.py").write_text(NETS)
        space = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": list(choices), "structural": True}}
        path = study_yaml(search_space=space, constants={"epochs": 4}, engine="inline", **keys)
        path.write_text(path.read_text().replace(str(Path(__file__).parents[1] / "toys.py:smooth"), "nets.py:train"))
        return load_spec(path)

    return write


def test_a_choice_that_takes_most_of_the_hours_is_named(nets, runs: Path):
    plan = plan_costs(nets("tiny", "small", "large", budget={"trials": 30}), runs, True)
    (warning,) = plan.weaknesses
    assert warning.startswith("net large takes ")
    assert "of the hours with 3" in warning  # a third of the trials


def test_what_the_probe_could_not_measure_is_said(nets, runs: Path):
    plan = plan_costs(nets("tiny", "broken", "huge"), runs, True)
    assert {one.group for one in plan.groups if one.measured} == {"net tiny"}
    assert "net huge does not fit: out of memory: cannot hold 40 GB" in plan.weaknesses
    assert any(w.startswith("net broken could not be measured: ValueError: no such layer") for w in plan.weaknesses)
    assert plan.forecast is not None  # the others cost what net tiny does, for want of better


def test_past_trials_that_ran_out_of_memory_count(nets, runs: Path):
    run(nets("tiny", "huge", budget={"trials": 8}), runs)
    plan = plan_costs(nets("tiny", "huge", budget={"trials": 8}, name="next"), runs, False)
    (warning,) = plan.weaknesses
    assert warning.startswith("net huge: ")
    assert warning.endswith("ran out of memory")


def test_trials_that_do_not_fit_beside_each_other(nets, monkeypatch):
    monkeypatch.setattr(cost_plan, "machine_memory", lambda: 10 * GIB)
    groups = [GroupCost("net large", 1, 1.0, 0.0, 0.5, 0.5, host_bytes=3 * GIB, gpu_memory=0.6)]
    groups += [GroupCost("net tiny", 1, 1.0, 0.0, 0.5, 0.5, host_bytes=2 * GIB, gpu_memory=0.4)]
    spec = nets("tiny", "large")
    half = spec.model_copy(update={"engine": spec.engine.model_copy(update={"gpu": 0.5})})
    host, gpu = cost_plan._too_large(half, groups, 4)
    assert host == (
        "net large: 4 trials at a time hold 4 x 3.0 GiB, and this machine has 10.0 GiB; --set engine.workers=3 fits"
    )
    assert gpu == "net large holds 60% of a GPU's memory, and engine.gpu gives a trial 50%"
    assert cost_plan._too_large(spec, groups, 3) == []
