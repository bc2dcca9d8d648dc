"""The jobs of a study, and what the queues say of them."""

from __future__ import annotations

import time

import pytest
from queue_commands import Commands

from hpo.cluster.jobs import Job, active_jobs, jobs_of, record_job, state_of, states_of

QSTAT = """\
cat <<'END'
Job Id: 7.server
    Job_Name = hpo-toy-0a1b2c
    job_state = Q
    comment = waits for
\tjob_state = R

Job Id: 8.server
    job_state = F
Job Id: 9.server
    job_state = R
END
echo 'qstat: Unknown Job Id 6.server' >&2
exit 153
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    return Commands(tmp_path / "bin", monkeypatch)


def job(number: str, queue: str = "slurm") -> Job:
    return Job(queue, number, 1000.0, f"/runs/toy/jobs/{number}.sh", "hpo submit study.yaml")


def test_they_are_noted_one_after_the_other(tmp_path):
    (tmp_path / "jobs").mkdir()
    assert jobs_of(tmp_path) == []
    record_job(tmp_path, job("17"))
    record_job(tmp_path, job("18"))
    assert jobs_of(tmp_path) == [job("17"), job("18")]


def test_lines_that_are_no_jobs_are_left_out(tmp_path):
    (tmp_path / "jobs").mkdir()
    record_job(tmp_path, job("17"))
    with (tmp_path / "jobs" / "jobs.jsonl").open("a") as file:
        file.write('{"queue": "lsf", "id": "1", "submitted": 1, "script": "x"}\n[]\n{"queue": "pbs"}\n{"queue": "pb')
    assert jobs_of(tmp_path) == [job("17")]
    (tmp_path / "jobs" / "jobs.jsonl").write_bytes(b"\xff\n")
    assert jobs_of(tmp_path) == []


def test_slurm_is_asked_once_for_all(commands):
    commands.add("squeue", "echo '17 RUNNING'; echo '19 PENDING'")
    jobs = [job("17"), job("18"), job("19")]
    assert states_of(jobs) == {"17": "RUNNING", "19": "PENDING"}
    assert commands.calls("squeue") == ["-h -j 17,18,19 -o %i %T"]
    assert active_jobs(jobs) == [(job("17"), "RUNNING"), (job("19"), "PENDING")]
    assert job("17").state() == "RUNNING"
    assert state_of({"queue": "slurm", "id": "18", "submitted": 1, "script": "x"}) is None


def test_pbs_says_it_in_letters(commands):
    commands.add("qstat", QSTAT)
    jobs = [job(f"{number}.server", "pbs") for number in (6, 7, 8, 9)]
    assert states_of(jobs) == {"7.server": "PENDING", "9.server": "RUNNING"}
    assert commands.calls("qstat") == ["-f 6.server 7.server 8.server 9.server"]


def test_a_queue_that_does_not_answer_is_not_waited_for(commands, monkeypatch):
    monkeypatch.setattr("hpo.cluster.commands.QUERY_TIMEOUT", 1.0)
    commands.add("squeue", "exec sleep 600")
    started = time.monotonic()
    assert job("17").state() is None
    assert time.monotonic() - started < 300


def test_without_the_commands_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert states_of([job("17"), job("18", "pbs")]) == {}
    assert states_of([]) == {}


def test_how_they_are_called():
    assert (job("17").label, job("17").cancel_command, job("17").watch_command) == (
        "SLURM job 17",
        "scancel 17",
        "squeue -j 17",
    )
    other = job("7.server", "pbs")
    assert (other.label, other.cancel_command, other.watch_command) == (
        "PBS job 7.server",
        "qdel 7.server",
        "qstat 7.server",
    )
