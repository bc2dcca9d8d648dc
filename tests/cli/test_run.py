from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from waiting import wait_until

from hpo.analysis.records import read_study

from .conftest import Hpo, environment


def test_a_run_says_what_it_will_do_what_happens_and_where_everything_is(hpo: Hpo, study_yaml, tmp_path: Path):
    path = study_yaml()
    said = hpo("run", path)
    assert said.code == 0
    assert said.err == ""
    head, lines, summary, ending = said.out.split("\n\n")[0], *_parts(said.out)
    assert f"study      toy ({path})" in head
    assert "metrics    maximize score" in head
    assert "budget     4 trials" in head
    assert f"where      {tmp_path / 'runs' / 'toy'}" in head
    assert [line.split("]")[0] for line in lines] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert all(re.search(r"trial \d COMPLETE score -\S+ \(best -\S+, trial \d\) \S+ s", line) for line in lines)
    assert all("left" in line for line in lines[:-1])
    assert "left" not in lines[-1]
    assert summary.startswith("4 of 4 trials finished: 4 complete, in ")
    assert re.search(r"^best +score -\S+, trial \d: x 0\.\d+$", ending, re.M)
    for shown in (tmp_path / "runs/toy/report.html", tmp_path / "runs/toy/report.md", tmp_path / "runs/toy"):
        assert str(shown) in ending
        assert shown.exists()
    assert "hpo dashboard toy" in ending
    assert f"optuna-dashboard {tmp_path}/runs/journal.log" in ending
    assert re.search(r"^found +\w.+\n +\w.+\n +Next, .+: hpo extend toy --trials \+20$", ending, re.M)
    assert "hpo best toy > toy-best.yaml && hpo run toy-best.yaml" in ending


def _parts(out: str) -> tuple[list[str], str, str]:
    first, summary, ending = out.strip().split("\n\n")
    return [line for line in first.splitlines() if line.startswith("[")], summary, ending


def test_the_shell_overrides_the_yaml(hpo: Hpo, study_yaml, runs: Path):
    said = hpo("run", study_yaml("slow"), "--set", "constants.steps=2", "--trials", 2, "--new-name", "2024", "-q")
    assert said.code == 0
    assert said.out.startswith("2 of 2 trials finished: ")
    # Two steps of it end far from what it returns.
    assert all("returned score = " in line for line in said.err.splitlines())
    study = read_study(runs, "2024")
    assert [len(trial.history) for trial in study.trials] == [2, 2]


def test_json_is_all_of_stdout(hpo: Hpo, study_yaml, runs: Path):
    said = hpo("run", study_yaml(), "--json")
    result = json.loads(said.out)
    assert said.code == result["exit_code"] == 0
    assert result["study"] == "toy"
    assert result["done"] is True
    assert result["progress"]["finished"] == result["progress"]["complete"] == 4
    assert {Path(report).name for report in result["reports"]} == {"report.html", "report.md", "report.json"}
    assert result["storage"] == f"journal:{runs / 'journal.log'}"
    assert "[4/4]" in said.err


def test_the_runs_folder_is_the_given_one_then_the_environments(hpo: Hpo, study_yaml, tmp_path: Path, monkeypatch):
    path = study_yaml()
    said = hpo("run", path, "--runs", "given", "--trials", 1)
    assert (tmp_path / "given/toy/report.html").exists()
    assert f"hpo dashboard toy --runs {tmp_path / 'given'}" in said.out
    assert f"hpo run toy-best.yaml --runs {tmp_path / 'given'}" in said.out
    monkeypatch.setenv("HPO_RUNS", str(tmp_path / "set"))
    hpo("run", path, "--trials", 1)
    assert (tmp_path / "set/toy/report.html").exists()
    assert not (tmp_path / "runs").exists()


