"""`hpo submit` on a real SLURM, which the test starts on this machine (see slurm_cluster)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from books import check_books, finish, processes_of
from slurm_cluster import SlurmCluster, missing
from waiting import leftover

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM on this machine: {', '.join(missing())} not found"),
]


# Two nodes of one machine need two addresses.
SITE = "setup: ['export HPO_NODE_ADDRESS=127.0.0.$((1 + ${SLURMD_NODENAME#n}))']"


@pytest.fixture(scope="module")
def slurm():
    cluster = SlurmCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def submit(slurm, runs, tmp_path):
    """`hpo submit STUDY ...`; returns what its --json says."""

    def call(study, *arguments, site="{}"):
        file = tmp_path / "site.yaml"
        file.write_text(site)
        variables = slurm.environment | {"HPO_SITE": str(file), "HPO_TEST_RUN": str(runs)}
        done = subprocess.run(
            [sys.executable, "-m", "hpo", "submit", str(study), "--runs", str(runs), "--json", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | variables,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def hpo(slurm, runs, *arguments):
    command = [sys.executable, "-m", "hpo", *arguments, "--runs", str(runs)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | slurm.environment)


def wait_for_trials(runs, number):
    until = time.monotonic() + 300
    while not (runs / "toy" / "trials" / str(number) / "trained.txt").exists():
        assert time.monotonic() < until
        time.sleep(0.1)


def nothing_left(slurm, runs):
    assert not leftover([*slurm.processes(), *processes_of(runs)])


def test_cut_by_its_walltime_it_is_requeued_until_its_budget_is_spent(slurm, submit, study_yaml, runs):
    path = study_yaml("slow", budget={"trials": 30}, constants={"seconds": 0.4})
    first = submit(path, "--slurm", "--time", "00:01:00", "--grace", "15")
    second = submit(path, "--slurm", "--time", "00:01:00", "--grace", "15")
    assert second["waits_for"][0]["job"] == first["job"]
    slurm.wait_until(lambda: slurm.states().get(first["job"]) == "RUNNING", 30, "the first job starts")
    assert slurm.states()[second["job"]] == "PENDING"
    said = hpo(slurm, runs, "status", "toy").stdout
    assert f"SLURM job {second['job']}: PENDING" in said, said
    while first["job"] in slurm.states():
        # Also between two runs of the first job the second one waits.
        assert slurm.states().get(second["job"]) == "PENDING"
        time.sleep(0.5)
    log = Path(first["log"]).read_text()
    print(log)
    _, finished = check_books(runs, 30)
    assert {trial.state.name for trial in finished} == {"COMPLETE"}
    assert log.count("requeued for the time that is left") >= 2, log
    assert log.count("the study has ended") == 1
    about = slurm.ended_as(first["job"])
    assert (about["JobState"], about["ExitCode"]) == ("COMPLETED", "0:0")
    assert int(about["Restarts"]) == log.count("requeued for the time that is left")
    # The second one finds nothing left to do.
    slurm.wait_until(lambda: not slurm.states(), 60, "the second job ends")
    assert slurm.ended_as(second["job"])["JobState"] == "COMPLETED"
    assert "nothing was left to run" in Path(second["log"]).read_text()
    check_books(runs, 30)
    nothing_left(slurm, runs)


def test_scancel_ends_it_for_good_and_another_job_goes_on(slurm, submit, study_yaml, runs):
    path = study_yaml("slow", budget={"trials": 6}, constants={"seconds": 0.2})
    first = submit(path, "--slurm", "--time", "5m")
    wait_for_trials(runs, 1)
    slurm.call("scancel", first["job"])
    slurm.wait_until(lambda: not slurm.states(), 30, "the job ends")
    log = Path(first["log"]).read_text()
    assert "is being ended from outside" in log, log
    assert "requeued for" not in log
    about = slurm.ended_as(first["job"])
    assert (about["JobState"], about["Restarts"]) == ("CANCELLED", "0")
    nothing_left(slurm, runs)
    second = submit(path, "--slurm", "--time", "5m")
    assert second["waits_for"] == []
    slurm.wait_until(lambda: not slurm.states(), 60, "the second job ends")
    trials, finished = check_books(runs, 6)
    # Ended gently, though SIGTERM went to every process of the job at once.
    again = [trial.user_attrs["hpo:outcome"]["cause"] for trial in trials if trial not in finished]
    assert again == ["interrupted"]
    nothing_left(slurm, runs)


def test_stopped_it_is_not_requeued(slurm, submit, study_yaml, runs):
    path = study_yaml("slow", budget={"trials": 20}, constants={"seconds": 0.2})
    job = submit(path, "--slurm", "--time", "5m")
    wait_for_trials(runs, 1)
    stopped = hpo(slurm, runs, "stop", "toy")
    assert stopped.returncode == 0, stopped.stderr
    slurm.wait_until(lambda: not slurm.states(), 30, "the job ends")
    log = Path(job["log"]).read_text()
    assert "stopped or is paused: the job is not requeued" in log, log
    about = slurm.ended_as(job["job"])
    assert (about["ExitCode"], about["Restarts"]) == ("4:0", "0")
    finish(path, runs)
    check_books(runs, 20)


def test_on_two_nodes_ray_runs_over_the_allocation(slurm, submit, study_yaml, runs):
    path = study_yaml("slow", budget={"trials": 8}, engine={"name": "ray"}, constants={"seconds": 0.2})
    job = submit(path, "--slurm", "--time", "10m", "--nodes", "2", site=SITE)
    slurm.wait_until(lambda: not slurm.states(), 180, "the job ends")
    log = Path(job["log"]).read_text()
    print(log)
    assert re.search(r"all 2 nodes have joined Ray at 127\.0\.0\.2:\d+", log), log
    assert slurm.ended_as(job["job"])["JobState"] == "COMPLETED", log
    check_books(runs, 8)
    assert not list(Path(job["script"]).parent.glob("*.token"))
    nothing_left(slurm, runs)


def test_scancel_on_two_nodes_leaves_books_that_go_on(slurm, submit, study_yaml, runs):
    path = study_yaml("slow", budget={"trials": 8}, constants={"seconds": 0.3})
    job = submit(path, "--slurm", "--time", "10m", "--nodes", "2", site=SITE)
    wait_for_trials(runs, 2)
    slurm.call("scancel", job["job"])
    slurm.wait_until(lambda: not slurm.states(), 60, "the job ends")
    about = slurm.ended_as(job["job"])
    assert (about["JobState"], about["Restarts"]) == ("CANCELLED", "0")
    nothing_left(slurm, runs)
    # What SLURM killed could not clear away its folder.
    for port in re.findall(r"its head at \S+:(\d+)", Path(job["log"]).read_text()):
        shutil.rmtree(f"/tmp/hpo-ray-{os.getuid()}-{port}", ignore_errors=True)
    finish(path, runs)
    check_books(runs, 8)


def test_a_folder_with_spaces_is_no_trouble(slurm, submit, study_yaml, runs, tmp_path):
    path = study_yaml("slow", budget={"trials": 2})
    there = tmp_path / "my runs, 100%j"
    job = submit(path, "--slurm", "--time", "5m", "--runs", str(there))
    slurm.wait_until(lambda: not slurm.states(), 60, "the job ends")
    assert "the study has ended" in (there / "toy" / "jobs" / Path(job["log"]).name).read_text()
    assert slurm.ended_as(job["job"])["JobState"] == "COMPLETED"
