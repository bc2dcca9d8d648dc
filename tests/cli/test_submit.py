"""`hpo submit`, with stand-ins for the commands of the queues."""

from __future__ import annotations

import json
import os
import socket

import pytest
from queue_commands import Commands

from hpo.cluster.jobs import Job, record_job
from hpo.control.requests import Pause, Steering, write_steering
from hpo.storage.driver_lock import driver_lock

from .conftest import Said


@pytest.fixture
def commands(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_SITE", os.devnull)
    return Commands(tmp_path / "bin", monkeypatch, alone=True)


def jobs(tmp_path):
    return tmp_path / "runs" / "toy" / "jobs"


def test_a_study_is_submitted(hpo, commands, study_yaml, tmp_path):
    commands.add("sbatch", "echo $((16 + n))")
    path = study_yaml(engine={"workers": 4, "cpu": 2})
    said = hpo("submit", path, "--slurm", "--time", "12:00:00", "--set", "constants.a=b c", "--trials", 9)
    assert said.code == 0
    assert said.err == ""
    (script,) = jobs(tmp_path).glob("*.sh")
    assert said.out.splitlines() == [
        "submitted  SLURM job 17 (1 node, 8 CPUs, 12:00:00)",
        f"script     {script}",
        f"log        {script.with_suffix('.log')}",
        "watch      hpo status toy",
        "           hpo logs toy --follow",
        "           squeue -j 17",
        "stop       hpo stop toy",
    ]
    assert commands.calls("sbatch") == [f"--parsable {script}"]
    assert script.stat().st_mode & 0o777 == 0o700
    text = script.read_text()
    runs = tmp_path / "runs"
    assert f"hpo run {path} --runs {runs} --set 'constants.a=b c' --set budget.trials=9)" in text
    (noted,) = [json.loads(line) for line in (jobs(tmp_path) / "jobs.jsonl").read_text().splitlines()]
    assert (noted["queue"], noted["id"], noted["script"]) == ("slurm", "17", str(script))
    assert noted["command"].startswith("hpo submit ")
    # It has not run yet, and is known all the same.
    commands.add("squeue", "echo 17 PENDING")
    status = hpo("status", "toy")
    assert status == Said(
        0, "study      toy has not started yet\nqueue      SLURM job 17: PENDING (1 job submitted)\n", ""
    )


def test_a_second_one_says_for_what_it_waits(hpo, commands, study_yaml, tmp_path):
    commands.add("qsub", "echo $((6 + n)).server")
    path = study_yaml()
    assert hpo("submit", path, "--time", "1h").code == 0
    commands.add("qstat", "echo 'Job Id: 7.server'; echo '    job_state = R'")
    said = json.loads(hpo("submit", path, "--time", "1h", "--json").out)
    assert said["job"] == "8.server"
    assert said["waits_for"] == [{"job": "7.server", "state": "RUNNING"}]
    assert [call.rpartition(" ")[0] for call in commands.calls("qsub")] == ["", "-W depend=afterany:7.server"]
    # What the queue no longer has cannot be waited for.
    commands.add("qstat", "exit 153")
    text = hpo("submit", path, "--time", "1h").out
    assert "waits" not in text
    assert commands.calls("qsub")[2].startswith("/")
    assert len(list(jobs(tmp_path).glob("*.sh"))) == 3


def test_a_dry_run_prints_the_script_alone_and_changes_nothing(hpo, commands, study_yaml, tmp_path):
    said = hpo("submit", study_yaml(), "--slurm", "--time", "1h", "--dry-run")
    assert said.code == 0
    assert said.out.startswith("#!/bin/bash\n")
    assert said.out.endswith('exit "$code"\n')
    assert said.err == ""
    assert not (tmp_path / "runs").exists()


def test_a_study_that_is_wrong_is_not_submitted(hpo, commands, study_yaml, tmp_path):
    commands.add("sbatch", "echo 17")
    said = hpo("submit", study_yaml(), "--slurm", "--time", "1h", "--set", "engine.wrokers=2")
    assert said.code == 2
    assert "Did you mean 'workers'?" in said.err
    assert commands.calls("sbatch") == []
    assert not (tmp_path / "runs").exists()


def test_a_changed_study_is_not_submitted(hpo, commands, finished, study_yaml):
    commands.add("sbatch", "echo 17")
    study_yaml(search_space={"x": {"low": 0.0, "high": 2.0}})
    said = hpo("submit", finished, "--slurm", "--time", "1h")
    assert said.code == 2
    assert "search_space.x.high was 1.0, is 2.0" in said.err
    assert "--set name=toy-2" in said.err
    assert commands.calls("sbatch") == []


def test_a_refusal_is_told_and_leaves_nothing(hpo, commands, study_yaml, tmp_path):
    commands.add("sbatch", "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    said = hpo("submit", study_yaml(), "--slurm", "--time", "1h", "--partition", "nope")
    assert said == Said(1, "", "hpo: sbatch refused the job: sbatch: error: invalid partition specified: nope\n")
    assert list(jobs(tmp_path).iterdir()) == []


def test_which_queue(hpo, commands, study_yaml, monkeypatch, tmp_path):
    path = study_yaml()
    none = hpo("submit", path, "--time", "1h", "--dry-run")
    assert none.code == 2
    assert "Of the commands sbatch and qsub neither is here; expected --slurm or --pbs" in none.err
    commands.add("sbatch")
    assert "#SBATCH" in hpo("submit", path, "--time", "1h", "--dry-run").out
    commands.add("qsub")
    assert "both are here" in hpo("submit", path, "--time", "1h", "--dry-run").err
    site = tmp_path / "site.yaml"
    site.write_text("queue: pbs\ntime: 2h\ngpus: 1\nextra: [-m n]\n")
    monkeypatch.setenv("HPO_SITE", str(site))
    text = hpo("submit", path, "--gpus", 0, "--extra=-l naccesspolicy=shared", "--dry-run").out
    asked = [line for line in text.splitlines() if line.startswith("#PBS")]
    assert asked[-2:] == ["#PBS -m n", "#PBS -l naccesspolicy=shared"]
    assert "#PBS -l walltime=02:00:00" in asked
    assert "ngpus" not in text
    assert "#SBATCH" in hpo("submit", path, "--slurm", "--dry-run").out


def test_without_the_queue_here(hpo, commands, study_yaml):
    said = hpo("submit", study_yaml(), "--pbs", "--time", "1h")
    assert said.code == 1
    assert "there is no command qsub here, so nothing was submitted" in said.err


@pytest.mark.parametrize(
    ("keys", "arguments", "warning"),
    [
        ({}, ["--gpus", "1"], "the job asks for GPUs, but engine.gpu is 0, so no trial sees one"),
        ({}, ["--extra=--gres=gpu:a100:1"], "the job asks for GPUs, but engine.gpu is 0"),
        ({"engine": {"gpu": 0.5}}, [], "engine.gpu is 0.5, but the job asks for no GPU (--gpus 1)"),
        ({"engine": "inline"}, ["--nodes", "2"], "on several nodes the study runs on Ray nevertheless"),
        ({"engine": {"workers": 8}}, ["--cpus", "2"], "need 8 CPUs, and the job asks for 2 (--cpus 8)"),
    ],
)
def test_what_is_likely_not_meant_is_said(hpo, commands, study_yaml, keys, arguments, warning):
    said = hpo("submit", study_yaml(**keys), "--slurm", "--time", "1h", "--dry-run", *arguments)
    assert said.code == 0
    assert said.err.startswith("warning: ")
    assert warning in said.err
    assert len(said.err.splitlines()) == 1


def test_what_would_end_the_job_at_once_is_said(hpo, commands, finished, tmp_path):
    directory = tmp_path / "runs" / "toy"
    with driver_lock(directory):
        said = hpo("submit", finished, "--slurm", "--time", "1h", "--dry-run").err
    where = f"process {os.getpid()} on {socket.gethostname()}"
    assert said == (f"warning: {where} is at work on the study; a job that starts before it has ended ends at once\n")
    write_steering(directory, Steering(paused=Pause(1000.0, "ann@login")))
    said = hpo("submit", finished, "--slurm", "--time", "1h", "--dry-run").err
    assert said == "warning: the study is paused, and its jobs end at once; `hpo resume toy` goes on\n"


def test_status_has_a_line_for_the_queue(hpo, commands, finished, tmp_path):
    assert "queue" not in hpo("status").out
    jobs(tmp_path).mkdir()
    for number in ("17", "18"):
        record_job(tmp_path / "runs" / "toy", Job("slurm", number, 1000.0, "/x.sh"))
    assert "\nqueue      SLURM job 18: not seen in the queue (2 jobs submitted)\n" in hpo("status").out
    commands.add("squeue", "echo 18 PENDING; echo 17 RUNNING")
    assert "\nqueue      SLURM job 17: RUNNING, SLURM job 18: PENDING (2 jobs submitted)\n" in hpo("status").out
    assert json.loads(hpo("status", "--json").out)["jobs"] == [
        {"queue": "slurm", "id": "17", "state": "RUNNING"},
        {"queue": "slurm", "id": "18", "state": "PENDING"},
    ]


def test_a_folder_that_cannot_be_written(hpo, commands, study_yaml, tmp_path):
    (tmp_path / "runs" / "toy").mkdir(parents=True)
    jobs(tmp_path).write_text("a file")
    said = hpo("submit", study_yaml(), "--slurm", "--time", "1h")
    assert said.code == 1
    assert "cannot be written (File exists), so nothing was submitted" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time", "90"], "--time: '90' is not right; expected a time such as 12:00:00"),
        (["--mem", "much"], "--mem: 'much' is not right"),
        (["--nodes", "0"], "--nodes: 0 is not right; expected a number of nodes, 1 or more"),
        (["--grace", "300", "--time", "4m"], "give more --time or less --grace"),
        (["--set", "storage=postgresql://me:secret@db/hpo"], "a password would be written into the job script"),
        (["--nodes", "2", "--set", "engine={name: ray, address: auto}"], "so 2 nodes would be idle"),
    ],
)
def test_what_cannot_be_is_refused(hpo, commands, study_yaml, arguments, message):
    said = hpo("submit", study_yaml(), "--slurm", "--dry-run", *arguments)
    assert said.code == 2
    assert message in said.err
    assert "secret" not in said.err


def test_a_study_whose_folder_is_somebodys_is_not_submitted(hpo, commands, study_yaml, tmp_path):
    (tmp_path / "runs" / "toy").mkdir(parents=True)
    (tmp_path / "runs" / "toy" / "mine.txt").touch()
    said = hpo("submit", study_yaml(), "--slurm", "--time", "1h")
    assert said.code != 0
    assert "is not the folder of a study: it has mine.txt" in said.err