def test_a_space_that_was_tried_has_nothing_left_to_run_whatever_the_budget(hpo: Hpo, study_yaml, runs: Path):
    path = study_yaml(search_space={"x": {"choices": [0.25, 0.5, 0.75]}}, sampler=None, budget={"trials": 9})
    said = hpo("run", path)
    assert "auto: grid, for the space has 3 configurations and the budget 9 trials; each is tried once" in said.out
    assert "[3/3]" in said.out
    assert "each of the 3 configurations was tried once: the study ends" in said.out
    assert "3 of 3 trials finished: 3 complete, in" in said.out
    said = hpo("run", path)
    assert said.code == 0
    assert "3 of 3 trials finished: 3 complete\nnothing was left to run\n" in said.out
    assert json.loads((runs / "toy/report.json").read_text())["setup"]["sampler"] == {
        "name": "auto",
        "options": {},
        "proposed": ["grid"],
    }
    assert "- Sampler: auto: grid" in (runs / "toy/report.md").read_text()
    assert "auto: grid, for the space has 3 configurations" in hpo("check", path).out


def test_a_finished_study_has_nothing_left_to_run_until_its_budget_is_raised(hpo: Hpo, finished, runs: Path):
    said = hpo("run", finished)
    assert said.code == 0
    assert "4 of 4 trials finished: 4 complete\nnothing was left to run; `--trials 8` would go on" in said.out
    assert "6 of 6 trials finished" in hpo("run", finished, "--trials", 6).out
    assert len(read_study(runs, "toy").trials) == 6


def test_when_all_trials_fail_the_first_error_is_named(hpo: Hpo, study_yaml, runs: Path):
    path = study_yaml("raising", search_space={"x": {"low": 0.6, "high": 1.0}}, budget={"trials": 9, "failures": 2})
    said = hpo("run", path)
    assert said.code == 1
    assert "the first 2 trials all failed (budget.failures = 2)" in said.err
    assert "The first error, trial 0: " in said.err
    assert "the labels are all zero" in said.err
    error = runs / "toy/trials/0/error.txt"
    assert f"its traceback: {error}" in said.err
    assert "ValueError: the labels are all zero" in error.read_text()
    assert "Traceback" not in said.err
    (line,) = [line for line in said.out.splitlines() if line.startswith("[1/9]")]
    assert line.startswith("[1/9] trial 0 FAIL ValueError: the labels are all zero")
    assert f"({error}) (none complete yet)" in line
    assert (
        "when the cause is fixed, the same command goes on; with --retry-failed it tries what failed again" in said.err
    )
    again = hpo("run", path, "-q")
    assert again.code == 1
    assert "the first 2 trials of this run all failed (budget.failures = 2)" in again.err
    assert len(read_study(runs, "toy").trials) == 4


OBJECTIVE = """
def train(trial):
    for epoch in range(1, 4):
        trial.report(epoch, {name}=trial.params["x"] * epoch)
    {bug}
    return {{"score": {sign}trial.params["x"]}}
"""


def _objective(folder: Path, bug: str = "", name: str = "score", sign: str = "") -> str:
    (folder / "train.py").write_text(OBJECTIVE.format(bug=bug, name=name, sign=sign))
    return "train.py:train"


def test_after_a_bug_is_fixed_what_failed_is_tried_again(hpo: Hpo, study_yaml, tmp_path: Path, runs: Path):
    keys = {"enqueue": [{"x": 0.25}, {"x": 0.5}], "budget": {"trials": 3, "failures": 3}}
    path = _write(study_yaml(**keys), objective=_objective(tmp_path, "raise KeyError(1)"))
    assert hpo("run", path).code == 1
    _objective(tmp_path)
    said = hpo("run", path, "--retry-failed")
    assert said.code == 0
    assert "train.py has changed since trial 2." in said.out
    assert "tries 3 configurations of failed trials again" in said.out
    trials = read_study(runs, "toy").trials
    assert [trial.state for trial in trials] == ["FAIL"] * 3 + ["COMPLETE"] * 3
    assert [trial.params for trial in trials[3:]] == [trial.params for trial in trials[:3]]
    assert [trial.params["x"] for trial in trials[3:5]] == [0.25, 0.5]
    assert "no failed trial is left to try again" in hpo("run", path, "--retry-failed").out
    assert len(read_study(runs, "toy").trials) == 6


def _write(path: Path, **keys: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))
    return path


