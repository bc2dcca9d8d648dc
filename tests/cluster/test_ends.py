"""What a job does at its end and at its time limit: its script really runs, with stand-ins for the queue's commands."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from books import check_books
from queue_commands import KEEP, Commands
from waiting import wait_until

from hpo.cluster.job_request import JobOptions, JobRequest
from hpo.cluster.jobs import jobs_of
from hpo.cluster.script import write

SLURM = JobRequest(queue="slurm", time=3600, grace=60)
PBS = JobRequest(queue="pbs", time=62, grace=60)
IDS = {"SLURM_JOB_ID": "17", "PBS_JOBID": "17.server"}

# In place of Python: notes the signals that it gets with their times, and obeys after so many of them.
DRIVER = """#!{python}
import signal, sys, time
started, got = time.time(), []
def handle(number, frame):
    got.append(number)
    with open({file!r}, "a") as file:
        print(f"{{time.time() - started:.0f}}", file=file)
    if len(got) == {obeys}:
        sys.exit({code})
signal.signal(signal.SIGTERM, handle)
open({file!r}, "a").close()
while {waits}:
    time.sleep(0.05)
sys.exit({code})
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    return Commands(tmp_path / "bin", monkeypatch)


@pytest.fixture
def job(tmp_path):
    """Starts a job of a stand-in for `hpo run`, in a process group of its own."""

    def start(
        job_request: JobRequest, code: int = 0, obeys: int = 1, waits: bool = True, name: str = "", **environment: str
    ):
        folder = tmp_path / name
        (folder / "toy" / "jobs").mkdir(parents=True, exist_ok=True)
        driver, notes = folder / "driver", folder / "signals"
        driver.write_text(DRIVER.format(python=sys.executable, file=str(notes), code=code, obeys=obeys, waits=waits))
        driver.chmod(0o755)
        script = write(job_request, "hpo-toy", folder / "toy", "now", [], folder, str(driver), False)
        script.path.write_text(script.text)
        process = subprocess.Popen(
            ["bash", script.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | IDS | environment,
            start_new_session=True,
        )
        wait_until(notes.exists)
        return process, notes

    return start


def output_of(process: subprocess.Popen[str], tmp_path: Path) -> str:
    said = process.communicate(timeout=300)[0]
    log = tmp_path / "toy" / "jobs" / "now.log"
    return said + (log.read_text() if log.exists() else "")


ENDS = {
    0: "the study has ended",
    1: "hpo run ended with exit code 1: the job is not requeued",
    3: "another driver is at work on the study",
    4: "the study was stopped or is paused: the job is not requeued",
    130: "interrupted, but not for the time limit: the job is not requeued",
}


@pytest.mark.parametrize("queue", ["slurm", "pbs"])
def test_its_exit_code_is_that_of_hpo_run_and_it_is_not_requeued(commands, job, tmp_path, queue):
    for name in ("scontrol", "qsub"):
        commands.add(name)
    started = {code: job(JobRequest(queue=queue, time=3600), code, waits=False, name=str(code))[0] for code in ENDS}
    for code, process in started.items():
        assert ENDS[code] in output_of(process, tmp_path / str(code))
        assert process.returncode == code
    assert commands.calls("scontrol") + commands.calls("qsub") == []


def test_at_the_time_limit_slurm_puts_it_back(commands, job, tmp_path):
    commands.add("scontrol")
    process, notes = job(SLURM, code=130)
    process.send_signal(signal.SIGUSR1)
    said = output_of(process, tmp_path)
    assert "running trials end at their next report, within 40 s" in said
    assert "requeued for the time that is left of the budget (number 1 of at most 100)" in said
    assert commands.calls("scontrol") == ["requeue 17"]
    assert len(notes.read_text().splitlines()) == 1
    assert process.returncode == 130, said


def test_at_the_time_limit_pbs_gets_its_script_again(commands, job, tmp_path):
    commands.add("qsub", f"{KEEP}\necho 18.server")
    process, _ = job(PBS, code=130)
    said = output_of(process, tmp_path)
    assert "requeued as job 18.server" in said
    assert commands.calls("qsub") == ["-W depend=afterany:17.server"]
    script = (tmp_path / "toy" / "jobs" / "now.sh").read_text()
    assert commands.keep("qsub", 1).read_text() == script.replace("\nrequeued=0\n", "\nrequeued=1\n")
    (noted,) = jobs_of(tmp_path / "toy")
    assert (noted.queue, noted.id, noted.cancel_command) == ("pbs", "18.server", "qdel 18.server")
    assert abs(noted.submitted - time.time()) < 60


def test_a_node_that_cannot_submit_asks_the_host_that_did(commands, job, tmp_path):
    commands.add("ssh", f"{KEEP}\necho 18.server")
    process, _ = job(PBS, code=130, PBS_O_HOST="login")
    assert "requeued as job 18.server" in output_of(process, tmp_path)
    assert commands.calls("ssh") == [f"-o BatchMode=yes login cd {tmp_path} && qsub -W depend=afterany:17.server"]
    assert "\nrequeued=1\n" in commands.keep("ssh", 1).read_text()


@pytest.mark.slow
def test_one_that_is_not_put_back_says_so(commands, job, tmp_path):
    commands.add("scontrol", "exit 1")
    commands.add("qsub", "exit 1")
    started = {}
    for name, job_request in {"slurm": SLURM, "pbs": PBS}.items():
        for requeues in (0, 3):
            key = f"{name}-{requeues}"
            started[key] = job(job_request.updated(JobOptions(requeues=requeues)), code=130, name=key)[0]
            if name == "slurm":
                started[key].send_signal(signal.SIGUSR1)
    for key, process in started.items():
        said = output_of(process, tmp_path / key)
        enough = "the job was requeued 0 times already (--requeues)"
        assert (enough if key.endswith("0") else "the queue did not take the job back") in said
        assert "hpo submit goes on" in said
        assert process.returncode == 130
    assert len(commands.calls("scontrol")) == len(commands.calls("qsub")) == 1


def test_requeues_are_counted(commands, job, tmp_path):
    commands.add("scontrol")
    process, _ = job(SLURM.updated(JobOptions(requeues=3)), code=130, SLURM_RESTART_COUNT="3")
    process.send_signal(signal.SIGUSR1)
    assert "the job was requeued 3 times already" in output_of(process, tmp_path)
    assert commands.calls("scontrol") == []


@pytest.mark.slow
def test_a_driver_that_does_not_end_is_told_again_and_then_killed(commands, job, tmp_path):
    commands.add("scontrol")
    hasty = SLURM.updated(JobOptions(grace=10))
    started = {obeys: job(hasty, code=130, obeys=obeys, name=str(obeys)) for obeys in (2, 3)}
    for process, _ in started.values():
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGUSR1)  # counts once
    for obeys, (process, notes) in started.items():
        said = output_of(process, tmp_path / str(obeys))
        told = [int(line) for line in notes.read_text().splitlines()]
        assert len(told) == 2
        assert 5 <= told[1] - told[0] <= 60  # two thirds of 10 s
        assert ("the driver does not end: it is killed" in said) == (obeys == 3)
    # Killed or not, what is left of the budget is still to be spent.
    assert commands.calls("scontrol") == ["requeue 17", "requeue 17"]


