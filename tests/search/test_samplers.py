"""Samplers and pruners: built from the spec, validated against Optuna's own signatures."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from hpo.errors import SpecError
from hpo.search.kernel_sampler import KernelSampler
from hpo.search.samplers import PRUNERS, SAMPLERS, make_pruner, make_sampler, warnings_for
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec

SPACE = """
  arch: {choices: [a, b]}
  lr: {low: 0.0, high: 1.0}
  width: {low: 1, high: 9}
  loss: {choices: {bce: {}, focal: {gamma: {low: 0.0, high: 5.0}}}}
"""
NUMBERS = """
  x: {low: 0.0, high: 1.0}
  y: {low: 0.0, high: 1.0}
"""


def study(folder: Path, sampler: str = "tpe", pruner: str = "none", space: str = SPACE, rest: str = "") -> StudySpec:
    (folder / "objective.py").write_text("def train(trial): ...\n")
    rest = rest or "metrics: [{name: loss, direction: minimize}]\nbudget: {trials: 100}\n"
    (folder / "study.yaml").write_text(
        f"name: s\nobjective: objective.py:train\nsampler: {sampler}\npruner: {pruner}\nsearch_space:{space}{rest}"
    )
    return load_spec(folder / "study.yaml")


def drawn(spec: StudySpec, finished: int, trials: int = 3) -> list[dict[str, Any]]:
    optuna_study = optuna.create_study(sampler=make_sampler(spec, finished))
    result = []
    for _ in range(trials):
        trial = optuna_study.ask()
        result.append(spec.space.suggest(trial))
        optuna_study.tell(trial, 1.0)
    return result


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        *(("grid", RandomSampler), ("random", RandomSampler), ("tpe", TPESampler), ("nsga2", NSGAIISampler)),
        *(("qmc", QMCSampler), ("kernel", KernelSampler)),
        ("optuna.samplers:NSGAIIISampler", optuna.samplers.NSGAIIISampler),
    ],
)
def test_a_sampler_by_name(tmp_path: Path, name: str, cls: type) -> None:
    space = SPACE if name != "grid" else "\n  arch: {choices: [a, b]}\n"
    spec = study(tmp_path, name, space=space)
    assert type(make_sampler(spec, 0)) is cls
    assert drawn(spec, 0) == drawn(spec, 0), "the seed decides"


@pytest.mark.parametrize(("name", "cls", "package"), [("gp", GPSampler, "torch"), ("cmaes", CmaEsSampler, "cmaes")])
def test_a_sampler_that_needs_a_package_says_so_or_works(tmp_path: Path, name: str, cls: type, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        with pytest.raises(SpecError, match=f"needs the package {package}: pip install {package}"):
            study(tmp_path, name)
    else:
        assert type(make_sampler(study(tmp_path, name), 0)) is cls


def test_every_short_name_is_a_class_of_optuna() -> None:
    for target in [*SAMPLERS.values(), *PRUNERS.values()]:
        module, _, attribute = target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_a_resumed_study_draws_others_than_its_first(tmp_path: Path) -> None:
    spec = study(tmp_path, "random", space=NUMBERS)
    assert drawn(spec, 0) != drawn(spec, 3)
    assert drawn(spec, 3) == drawn(spec, 3)


def test_a_resumed_qmc_study_stays_in_its_sequence(tmp_path: Path) -> None:
    spec = study(tmp_path, "qmc", space=NUMBERS)
    whole = optuna.create_study(sampler=make_sampler(spec, 0))
    parted = optuna.create_study(sampler=make_sampler(spec, 0))
    for number in range(6):
        if number == 3:
            parted.sampler = make_sampler(spec, 3)
        for one in (whole, parted):
            trial = one.ask()
            spec.space.suggest(trial)
            one.tell(trial, 1.0)
    assert [t.params for t in whole.trials] == [t.params for t in parted.trials]


def test_tpe_is_told_every_argument_whatever_optunas_defaults(tmp_path: Path) -> None:
    sampler = make_sampler(study(tmp_path, "tpe"), 0)
    assert (sampler._multivariate, sampler._group, sampler._constant_liar) == (True, True, True)  # type: ignore[attr-defined]
    sampler = make_sampler(study(tmp_path, "{name: tpe, multivariate: false, constant_liar: false}"), 0)
    assert (sampler._multivariate, sampler._group, sampler._constant_liar) == (False, False, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "cls"),
    [
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("{name: percentile, percentile: 25}", optuna.pruners.PercentilePruner),
        ("successive_halving", optuna.pruners.SuccessiveHalvingPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
        ("{name: threshold, upper: 3}", optuna.pruners.ThresholdPruner),
        (
            "{name: patient, patience: 2, wrapped_pruner: {name: median, n_startup_trials: 3}}",
            optuna.pruners.PatientPruner,
        ),
        ("{name: patient, patience: 2, wrapped_pruner: null}", optuna.pruners.PatientPruner),
        ("optuna.pruners:MedianPruner", optuna.pruners.MedianPruner),
    ],
)
def test_a_pruner_by_name(tmp_path: Path, written: str, cls: type) -> None:
    assert type(make_pruner(study(tmp_path, pruner=written))) is cls


def test_the_default_pruner_starts_at_the_first_step(tmp_path: Path) -> None:
    pruner = make_pruner(study(tmp_path, pruner="successive_halving"))
    assert (pruner._min_resource, pruner._reduction_factor) == (1, 4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{name: threshold}", "lower or upper"),
        ("{name: percentile, percentile: 200}", "percentile"),
        ("{name: patient, patience: 2}", "wrapped_pruner: is missing; expected the pruner to be patient with, or null"),
        ("{name: patient, patience: 2, wrapped_pruner: {name: medan}}", "Did you mean 'median'?"),
        ("{name: patient, patience: 2, wrapped_pruner: 3}", "3 is not a pruner"),
        ("{name: median, n_startup_trials: 2.5}", "2.5 is not right; expected an integer"),
        ("no_module_of_that_name:Pruner", "there is no module 'no_module_of_that_name'"),
    ],
)
def test_a_pruner_that_optuna_would_refuse_is_refused_at_once(tmp_path: Path, written: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        study(tmp_path, pruner=written)
    assert words in str(caught.value)


def test_a_sampler_of_the_users_own_is_found_beside_the_study(tmp_path: Path) -> None:
    code = "import optuna\n\nclass Mine(optuna.samplers.RandomSampler):\n    pass\n"
    (tmp_path / "my_sampler_of_tests.py").write_text(code)
    spec = study(tmp_path, "my_sampler_of_tests:Mine")
    assert type(make_sampler(spec, 0)).__name__ == "Mine"
    assert drawn(spec, 0) == drawn(spec, 0), "it takes a seed, so it is given one"


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        ("own_of_tests.samplers:Mine", "none"),
        ("random", "own_of_tests.samplers:Stops"),
        ("random", "{name: patient, patience: 2, wrapped_pruner: {name: 'own_of_tests.samplers:Stops', odd: 3}}"),
    ],
)
def test_a_class_of_the_users_own_is_looked_for_and_not_imported(tmp_path: Path, sampler: str, pruner: str) -> None:
    package = tmp_path / "own_of_tests"
    package.mkdir()
    leaves_a_mark = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
    (package / "__init__.py").write_text(leaves_a_mark)
    classes = "class Mine(samplers.RandomSampler): pass\nclass Stops(pruners.NopPruner): pass\n"
    (package / "samplers.py").write_text(f"{leaves_a_mark}from optuna import pruners, samplers\n{classes}")
    spec = study(tmp_path, sampler, pruner)
    warnings_for(spec)
    assert list(package.glob("*.ran")) == []
    if "odd" in pruner:
        with pytest.raises(SpecError, match=r"pruner\.wrapped_pruner: is not a key of"):
            make_pruner(spec)
    else:
        make_sampler(spec, 0)
        make_pruner(spec)
    assert len(list(package.glob("*.ran"))) == 2


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("own_of_tests:Min", "'own_of_tests' has no class 'Min'. Did you mean 'Mine'?"),
        ("own_of_tests:make", "'make' of 'own_of_tests' is a function; expected a class"),
        ("own_of_tests:1", "'own_of_tests:1' names no class; expected package.module:Class"),
        ("./own_of_tests.py:Mine", "names no class; expected package.module:Class"),
        ("own_of_test:Mine", "there is no module 'own_of_test'"),
        ("broken_of_tests:Mine", "this is not valid Python"),
    ],
)
def test_a_class_that_is_not_there_is_refused_without_an_import(tmp_path: Path, written: str, words: str) -> None:
    (tmp_path / "own_of_tests.py").write_text("raise SystemExit\nclass Mine: pass\ndef make(): pass\n")
    (tmp_path / "broken_of_tests.py").write_text("class Mine(:\n")
    with pytest.raises(SpecError, match=re.escape(words)):
        study(tmp_path, f"'{written}'")


@pytest.mark.parametrize(
    ("name", "words"),
    [("Other", "expected a subclass of BaseSampler"), ("Mine", "sampler.typo"), ("absent", "cannot be imported")],
)
def test_what_only_an_import_can_tell_is_said_when_the_study_runs(tmp_path: Path, name: str, words: str) -> None:
    code = "import optuna\nclass Mine(optuna.samplers.RandomSampler): pass\nclass Other: pass\n"
    (tmp_path / "own_of_run.py").write_text(code)
    (tmp_path / "raises_of_run.py").write_text("class absent: pass\n1 / 0\n")
    module = "raises_of_run" if name == "absent" else "own_of_run"
    spec = study(tmp_path, f"{{name: '{module}:{name}', typo: 1}}")
    with pytest.raises(SpecError, match=re.escape(words)):
        make_sampler(spec, 0)


def test_a_seeded_qmc_is_not_warned_of(tmp_path: Path) -> None:
    code = "from hpo.spec.load import load_spec; load_spec('study.yaml')"
    study(tmp_path, "qmc", space=NUMBERS)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


ONE = "metrics: [{name: a, direction: minimize}]\nbudget: {trials: 100}\n"
TWO = "metrics: [{name: a, direction: minimize}, {name: b, direction: maximize}]\nbudget: {trials: 100}\n"
FEW = "metrics: [{name: a, direction: minimize}]\nbudget: {trials: 8}\n"


@pytest.mark.parametrize(
    ("sampler", "pruner", "space", "rest", "words"),
    [
        ("nsga2", "median", NUMBERS, "", ["sampler nsga2 learns from completed trials only", "out of memory"]),
        ("tpe", "median", SPACE, TWO, ["pruner median looks at 'a', the first one, alone"]),
        ("kernel", "none", SPACE, FEW, ["sampler kernel draws its first 16 trials at random: the whole budget of 8"]),
        ("tpe", "none", SPACE, FEW, ["draws its first 10 trials at random: the whole budget of 8"]),
        ("nsga2", "none", SPACE, FEW, ["draws a population of 50 at random", "out of memory"]),
        ("tpe", "{name: median, n_startup_trials: 8}", SPACE, FEW, ["waits for 8 trials", "first 10 trials"]),
        ("random", "none", SPACE, "", ["does not avoid regions where trials ran out of memory"]),
        ("qmc", "none", SPACE, "", ["draws conditional parameters at random: loss.focal.gamma", "out of memory"]),
        ("{name: tpe, group: false}", "none", SPACE, "", ["without group draws conditional parameters one by one"]),
        ("{name: tpe, constant_liar: false}", "none", NUMBERS, "", ["nearly the same configuration"]),
        ("grid", "none", "\n  n: {low: 1, high: 9}\n", FEW, ["the grid has 9 cells, the budget ends after 8 (89%)"]),
        ("tpe", "successive_halving", SPACE, "", []),
        (
            *("kernel", "none", "\n  n: {low: 1, high: 7}\n", FEW),
            ["has 7 configurations, the budget 8 trials: sampler kernel tries each once, then again", "first 16"],
        ),
        ("tpe", "none", "\n  n: {choices: [1]}\n", "", ["has 1 configuration, the budget"]),
        ("kernel", "none", "\n  n: {low: 1, high: 8}\n", FEW, ["first 16"]),
        ("tpe", "none", SPACE, f"group_by: arch\n{ONE}", []),
        ("tpe", "none", SPACE, f"min_complete: 2\n{ONE}", ["min_complete counts the complete trials of each value of"]),
        (
            *("tpe", "none", SPACE, f"group_by: arch\nmin_complete: 60\n{ONE}"),
            ["min_complete 60 asks for 120 complete trials of the 2 values of arch, the budget ends after 100: some"],
        ),
        (
            *("tpe", "{name: median, n_startup_trials: 50}", SPACE, f"group_by: arch\n{ONE}"),
            ["pruner median waits for 50 trials of each of the 2 values of arch, the whole budget: it hardly ever"],
        ),
        (
            "tpe",
            "none",
            SPACE,
            f"red_flags: [collapsed]\n{ONE}",
            ["red_flags leaves out non_finite: a trial whose loss"],
        ),
        ("tpe", "none", SPACE, f"red_flags: []\n{ONE}", ["red_flags leaves out non_finite"]),
        ("tpe", "none", SPACE, f"red_flags: [{{name: nan, rule: non_finite, action: warn}}]\n{ONE}", []),
        ("tpe", "none", SPACE, f"red_flags: [{{name: nan, when: not finite(loss)}}]\n{ONE}", []),
        (
            *("tpe", "none", "\n  lr: {low: 1e-5, high: 0.1}\n", ""),
            ["lr goes over 4 decades, from 1e-5 to 0.1, without log: 90% of its values are above 0.01; log: true"],
        ),
        ("tpe", "none", "\n  lr: {low: 1e-5, high: 0.1, log: true}\n", "", []),
        ("tpe", "none", "\n  lr: {low: 1e-3, high: 0.1}\n", "", []),  # two decades
        ("tpe", "none", "\n  dropout: {low: 0.0, high: 0.9}\n", "", []),
        ("tpe", "none", "\n  lr: {low: 0.001, high: 1.0, step: 0.001}\n", "", []),
        (
            *("tpe", "{name: successive_halving, min_resource: 10}", SPACE, f"constants: {{epochs: 6}}\n{ONE}"),
            ["pruner successive_halving first decides at step 10, and a trial has 6 epochs: it never prunes"],
        ),
        (
            "tpe",
            "{name: successive_halving, min_resource: 4, min_early_stopping_rate: 1, reduction_factor: 2}",
            SPACE,
            f"constants: {{epochs: 6}}\n{ONE}",
            ["first decides at step 8"],
        ),
        ("tpe", "{name: median, n_warmup_steps: 9}", SPACE, f"constants: {{epochs: 8}}\n{ONE}", ["decides at step 9"]),
        (
            *("tpe", "{name: halving, min_resource: 10}", "\n  epochs: {choices: [6, 9]}\n", ONE),
            ["has 2 configurations", "first decides at step 10, and a trial has 9 epochs"],
        ),
        ("tpe", "{name: halving, min_resource: 9}", SPACE, f"constants: {{epochs: 9}}\n{ONE}", []),
        ("tpe", "{name: halving, min_resource: 9}", SPACE, ONE, []),
    ],
)
def test_what_does_not_fit_together_is_warned_of(
    tmp_path: Path, sampler: str, pruner: str, space: str, rest: str, words: list[str]
) -> None:
    found = warnings_for(study(tmp_path, sampler, pruner, space, rest))
    assert len(found) == len(words), found
    for word in words:
        assert any(word in warning for warning in found), found
