"""Warm starts and knowledge, as a user meets them: two real studies, in one folder and in two."""

from __future__ import annotations

import json
import time
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hpo.storage.load_study import load_study

from .conftest import Hpo

TOYS = Path(__file__).parents[1] / "toys.py"


def origins(runs, name="second"):
    _, study = load_study(runs, name)
    return [trial.user_attrs.get("hpo:origin", {}) for trial in study.get_trials(deepcopy=False)]


def best_of(runs, name="toy"):
    _, study = load_study(runs, name)
    return study.best_trial


def test_a_second_study_begins_from_the_first(hpo: Hpo, finished, runs: Path):
    said = hpo("run", finished, "--new-name", "second", "--set", "warm_start={from: auto, trials: 2}", "--trials", "5")
    assert said.code == 0
    assert "warm start: 2 configurations of 'toy' (trials " in said.out
    found = origins(runs)
    assert [origin.get("source") for origin in found] == ["warm_start", None, "warm_start", None, None]
    best = best_of(runs)
    assert found[0] == {"source": "warm_start", "from": "toy", "number": best.number, "value": best.value, "index": 0}
    second = load_study(runs, "second")[1]
    assert second.trials[0].params == best.params
    # It reports what it has in the first line of the next run no more.
    again = hpo("run", finished, "--new-name", "second", "--set", "warm_start=auto", "--trials", "6")
    assert again.code == 0
    assert "warm start" not in again.out
    assert len(origins(runs)) == 6


def test_what_was_altered_to_fit_is_said(hpo: Hpo, finished, runs: Path):
    keys = ("--new-name", "second", "--set", "warm_start=toy", "--set", "search_space.x={low: 2, high: 4}")
    said = hpo("run", finished, *keys, "--trials", "1")
    assert f"warm start: trial {best_of(runs).number} of 'toy': x " in said.out
    assert " -> 2" in said.out
    assert "left out" in said.out  # the others came to the same bound


def test_an_earlier_study_is_pointed_at_once(hpo: Hpo, finished):
    hint = "searched this space before: 'toy'; --set warm_start=auto starts from the best of it"
    assert hint in hpo("run", finished, "--new-name", "second", "--trials", "1").out
    assert hint not in hpo("run", finished, "--new-name", "second", "--trials", "2").out
    assert hint not in hpo("run", finished, "--trials", "5").out  # itself
    other = ("--set", "metrics=[{name: other, direction: maximize}]")
    assert "searched this space" not in hpo("run", finished, "--new-name", "third", "--trials", "1", *other).out


FROM_NOTHING = "to begin from nothing: --set warm_start=false"


def test_without_the_key_a_study_begins_from_earlier_ones_and_says_so_in_one_line(hpo: Hpo, finished, runs: Path):
    best = best_of(runs).number
    line = f"warm start: 1 configuration of 'toy' (trial {best}); {FROM_NOTHING}"
    keys = ("--set", "name=second", "--set", "sampler=kernel")
    checked = hpo("check", finished, *keys)
    assert line in checked.out
    assert "up to 1 configuration of earlier studies" in checked.out  # a twentieth of the trials, at least one
    said = hpo("run", finished, *keys, "--trials", "3")
    assert [text for text in said.out.splitlines() if "warm start" in text] == [line]
    assert [one.get("from") for one in origins(runs)] == ["toy", None, None]
    narrow = ("--set", "name=third", "--set", "sampler=kernel", "--set", "search_space.x={low: 2, high: 4}")
    assert f"(trial {best}), 1 of them altered to fit; " in hpo("check", finished, *narrow).out


@pytest.mark.parametrize("sampler", ["grid", "random", "qmc"])
def test_a_sampler_that_does_not_choose_by_results_begins_from_nothing(hpo: Hpo, finished, runs: Path, sampler):
    keys = ("--set", "name=second", "--set", f"sampler={sampler}", "--set", "search_space.x={choices: [0.5, 1.0]}")
    said = hpo("run", finished, *keys, "--trials", "2")
    assert (said.code, "warm start" in said.out) == (0, False)
    assert [one.get("from") for one in origins(runs)] == [None, None]


@pytest.mark.parametrize("written", ["false", "off", "none"])
def test_written_off_it_is_off_and_said_no_more(hpo: Hpo, finished, runs: Path, written):
    keys = ("--set", "name=second", "--set", "sampler=kernel", "--set", f"warm_start={written}")
    said = hpo("run", finished, *keys, "--trials", "2")
    assert "'toy'" not in said.out
    assert [one.get("from") for one in origins(runs)] == [None, None]
    stored, _ = load_study(runs, "second")
    assert stored.warm_start is None