def test_a_study_of_which_nothing_completed_goes_on_with_a_corrected_path(hpo: Hpo, study_yaml, tmp_path, runs: Path):
    bug = "__import__('pathlib').Path(trial.constants['data']).read_text()"
    keys = {"constants": {"data": "gone.csv"}, "engine": {"name": "inline"}}
    path = _write(study_yaml(**keys), objective=_objective(tmp_path, bug))
    assert hpo("run", path).code == 1
    (tmp_path / "there.csv").write_text("1")
    said = hpo("run", path, "--set", f"constants.data={tmp_path / 'there.csv'}")
    assert said.code == 0
    assert "study 'toy' has changed (constants.data was gone.csv, is " in said.out
    assert "none of its 4 trials has completed: it begins anew" in said.out
    study = read_study(runs, "toy")
    assert [trial.state for trial in study.trials] == ["COMPLETE"] * 4
    [kept] = (runs / "toy" / "lost+found").glob("study-*/trials")
    assert sorted(path.name for path in kept.iterdir()) == ["0", "1", "2", "3"]
    assert hpo("run", path, "--set", "constants.data=other.csv").code == 2
    assert hpo("doctor").code == 0


def test_warnings_are_said_at_the_first_trial_at_the_end_in_the_report_and_by_status(
    hpo: Hpo, study_yaml, tmp_path: Path, runs: Path
):
    space = {"x": {"low": 0.1, "high": 1.0}, "dropout": {"low": 0.0, "high": 0.5}}
    keys = {"search_space": space, "pruner": {"name": "median"}, "engine": {"name": "inline"}}
    path = _write(study_yaml(**keys), objective=_objective(tmp_path, name="scores"))
    said = hpo("run", path)
    first = "Trial 0 reported scores and never score, by which the pruner goes: it cannot stop such a trial."
    unread = "No trial has read the searched parameter dropout: what is shown of its effect is chance."
    near = "Did you mean 'scores'?"
    assert f"\n{first} {near} (said of the first such trial)\n" in said.out
    assert f"\nwarning: {first} {near} (4 trials)\n" in said.out
    assert said.out.count(unread) == 2
    status, report = hpo("status").out, (runs / "toy/report.md").read_text()
    for text in (first, unread):
        assert text in status
        assert text in report.replace("\n", " ")
    assert len(json.loads((runs / "toy/report.json").read_text())["notices"]) == 2
    quiet = hpo("run", path, "--new-name", "quiet", "-q")
    assert first in quiet.err