def test_what_ends_the_whole_job_reaches_the_driver_once(commands, job, tmp_path):
    commands.add("scontrol")
    process, notes = job(SLURM, code=130)
    os.killpg(process.pid, signal.SIGTERM)
    said = output_of(process, tmp_path)
    assert "the job is being ended from outside" in said
    assert len(notes.read_text().splitlines()) == 1
    assert commands.calls("scontrol") == []
    assert process.returncode == 130, said


@pytest.mark.slow
def test_a_study_in_pieces_on_pbs_ends_with_its_exact_budget(commands, study_yaml, runs, tmp_path):
    """Each piece is cut by its time limit; what `qsub` is given is run next, as PBS would."""
    commands.add("qsub", f"{KEEP}\necho $((17 + n)).server")
    path = study_yaml("slow", budget={"trials": 12}, constants={"seconds": 0.15})
    job_request = JobRequest(queue="pbs", time=15, grace=10)
    directory = runs / "toy"
    (directory / "jobs").mkdir(parents=True)
    arguments = [str(path), "--runs", str(runs)]
    script = write(job_request, "hpo-toy", directory, "now", arguments, tmp_path, sys.executable, False)
    script.path.write_text(script.text)
    pieces, code = 0, 130
    while code in (130, 143):  # 143: told to end when the study had just ended
        file = script.path if pieces == 0 else commands.keep("qsub", pieces)
        variables = os.environ | {"PBS_JOBID": f"{17 + pieces}.server"}
        code = subprocess.run(["bash", file], timeout=600, env=variables).returncode
        pieces += 1
    assert code == 0, script.log.read_text()
    assert pieces >= 3
    check_books(runs, 12)
    assert [job.id for job in jobs_of(directory)] == [f"{17 + piece}.server" for piece in range(1, pieces)]
    assert {job.script for job in jobs_of(directory)} == {str(script.path)}


@pytest.mark.slow
def test_on_three_nodes_of_pbs_ray_runs_over_all(commands, study_yaml, runs, tmp_path):
    """The nodes are addresses of this machine, and `pbsdsh` starts a process here, without the job's variables."""
    nodes = tmp_path / "nodes"
    nodes.write_text("127.0.0.2\n127.0.0.3\n127.0.0.4\n")
    commands.add(
        "pbsdsh",
        f'line=$(($2 + 1)); node=$(sed -n "${{line}}p" {nodes}); shift 3; '
        'exec env -i HPO_NODE_ADDRESS="$node" PBS_JOBID=31000.server PATH=/usr/bin:/bin "$@"',
    )
    path = study_yaml("slow", budget={"trials": 8}, constants={"seconds": 0.2})
    directory = runs / "toy"
    (directory / "jobs").mkdir(parents=True)
    arguments = [str(path), "--runs", str(runs)]
    job_request = JobRequest(queue="pbs", nodes=3, time=3600)
    script = write(job_request, "hpo-toy", directory, "now", arguments, Path.cwd(), sys.executable, False)
    script.path.write_text(script.text)
    variables = {"PBS_JOBID": "31000.server", "PBS_NODEFILE": str(nodes), "HPO_NODE_ADDRESS": "127.0.0.2"}
    code = subprocess.run(["bash", script.path], timeout=600, env=os.environ | variables).returncode
    assert code == 0, script.log.read_text()
    assert "all 3 nodes have joined Ray at 127.0.0.2:27000" in script.log.read_text()
    assert sorted(call.split()[1] for call in commands.calls("pbsdsh")) == ["1", "2"]
    check_books(runs, 8)
    left = sorted(each.name for each in script.path.parent.iterdir())
    assert left == ["now.log", f"now.ray-{socket.gethostname()}.log", "now.sh"]