@pytest.mark.slow
def test_a_study_that_began_from_nothing_takes_nothing_later(hpo: Hpo, finished, study_yaml, runs: Path):
    """As one of an older hpo, which took nothing without the key."""
    keys = ("--new-name", "second", "--set", "sampler=kernel")
    hpo("run", finished, *keys, "--trials", "1", "--set", "warm_start=false")
    for command in (("check", finished, "--set", "name=second", "--set", "sampler=kernel"), ("run", finished, *keys)):
        assert "warm start" not in hpo(*command).out
    assert [one.get("from") for one in origins(runs)] == [None] * 4
    # What was begun goes on.
    hpo("run", finished, "--new-name", "third", "--set", "sampler=kernel", "--trials", "1")
    assert "warm start" in hpo("check", finished, "--set", "name=third", "--set", "sampler=kernel").out


def test_the_same_constants_come_first_and_few_trials_have_no_best(hpo: Hpo, finished, runs: Path):
    other = ("--set", "constants={data: other}", "--set", "warm_start=false")
    hpo("run", finished, "--new-name", "elsewhere", "--trials", "8", *other)
    hpo("run", finished, "--new-name", "tiny", "--trials", "3", "--set", "warm_start=false", "--set", "seed=9")
    said = hpo("check", finished, "--set", "name=second", "--set", "sampler=kernel", "--trials", "60").out
    line = next(text for text in said.splitlines() if text.startswith("warm start: "))
    assert line.startswith(f"warm start: 2 configurations of 'toy' (trial {best_of(runs).number}), 'elsewhere' (trial ")
    assert "; other constants); to begin" in line
    assert "tiny" not in line


def test_compare_says_that_one_began_with_the_best_of_the_other(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "second", "--set", "sampler=kernel", "--set", "seed=3")
    warning = "Warning: second began with the best configurations of toy: they are not two independent searches"
    said = hpo("compare", "toy", "second")
    assert warning in said.out
    assert (runs / "toy" / "comparison-with-second.md").read_text().count(warning) == 2
    hpo("run", finished, "--new-name", "third", "--set", "sampler=kernel", "--set", "warm_start=false")
    assert "third began" not in hpo("compare", "toy", "third").out
    assert "second began with the best configurations of toy, which cost it nothing" in hpo(
        "compare", "third", "second").out  # fmt: skip