def test_a_study_beside_the_yaml_is_named_where_a_new_one_begins(hpo: Hpo, study_yaml, tmp_path: Path, monkeypatch):
    path = study_yaml()
    hpo("run", path, "--trials", 1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = f"a study 'toy' is in {tmp_path}/runs already, and this one is new, in {tmp_path}/elsewhere/runs"
    plan = hpo("check", path).out
    assert there in plan
    assert re.search(r"^seed +1$", plan, re.M)
    assert there in hpo("run", path, "--trials", 1).out
    assert there not in hpo("run", path, "--trials", 2).out
    assert there not in hpo("run", path, "--trials", 1, "--runs", tmp_path / "third").out


def test_programs_tell_of_lines_without_steps_and_of_parameters_that_they_cannot_read(hpo: Hpo, study_yaml, tmp_path):
    (tmp_path / "program.py").write_text(
        "import json, sys\nfor n in range(3):\n    print(json.dumps({'global_step': n, 'score': float(sys.argv[1])}))\n"
    )
    space = {"x": {"low": 0.1, "high": 1.0}, "dropout": {"low": 0.0, "high": 0.5}}
    said = hpo("run", study_yaml(command=["python", "program.py", "{x}"], search_space=space))
    assert said.code == 0
    assert "printed 3 JSON lines with score and none with a step" in said.out
    assert "They have 'global_step', which is not read as the step." in said.out
    assert "No trial has read the searched parameter dropout" in said.out


def test_quiet_says_how_it_ended_and_what_went_wrong(hpo: Hpo, study_yaml):
    said = hpo("run", study_yaml("nan_at_end"), "-q")
    assert said.code == 1
    assert "[1/4]" not in said.out
    assert "The first error, trial 0: " in said.err
    document = hpo("run", study_yaml("smooth", name="other"), "-q", "--json")
    assert document.err == ""
    assert json.loads(document.out)["progress"]["complete"] == 4


def test_when_all_trials_are_pruned_that_is_a_failure_too(hpo: Hpo, study_yaml):
    said = hpo("run", study_yaml("gives_up", budget={"trials": 3}))
    assert said.code == 1
    assert "All 3 trials were pruned, the first one because no positives in this fold" in said.err


def test_some_failures_are_no_failure_of_the_study(hpo: Hpo, study_yaml):
    said = hpo("run", study_yaml("raising", budget={"trials": 6}))
    assert said.code == 0
    assert re.search(r"6 of 6 trials finished: \d complete, \d failed", said.out)


def test_an_edited_study_is_refused_with_the_difference(hpo: Hpo, finished):
    said = hpo("run", finished, "--set", "search_space.x.high=2.0")
    assert said.code == 2
    assert "search_space.x.high was 1.0, is 2.0" in said.err
    assert "--new-name" in said.err


def test_a_reader_of_the_lines_may_leave_while_the_study_goes_on(study_yaml, runs: Path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "hpo", "run", str(study_yaml())]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    os.close(write)
    assert ended.stderr == ""
    # The header met the closed pipe before the study began.
    assert ended.returncode == 141


def test_an_interrupted_run_exits_with_130_and_says_how_to_go_on(study_yaml, runs: Path, tmp_path: Path):
    gates = tmp_path / "gates"  # no trial ends before the signal
    path = study_yaml("slow", constants={"gates": str(gates)})
    command = [sys.executable, "-m", "hpo", "run", str(path), "--workers", "2"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    wait_until(lambda: len(list(runs.glob("toy/trials/*/trained.txt"))) == 2)
    running.send_signal(signal.SIGINT)
    gates.mkdir()
    for number in range(10):
        (gates / str(number)).touch()
    out, err = running.communicate(timeout=300)
    assert running.returncode == 130
    assert f"give the same command again: hpo run {path} --workers 2" in err
    assert "back in the queue" in out
    assert "Traceback" not in err

    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert ended.returncode == 0
    assert "4 of 4 trials finished: 4 complete, 2 requeued" in ended.stdout


def test_the_best_study_runs(hpo: Hpo, finished, tmp_path: Path, runs: Path):
    said = hpo("best")
    assert said.err == "Not confirmed: `hpo confirm` trains the best ones again with fresh seeds.\n"
    tmp_path.joinpath("best.yaml").write_text(said.out)
    assert hpo("run", "best.yaml", "-q").code == 0
    (alone,) = read_study(runs, "toy-best").trials
    best = max(read_study(runs, "toy").trials, key=lambda trial: trial.values["score"])
    assert alone.params == best.params
    assert alone.values == best.values
    assert yaml.safe_load(said.out)["search_space"] == dict(best.params)


def test_red_flags_are_seen_while_it_runs_and_afterwards(hpo: Hpo, study_yaml):
    flags = [
        {"name": "ill", "when": "val_recall == 0", "from_epoch": 2},
        {"name": "poor", "when": "score < 0.3", "action": "warn"},
        {"name": "misspelt", "when": "val_recal == 0"},
    ]
    path = study_yaml("flagged", budget={"trials": 4}, red_flags=flags, enqueue=[{"x": 0.9}, {"x": 0.2}])
    said = hpo("run", path)
    assert said.code == 0
    assert "trial 0 PRUNED red flag 'ill' at epoch 2: val_recall == 0 (val_recall 0)" in said.out
    assert "trial 1 goes on with a warning: red flag 'poor' at epoch 0: score < 0.3 (score 0.2)" in said.out
    silent = "red flag 'misspelt': no trial reported 'val_recal'; reported are score, val_recall."
    silent += " Did you mean 'val_recall'?"
    assert f"warning: {silent}" in said.out
    status = json.loads(hpo("status", "--json").out)
    assert status["red_flags_silent"] == [silent]
    assert silent in hpo("status").out
    assert "warning: " not in hpo("run", path, "--set", "red_flags=[]").out


def test_a_report_that_cannot_be_written_is_no_success(hpo: Hpo, study_yaml):
    """A page has megabytes: a limit of the size of files stands for a disk that is full by then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        said = hpo("run", study_yaml())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said.code == 1
    assert "the report was not written: " in said.out
    assert "4 of 4 trials finished" in said.err + said.out
    assert hpo("report", "toy").code == 0
    assert hpo("run", study_yaml()).code == 0  # nothing is left to run, and the report is there


def test_check_says_what_run_would_say(hpo: Hpo, finished, tmp_path):
    assert hpo("check", finished).code == 0
    refused = [hpo(command, finished, "--set", "search_space.x.high=2.0") for command in ("check", "run")]
    assert [said.code for said in refused] == [2, 2]
    assert refused[0].err == refused[1].err
    assert "search_space.x.high was 1.0, is 2.0" in refused[0].err
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "mine.txt").touch()
    taken = [hpo(command, finished, "--set", "name=other").err for command in ("check", "run")]
    assert "is not the folder of a study" in taken[0]
    assert taken[0] == taken[1]


def test_check_knows_that_a_study_without_a_result_takes_any_change(hpo: Hpo, study_yaml):
    assert hpo("run", study_yaml("gives_up"), "-q").code != 0
    changed = ("--set", "search_space.x.high=2.0")
    assert hpo("check", study_yaml("gives_up"), *changed).code == 0
    assert "it begins anew" in hpo("run", study_yaml("gives_up"), *changed).out


def test_check_says_what_this_machine_lacks(hpo: Hpo, study_yaml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = hpo("check", study_yaml(), "--set", "engine.gpu=1")
    assert said.code == 0  # it may be meant for another machine
    assert "warning: `hpo run` would refuse it on this machine, without a GPU: engine.gpu is 1, but no" in said.out


def test_the_best_trains_to_its_own_value_again_and_then_with_other_seeds(hpo: Hpo, study_yaml, tmp_path: Path):
    """Random numbers alone decide the score: only the trial's own seed gives it again."""
    hpo("run", study_yaml("random_numbers"), "-q")
    rows = json.loads(hpo("trials", "toy", "--json").out)
    best = tmp_path / "best.yaml"
    best.write_text(hpo("best", "toy").out)
    assert hpo("run", best, "-q").code == 0
    (again,) = json.loads(hpo("trials", "toy-best", "--json").out)
    assert (again["values_score"], again["seed"]) == (rows[0]["values_score"], rows[0]["seed"])
    assert again["values_score"] == max(row["values_score"] for row in rows)
    hpo("run", best, "--trials", "5", "-q")
    more = json.loads(hpo("trials", "toy-best", "--json").out)
    assert len({row["seed"] for row in [*rows, *more]}) == 4 + 4
    assert {row["params_x"] for row in more} == {rows[0]["params_x"]}
    assert "hpo best > best.yaml" in hpo("run", "-").err


def test_the_end_names_the_best_of_each_group_and_its_parameters(hpo: Hpo, study_yaml):
    goal = [{"name": "score", "direction": "maximize", "goal": -9.0}]
    space = {"arch": {"choices": ["a", "b"]}, "x": {"low": 0.0, "high": 1.0}}
    path = study_yaml(search_space=space, group_by="arch", sampler="qmc", metrics=goal)
    out = hpo("run", path).out
    rows = json.loads(hpo("trials", "toy", "--json").out)
    best = [next(row for row in rows if row["params_arch"] == group) for group in {r["params_arch"]: 0 for r in rows}]
    shown = re.search(r"^best +score .*, trial (\d+)\n {11}arch +score  trial  x\n((?: {11}[ab] .*\n)+)", out, re.M)
    assert shown is not None
    assert int(shown[1]) == best[0]["trial"]
    assert [int(n) for n in re.findall(r"-\S+ +(\d+)  0", shown[2])] == [row["trial"] for row in best]
    assert "goal       Goal score ≥ -9: reached by 4 trials (a and b), first by trial 0." in out
    assert "trials     hpo trials toy" in out
    alone = hpo("run", study_yaml(name="alone")).out
    assert re.search(r"^best +score \S+, trial \d: x 0\.\d+$", alone, re.M)
