"""Words of Optuna, Ray Tune and W&B in a study: each is refused with the line that hpo has in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import SpecError
from hpo.spec.load import load_spec
from hpo.spec.yaml_document import load_text

STUDY = {
    "name": "name: demo",
    "objective": "objective: obj.py:train",
    "metrics": "metrics: [{name: val_ap, direction: maximize}]",
    "search_space": "search_space: {lr: {low: 1e-4, high: 0.1, log: true}}",
    "budget": "budget: {trials: 50}",
}


def said(folder: Path, **changed: str) -> str:
    (folder / "obj.py").write_text("def train(trial):\n    return {}\n")
    lines = {**STUDY, **changed}
    (folder / "study.yaml").write_text("".join(f"{line}\n" for line in lines.values() if line))
    with pytest.raises(SpecError) as error:
        load_spec(folder / "study.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("{type: loguniform, min: 1e-4, max: 0.1}", "p: {low: 1e-4, high: 0.1, log: true}"),
        ("{distribution: log_uniform_values, min: 1e-4, max: 0.1}", "p: {low: 1e-4, high: 0.1, log: true}"),
        ("{distribution: log_uniform, min: -2.302585, max: 0}", "p: {low: 0.1, high: 1.0, log: true}"),
        ("{distribution: int_uniform, min: 1, max: 4}", "p: {low: 1, high: 4}"),
        ("{distribution: q_uniform, min: 0, max: 1, q: 0.25}", "p: {low: 0, high: 1, step: 0.25}"),
        ("{min: 0.1, max: 0.9}", "p: {low: 0.1, high: 0.9}"),
        ("{type: float, low: 0, high: 5}", "p: {low: 0, high: 5.0}"),
        ("{lower: 1, upper: 8, log_scale: true}", "p: {low: 1, high: 8, log: true}"),
        ("{bounds: [0.0, 0.5]}", "p: {low: 0.0, high: 0.5}"),
        ("{values: [16, 32], structural: true}", "p: {choices: [16, 32], structural: true}"),
        ("{type: categorical, choices: [a, b]}", "p: {choices: [a, b]}"),
        ("{value: 3}", "p: 3"),
    ],
)
def test_a_parameter(tmp_path: Path, declared: str, expected: str) -> None:
    message = said(tmp_path, search_space=f"search_space: {{p: {declared}}}")
    assert message.endswith(f"has words of another tool; expected {expected}")
    # What is to be written is right.
    load_spec_of = STUDY | {"search_space": f"search_space: {{{expected}}}"}
    (tmp_path / "study.yaml").write_text("\n".join(load_spec_of.values()))
    assert load_spec(tmp_path / "study.yaml").space.parameters[0].name == "p"


def test_a_misspelled_key_is_not_lost_in_a_translation(tmp_path: Path) -> None:
    message = said(tmp_path, search_space="search_space: {p: {low: 1, high: 2, logg: true}}")
    assert "p.logg: is not a key of a parameter" in message
    assert "Did you mean 'log'?" in message
    assert "{'mean': 0" not in said(tmp_path, search_space="search_space: {p: {distribution: normal, mu: 0}}")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("n_trials: 30", "budget: {trials: 30}"),
        ("timeout: 7200", "budget: {hours: 2.0}"),
        ("direction: maximize", "metrics: [{name: val_ap, direction: maximize}]"),
        ("n_jobs: 4", "engine: {workers: 4}"),
        ("gpus: 1", "engine: {gpu: 1}"),
        ("resources_per_trial: {cpu: 2, gpu: 0.5}", "engine: {cpu: 2, gpu: 0.5}"),
        ("method: bayes", "sampler: auto"),
        ("method: grid", "sampler: grid"),
        ("scheduler: {type: ASHAScheduler}", "pruner: successive_halving"),
        ("early_terminate: {type: hyperband, min_iter: 3}", "pruner: hyperband"),
        ("study_name: mine", "name: mine"),
        ("parameters: {lr: {min: 0.1, max: 0.2}}", "search_space: {lr: {low: 0.1, high: 0.2}}"),
        ("epochs: 10", "constants: {epochs: 10}"),
        ("load_if_exists: true", "nothing in its place: the same `hpo run` again always goes on"),
    ],
)
def test_a_key_of_a_study(tmp_path: Path, written: str, expected: str) -> None:
    assert said(tmp_path, other=written).endswith(f"is not a key of a study; expected {expected}")


def test_a_sweep_of_wandb(tmp_path: Path) -> None:
    message = said(
        tmp_path,
        objective="program: train.py",
        metrics="metric: {name: val_loss, goal: minimize}",
        search_space="parameters:\n  lr: {distribution: log_uniform_values, min: 1e-4, max: 0.1}\n  n: {value: 10}",
        sampler="method: bayes",
    )
    assert "expected objective: train.py:train for a function, or command: [python, train.py" in message
    assert "expected metrics: [{name: val_loss, direction: minimize}]" in message
    assert "expected search_space: {lr: {low: 1e-4, high: 0.1, log: true}, n: 10}" in message
    assert "is missing" not in message  # nothing is said twice


@pytest.mark.parametrize(
    ("key", "written", "expected"),
    [
        ("metrics", "val_ap", "expected metrics: [{name: val_ap, direction: maximize}]"),
        ("metrics", "[val_loss]", "expected metrics: [{name: val_loss, direction: minimize}]"),
        ("metrics", "{val_ap: max}", "expected metrics: [{name: val_ap, direction: maximize}]"),
        ("metrics", "{name: val_ap, goal: maximize}", "expected metrics: [{name: val_ap, direction: maximize}]"),
        ("metrics", "[{name: x, mode: min}]", "expected metrics: [{name: x, direction: minimize}]"),
        ("metrics", "[{name: x, direction: max}]", "expected minimize or maximize. Did you mean 'maximize'?"),
        ("budget", "50", "50 has no unit; expected a mapping, {trials: 50} or {hours: 50}"),
        ("budget", "{n_trials: 50}", "expected trials, hours, gpu_hours or failures: trials: 50"),
        ("budget", "{timeout: 1800}", "expected trials, hours, gpu_hours or failures: hours: 0.5"),
        ("sampler", "TPESampler", "Write 'tpe'"),
        ("sampler", "NSGAIISampler", "Write 'nsga2'"),
        ("sampler", "bayesian", "Write 'auto'"),
        ("sampler", "{type: TPESampler}", "sampler.type: is not a key of a sampler; expected name: tpe"),
        ("pruner", "asha", "Write 'successive_halving'"),
        ("pruner", "MedianPruner", "Write 'median'"),
        ("pruner", "{name: HyperbandPruner}", "Write 'hyperband'"),
        ("engine", "{workers: auto}", "'auto' is the default; leave workers out, or give a number from 1"),
        ("engine", "{workers: -1}", "-1 is the default; leave workers out, or give a number from 1"),
    ],
)
def test_below_a_key_of_a_study(tmp_path: Path, key: str, written: str, expected: str) -> None:
    message = said(tmp_path, **{key: f"{key}: {written}"})
    assert message.endswith(expected)
    assert len(message.splitlines()) == 1  # the mistake is said once


def test_what_is_to_be_written_is_yaml(tmp_path: Path) -> None:
    message = said(tmp_path, other="param_space: {opt: {values: ['yes', '1', 'a: b', null]}}")
    expected = load_text(message.partition("expected ")[2], "").data
    assert expected == {"search_space": {"opt": {"choices": ["yes", "1", "a: b", None]}}}