def test_check_says_what_would_be_taken_and_makes_nothing(hpo: Hpo, finished, study_yaml, tmp_path: Path):
    said = hpo("check", finished, "--set", "name=second", "--set", "warm_start=auto")
    assert "first      up to 2 configurations of earlier studies, alternating with the sampler's own" in said.out
    assert "warm start: " in said.out
    said = hpo("check", finished, "--set", "warm_start=auto", "--runs", tmp_path / "empty")
    assert "warm start: no earlier study has a configuration for this one" in said.out
    assert not (tmp_path / "empty").exists()
    document = json.loads(hpo("check", finished, "--set", "name=second", "--set", "warm_start=auto", "--json").out)
    assert document["warm_start"][0].startswith("warm start: ")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("tov", "warm_start: there is no study 'tov' in {runs} nor in its storage; there are toy. Did you mean 'toy'?"),
        ("second", "warm_start: 'second' is this study itself; expected an earlier one"),
        (
            "[]",
            "warm_start: [] does not name earlier studies; expected auto, the name or folder of a study, a knowledge",
        ),
        ("7", "warm_start: 7 does not name earlier studies"),
        ("{from: toy, guards: 3}", "is not a key of warm_start; expected from, trials, guard. Did you mean 'guard'?"),
        ("{from: toy, trials: 0}", "warm_start.trials: 0 is out of range; expected at least 1"),
        ("none.json", "none.json cannot be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_is_wrong_with_it_is_said(hpo: Hpo, finished, runs: Path, command, written, said):
    found = hpo(command, finished, "--set", "name=second", "--set", f"warm_start={written}")
    assert found.code in (1, 2)
    assert said.format(runs=runs) in found.err
    assert "Traceback" not in found.err


def test_another_metric_and_a_grid_are_refused(hpo: Hpo, finished):
    other = ("--set", "name=second", "--set", "warm_start=toy")
    said = hpo("check", finished, *other, "--set", "metrics=[{name: score, direction: minimize}]")
    assert "'toy' was after another metric (maximize score); expected minimize score" in said.err
    said = hpo("check", finished, *other, "--set", "sampler=grid", "--set", "search_space.x={choices: [0.5, 1.0]}")
    assert "warm_start: has nothing to add to the sampler grid" in said.err


def test_false_is_no_warm_start(hpo: Hpo, finished):
    assert "warm start" not in hpo("check", finished, "--set", "name=second", "--set", "warm_start=false").out


@pytest.mark.slow
def test_auto_passes_over_studies_that_do_not_fit(hpo: Hpo, finished, study_yaml, runs: Path):
    keys = {"name": "wide", "search_space": {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}}
    # Half of today's parameters are enough, a third of them is not.
    said = hpo("run", study_yaml(**keys, warm_start="auto"), "--trials", "1")
    assert "configurations of 'toy'" in said.out
    keys["search_space"]["z"] = {"low": 0.0, "high": 1.0}
    said = hpo("run", study_yaml(**keys | {"name": "wider"}, warm_start="auto"), "--trials", "1")
    assert "warm start: 1 configuration of 'wide' (trial 0)\n" in said.out
    said = hpo("run", study_yaml("slow", name="slow", warm_start="auto"), "--trials", "1")
    assert "warm start: no earlier study has a configuration for this one" in said.out


def test_knowledge_goes_from_one_folder_to_another(hpo: Hpo, finished, runs: Path, tmp_path: Path):
    file, there = tmp_path / "k.json", tmp_path / "there"
    said = hpo("export-knowledge", "-o", file, "--trials", "3")
    assert (said.code, said.out) == (0, "")
    assert "3 configurations of toy" in said.err
    text = file.read_text()
    assert str(tmp_path) not in text
    assert len(text) < 2000
    assert hpo("export-knowledge", "toy", "--trials", "3").out == text
    assert hpo("import-knowledge", file, "--runs", there).out == "toy: 3 configurations\n"
    assert hpo("import-knowledge", file, "--runs", there).out == "toy: 3 configurations, which were there already\n"
    # Of the same name elsewhere: it is not itself.
    said = hpo("run", finished, "--runs", there, "--set", "warm_start=auto", "--trials", "1")
    best = best_of(runs)
    assert f"of 'toy' (trials {best.number}, " in said.out
    assert origins(there, "toy")[0]["value"] == best.value
    # But where it came from, it is.
    hpo("import-knowledge", file)
    said = hpo("check", finished, "--set", "warm_start=auto")
    assert "no earlier study has a configuration" in said.out
    said = hpo("check", finished, "--set", "name=other", "--set", f"warm_start={file}", "--runs", tmp_path / "empty")
    assert f"of 'toy' (trials {best.number}, " in said.out


def test_parameters_whose_values_are_paths_stay_here(hpo: Hpo, study_yaml, tmp_path: Path):
    choices = {"root": {"choices": ["/data/a", "/data/b"]}, "net": {"choices": ["a/b", "c"]}}
    constants = {"data_root": str(tmp_path), "token": "secret"}
    path = study_yaml(search_space={"x": {"low": 0.0, "high": 1.0}, **choices}, constants=constants)
    assert hpo("run", path, "--quiet").code == 0
    said = hpo("export-knowledge")
    assert "toy: left out root, whose values are paths of this machine" in said.err
    (study,) = json.loads(said.out)["studies"]
    assert set(study["search_space"]) == {"x", "net"}
    assert all(set(one["params"]) == {"x", "net"} for one in study["best"])
    assert not [word for word in ("/data", "secret", str(tmp_path)) if word in said.out]


def test_a_study_without_a_complete_trial_has_nothing_to_export(hpo: Hpo, study_yaml):
    assert hpo("export-knowledge").code == 2
    hpo("run", study_yaml("gives_up"), "--quiet")
    said = hpo("export-knowledge")
    assert (said.code, said.out) == (1, "")
    assert "no trial of toy has completed, so there is nothing to export" in said.err
    assert hpo("export-knowledge", "toyy").code == 2


@pytest.mark.parametrize("text", ["", "{", '{"format": "hpo-knowledge", "version": 9, "studies": []}', "[[["])
def test_a_file_that_is_none_is_refused(hpo: Hpo, tmp_path: Path, runs: Path, text):
    file = tmp_path / "k.json"
    file.write_text(text)
    said = hpo("import-knowledge", file)
    assert said.code == 1
    assert said.err.startswith(f"hpo: {file}")
    assert not runs.exists()
    assert hpo("import-knowledge", tmp_path / "none.json").code == 1


def test_a_storage_of_a_hundred_studies_is_looked_through_fast(hpo: Hpo, finished, runs: Path):
    """Only the trials of those that fit are read."""
    storage = JournalStorage(JournalFileBackend(str(runs / "journal.log")))
    for number in range(100):
        study = optuna.create_study(study_name=f"other-{number}", storage=storage)
        study.set_user_attr("hpo:identity", {"objective": "a:b", "metrics": [], "search_space": {"q": 1}})
    began = time.process_time()
    said = hpo("check", finished, "--set", "name=second", "--set", "warm_start=auto")
    assert "'toy'" in said.out
    assert time.process_time() - began < 15


def test_best_of_a_study_begins_from_nothing(hpo: Hpo, finished):
    hpo("run", finished, "--new-name", "second", "--set", "warm_start=auto", "--trials", "2", "--quiet")
    assert "warm_start" not in yaml.safe_load(hpo("best", "second").out)
