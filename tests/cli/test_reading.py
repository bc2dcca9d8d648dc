"""status, list, report, best: what they say of studies that ran, run, or were left behind."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from optuna_dashboard import get_note
from waiting import wait_until

from hpo.analysis import study_status
from hpo.cluster.jobs import Job, record_job
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage, storage_url

from .conftest import Hpo, environment


def test_status_of_a_finished_study(hpo: Hpo, finished, runs: Path):
    said = hpo("status")
    assert said.code == 0
    assert f"study      toy ({runs / 'toy'})" in said.out
    assert "driver     none" in said.out
    assert "finished   4 of 4 trials: 4 complete, 0 pruned, 0 failed" in said.out
    assert "best       score -" in said.out
    assert hpo("status", "toy").out == hpo("status", finished).out == said.out


def test_status_as_json(hpo: Hpo, finished):
    data = json.loads(hpo("status", "toy", "--json").out)
    assert data["study"] == "toy"
    assert data["driver"] is None
    assert data["budget"] == {"trials": 4, "hours": None, "gpu_hours": None, "by": None}
    assert data["finished"] == data["complete"] == 4
    assert data["running"] == []
    assert data["causes"] == {}
    assert data["seconds"] > 0
    assert data["best"]["values"]["score"] == -((data["best"]["params"]["x"] - 0.3) ** 2)


def test_status_counts_what_ended_trials(hpo: Hpo, study_yaml):
    hpo("run", study_yaml("raising", budget={"trials": 6}), "-q")
    data = json.loads(hpo("status", "--json").out)
    assert data["causes"] == {"exception": data["failed"]}
    assert data["failed"] + data["complete"] == 6
    assert f"ended by   exception {data['failed']}" in hpo("status").out


def test_red_flags_are_seen_everywhere(hpo: Hpo, study_yaml, runs: Path):
    """`smooth` reports x as `other`: a rule stops the trials whose x is above 0.6, and no other."""
    rules = [
        {"name": "far", "when": "other > 0.6", "from_epoch": 2},
        {"name": "low", "when": "score < -0.9", "action": "warn"},  # that of step 0 is, always
    ]
    said = hpo("run", study_yaml(red_flags=rules, budget={"trials": 20}), "-q")
    assert said.code == 0, said.err
    _, stored = load_study(runs, "toy")
    far = [trial.number for trial in stored.trials if trial.params["x"] > 0.6]
    p = 11 / math.comb(20, len(far))  # five bins make eleven regions; the best case of the test
    assert 0.0005 < p < 0.05
    place = f"far: {len(far)} of {len(far)} trials with x ≥ 0.6, against 0 of {20 - len(far)} elsewhere (p = {p:.3f})."
    text = hpo("status").out
    assert f"ended by   red flag far {len(far)}\n" in text
    assert "warned of  low 20\n" in text
    assert f"where      {place}\n" in text
    data = json.loads(hpo("status", "--json").out)
    assert data["causes"] == {"red flag far": len(far)}
    assert data["warnings"] == {"low": 20}
    assert data["red_flags_where"] == [place]
    assert place in (runs / "toy" / "report.md").read_text().replace("&lt;", "<")
    told = json.loads((runs / "toy" / "report.json").read_text())
    assert [(one["flag"], one["stopped"], len(one["warned"])) for one in told["red_flags"]] == [
        ("far", far, 0), ("low", [], 20),
    ]  # fmt: skip
    # Ten epochs were planned; each stop came in the third.
    assert told["red_flags"][0]["saved"] == 7 * len(far)
    assert "far: " in get_note(stored)


def test_the_report_says_how_an_earlier_study_helped(hpo: Hpo, finished, study_yaml, runs: Path):
    best = json.loads(hpo("status", "toy", "--json").out)["best"]
    said = hpo("run", study_yaml(name="second", warm_start="toy", budget={"trials": 8}), "-q")
    assert said.code == 0, said.err
    told = json.loads((runs / "second" / "report.json").read_text())["warm_start"]
    assert told["studies"] == ["toy"]
    assert told["trusted"]
    first = told["trials"][0]
    assert first["origin"] == {"study": "toy", "number": best["trial"], "value": best["values"]["score"]}
    assert first["value"] == first["origin"]["value"]  # `smooth` gives the same x the same value
    assert "## Warm start" in (runs / "second" / "report.md").read_text()


def test_status_while_a_driver_runs_and_after_it_was_killed(hpo: Hpo, study_yaml, runs: Path):
    path = study_yaml("slow", constants={"seconds": 0.05, "steps": 200})
    command = [sys.executable, "-m", "hpo", "run", str(path), "-q"]
    driver = subprocess.Popen(command, env=environment())
    wait_until(lambda: list(runs.glob("toy/trials/0/trained.txt")))
    wait_until(lambda: json.loads(hpo("status", "--json").out)["running"][0]["step"] is not None)
    data = json.loads(hpo("status", "--json").out)
    assert data["driver"]["pid"] == driver.pid
    assert data["seconds"] > 0
    (trial,) = data["running"]
    assert trial["trial"] == 0
    assert trial["step"] >= 0
    assert "score" in trial["metrics"]
    assert f"driver     process {driver.pid} on " in hpo("status").out
    assert hpo("list").out.count(f"process {driver.pid}") == 1

    locked = hpo("run", path)
    assert locked.code == 3
    assert f"process {driver.pid}" in locked.err
    refused = hpo("delete", "toy", "--yes")
    assert refused.code == 3
    assert (runs / "toy/study.yaml").exists()

    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    said = hpo("status").out
    assert "driver     none" in said
    assert "left running by a driver that died; `hpo run` puts them back in the queue" in said


def test_status_and_best_need_no_objective(hpo: Hpo, tmp_path: Path, study_yaml):
    """The study may have run elsewhere, or its code have moved since."""
    objective = tmp_path / "gone.py"
    objective.write_text("def train(trial):\n    return {'score': trial.params['x']}\n")
    assert hpo("run", study_yaml(), "--set", f"objective={objective}:train", "-q").code == 0
    objective.unlink()
    assert hpo("status").code == 0
    assert hpo("list").code == 0
    assert hpo("report").code == 0


def test_without_any_study_status_says_how_to_start_one(hpo: Hpo, runs: Path):
    said = hpo("status")
    assert said.code == 2
    assert said.err.startswith(f"hpo: there is no study in {runs}. hpo run STUDY.yaml starts one;")


def test_an_unknown_study_is_answered_with_the_nearest(hpo: Hpo, finished, runs: Path):
    said = hpo("best", "tyo")
    assert said.code == 2
    assert f"there is no study 'tyo' in {runs}. Did you mean 'toy'?" in said.err


@pytest.mark.parametrize("command", ["status", "best", "report"])
def test_a_study_whose_study_yaml_is_gone_is_no_study_that_never_was(hpo: Hpo, finished, runs: Path, command):
    (runs / "toy" / "jobs").mkdir()
    record_job(runs / "toy", Job("slurm", "17", 1000.0, "/x.sh"))
    (runs / "toy" / "study.yaml").unlink()
    said = hpo(command, "toy")
    assert said.code == 2
    assert f"{runs / 'toy' / 'study.yaml'} is gone" in said.err
    hpo("run", finished, "-q")
    assert hpo(command, "toy").code == 0


def test_trials_are_listed_the_best_first_and_sorted_by_any_column(hpo: Hpo, finished):
    rows = json.loads(hpo("trials", "--json").out)
    best = [row["trial"] for row in sorted(rows, key=lambda row: -row["values_score"])]
    by_x = [row["trial"] for row in sorted(rows, key=lambda row: row["params_x"])]
    said = hpo("trials", "toy")
    head, *lines = said.out.splitlines()
    assert (said.code, said.err) == (0, "")
    assert head.split() == ["trial", "state", "score", "epochs", "time", "parameters"]
    assert [int(line.split()[0]) for line in lines] == best
    for key, order in (("x", by_x), ("trial", [0, 1, 2, 3]), ("params_x", by_x), ("seed", None), ("time", None)):
        said = hpo("trials", "toy", "--sort", key, "--csv")
        assert said.code == 0
        table = list(csv.DictReader(io.StringIO(said.out)))
        assert order is None or [int(row["trial"]) for row in table] == order
        assert {int(row["trial"]): float(row["params_x"]) for row in table} == {
            row["trial"]: row["params_x"] for row in rows
        }


def test_a_key_that_no_trial_has_is_answered_with_the_nearest(hpo: Hpo, finished):
    said = hpo("trials", "toy", "--sort", "scor")
    assert said.code == 2
    assert "trials of 'toy' have no 'scor'. Did you mean 'score'?" in said.err
    assert "Expected score, trial, group, state" in hpo("trials", "--sort", "zzz").err


def test_trials_that_did_not_complete_are_listed_with_why(hpo: Hpo, study_yaml):
    hpo("run", study_yaml("raising"), "-q")
    said = hpo("trials")
    assert len(said.out.splitlines()) == 4
    assert said.err == "1 more trial; --all shows all\n"
    assert re.search(r"^ +1  FAIL .* exception; x 0", hpo("trials", "--all").out, re.M)


def test_list_has_a_line_a_study_the_last_driven_first(hpo: Hpo, finished):
    hpo("run", finished, "--new-name", "other", "--trials", 2, "-q")
    os.utime("runs/toy/study.yaml", (1, 1))
    head, *rows = hpo("list").out.splitlines()
    assert head.split()[:3] == ["study", "finished", "complete"]
    assert [row.split()[:2] for row in rows] == [["other", "2/2"], ["toy", "4/4"]]
    data = json.loads(hpo("list", "--json").out)
    assert [(row["study"], row["complete"], row["metric"]) for row in data] == [
        ("other", 2, "score"),
        ("toy", 4, "score"),
    ]


def test_list_without_a_study(hpo: Hpo):
    said = hpo("list")
    assert (said.code, said.out) == (0, "")
    assert "there is no study in" in said.err
    assert json.loads(hpo("list", "--json").out) == []


def test_a_study_that_cannot_be_read_hides_no_other(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "broken", "--trials", 1, "-q")
    hpo("run", finished, "--new-name", "forgotten", "--trials", 1, "-q")
    (runs / "broken/study.yaml").write_text("name: [")
    optuna.delete_study(study_name="forgotten", storage=load_study(runs, "forgotten")[1]._storage)
    said = hpo("list")
    assert said.code == 0
    assert "toy " in said.out
    assert "hpo: broken: " in said.err
    assert "hpo: forgotten: it is no longer in its storage" in said.err
    rows = {row["study"]: row for row in json.loads(hpo("list", "--json").out)}
    assert "error" in rows["broken"]
    assert rows["toy"]["finished"] == 4


def test_report_is_written_again(hpo: Hpo, finished, runs: Path):
    (runs / "toy/report.html").unlink()
    said = hpo("report")
    assert said.code == 0
    assert said.out.split() == [str(runs / f"toy/report.{suffix}") for suffix in ("html", "md", "json")]
    assert (runs / "toy/report.html").exists()
    data = json.loads(hpo("report", "toy", "--json").out)
    files = {name: f"{runs}/toy/report.{suffix}" for name, suffix in (("html",) * 2, ("markdown", "md"), ("json",) * 2)}
    assert data == {"study": "toy", "language": "en", **files, "images": []}


def test_report_in_chinese_lies_beside_the_english_one(hpo: Hpo, finished, runs: Path, monkeypatch):
    said = hpo("report", "--lang", "zh-tw")
    assert said.code == 0
    assert (runs / "toy/report.zh-TW.html").read_text().count('<html lang="zh-TW">') == 1
    assert '<html lang="en">' in (runs / "toy/report.html").read_text()
    monkeypatch.setenv("HPO_LANG", "zh-TW")
    assert json.loads(hpo("report", "--json").out)["markdown"] == f"{runs}/toy/report.zh-TW.md"
    said = hpo("report", "--lang", "zh-CN")
    assert said.code == 2
    assert "--lang is 'zh-CN'" in said.err
    assert "did you mean zh-TW?" in said.err


def test_best_of_a_given_trial_and_as_json(hpo: Hpo, finished):
    text = hpo("best", "--trial", 2).out
    assert hpo("best", "toy", 2).out == text
    assert "trial 2 and --trial 3 are two trials" in hpo("best", "toy", 2, "--trial", 3).err
    assert text.startswith("# Trial 2 of study 'toy', COMPLETE: score -")
    data = json.loads(hpo("best", "--trial", 2, "--json").out)
    assert data["trial"] == 2
    assert data["spec"]["search_space"] == data["params"] == yaml.safe_load(text)["search_space"]
    said = hpo("best", "--trial", 9)
    assert said.code == 2
    assert "study 'toy' has no trial 9; it has trials 0 to 3" in said.err


def test_best_of_a_study_in_which_nothing_completed(hpo: Hpo, study_yaml):
    hpo("run", study_yaml("gives_up", budget={"trials": 1}), "-q")
    said = hpo("best")
    assert said.code == 1
    assert "no trial of study 'toy' has completed" in said.err
    assert said.out == ""
    assert hpo("best", "--trial", 0).code == 0


# --- of very many trials


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The history files that are read."""
    found: list[Path] = []
    rows = history.rows
    monkeypatch.setattr(history, "rows", lambda path, owners=None: found.append(path) or rows(path, owners))
    return found


def add_trials(runs: Path, n: int) -> None:
    spec, _ = load_study(runs, "toy")
    study = optuna.load_study(study_name="toy", storage=open_storage(storage_url(spec, runs)))
    x = optuna.distributions.FloatDistribution(0.0, 1.0)
    study.add_trials(
        optuna.trial.create_trial(params={"x": k / n}, distributions={"x": x}, value=-1.0 - k) for k in range(n)
    )


def test_a_command_reads_the_histories_that_it_shows(hpo: Hpo, finished, runs: Path, read: list[Path]):
    add_trials(runs, 40)
    read.clear()
    for command in ("list", "best", "status"):
        assert hpo(command).code == 0
        assert read == [], command
    said = hpo("trials")
    assert len(said.out.splitlines()) == 21
    assert said.err == "24 more trials; --all shows all\n"
    assert len(read) == 20
    read.clear()
    assert len(hpo("trials", "--sort", "time").out.splitlines()) == 21
    assert len(read) == 20
    read.clear()
    assert len(json.loads(hpo("trials", "--json").out)) == len(read) == 44


def test_of_a_large_study_a_part_is_asked_for_a_name_that_no_trial_reported(
    hpo: Hpo, study_yaml, runs: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
):
    hpo("run", study_yaml(red_flags=[{"name": "typo", "when": "scores > 1"}]), "-q")
    assert "no trial reported 'scores'" in hpo("status").out
    add_trials(runs, 40)
    monkeypatch.setattr(study_status, "MOST_ASKED", 15)
    read.clear()
    said = hpo("status").out
    assert len(read) == 15
    assert re.search(r"no trial reported 'scores'.*\(15 of 44 trials were looked at\)$", said, re.M)
