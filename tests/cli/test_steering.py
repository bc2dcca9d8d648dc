"""`hpo pause`, `resume`, `stop`, `kill`, `extend` and `logs`, given while a study runs in a process of its own."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from books import check_books, finish, processes_of, start
from waiting import PATIENCE, leftover, wait_until

from hpo import layout
from hpo.cli.logs import _start_of_last
from hpo.control import client as steer
from hpo.errors import ControlError
from hpo.storage import history
from hpo.storage.driver_lock import driver_lock, driver_of
from hpo.storage.load_study import load_study

from .conftest import Hpo, environment

# Much less than the steps of trials that say nothing for so long: a command does not wait for a trial.
MOST_SECONDS = 60.0
ENGINES = ["local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inline", "ray"))]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver on a busy machine answers later."""
    monkeypatch.setattr("hpo.control.requests.ANSWER_TIMEOUT", PATIENCE)


@pytest.fixture
def quick(hpo: Hpo, runs: Path):
    """Calls a command on the study `toy`, and measures it."""

    def call(command: str, *args: object):
        began = time.monotonic()
        said = hpo(command, "toy", *args, "--runs", runs)
        quick.took.append((command, time.monotonic() - began))
        assert quick.took[-1][1] < MOST_SECONDS, quick.took
        return said

    quick = call
    call.took = []
    yield call
    print({command: f"{seconds:.2f} s" for command, seconds in call.took})


def running(runs: Path) -> list[int]:
    if not (runs / "toy" / layout.SPEC).exists():  # it is just beginning
        return []
    trials = load_study(runs, "toy")[1].trials
    return [trial.number for trial in trials if trial.state.name == "RUNNING"]


def wait_for_reports(runs: Path, driver: subprocess.Popen[str], number: int = 0) -> None:
    reported = layout.trial_directory(runs / "toy", number) / layout.HISTORY
    wait_until(lambda: driver.poll() is not None or history.read(reported))
    assert driver.poll() is None, driver.communicate()[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_live_study_obeys_each_command_and_ends_consistent(study_yaml, runs, quick, engine, tmp_path):
    gates = tmp_path / "gates"
    gates.mkdir()
    constants = {"gates": str(gates)}  # no trial is over before its command has been given
    path = study_yaml("slow", engine={"name": engine, "workers": 1}, budget={"trials": 5}, constants=constants)
    driver = start(path, runs)
    try:
        wait_for_reports(runs, driver)
        said = quick("pause")
        assert said.out == (
            "study 'toy' is paused: trial 0 is running to the end, no other starts. "
            f"`hpo resume toy{layout.runs_argument(runs)}` goes on\n"
        )
        assert "paused     since " in quick("status").out
        (gates / "0").touch()
        wait_until(lambda: not running(runs))
        assert json.loads(quick("status", "--json").out)["paused"]["by"].count("@") == 1
        assert quick("extend", "--trials", "+1").out == "the budget of study 'toy' is now 6 trials (was 5)\n"
        refused = quick("kill", 0)
        assert (refused.code, refused.err) == (
            1, "hpo: trial 0 is not running in study 'toy'; no trial is. Nothing was killed\n",
        )  # fmt: skip
        assert quick("resume").out.startswith("study 'toy' goes on; it was paused since ")
        wait_for_reports(runs, driver, 1)
        assert quick("kill", 1).out.startswith("trial 1 is being ended at ")
        (gates / "1").touch()
        wait_for_reports(runs, driver, 2)
        assert "trial 2 is ending at the next report" in quick("pause", "--now").out
        (gates / "2").touch()
        wait_until(lambda: not running(runs))
        quick("resume")
        wait_for_reports(runs, driver, 3)
        assert quick("stop").out.startswith("study 'toy' is being stopped: trial 3 is ending at the next report")
        for number in range(3, 20):
            (gates / str(number)).touch()
        output = driver.communicate(timeout=PATIENCE)[0]
    finally:
        driver.kill()
        driver.communicate()
    assert driver.returncode == 4, output
    assert "with `hpo stop`; to go on, give the same command again" in output
    assert "Traceback" not in output
    assert not list((runs / "toy" / layout.REQUESTS).iterdir())
    finish(path, runs)
    trials, finished = check_books(runs, 6)
    assert [trial.number for trial in finished if trial.state.name == "FAIL"] == [1]
    assert trials[1].user_attrs["hpo:outcome"]["cause"] == "killed"
    assert not leftover(processes_of(runs))


@pytest.mark.slow
def test_a_trial_that_hangs_in_the_drivers_own_process_does_not_keep_it_from_answering(study_yaml, runs, quick):
    path = study_yaml("slow", engine="inline", budget={"trials": 2}, constants={"seconds": 600.0, "steps": 2})
    driver = start(path, runs)
    try:
        wait_until(lambda: running(runs) == [0])
        assert quick("pause").code == 0
        assert quick("kill", 0).out.startswith("trial 0 is being ended at the next report (inline engine), as failed")
        assert quick("stop", "--now").code == 0
        driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
        driver.communicate()
    assert driver.returncode == 4
    assert load_study(runs, "toy")[1].trials[0].user_attrs["hpo:outcome"]["cause"] == "killed"


@pytest.mark.slow
def test_the_fail_button_of_the_dashboard_kills_a_trial_that_reports_nothing(study_yaml, runs, quick):
    path = study_yaml("slow", budget={"trials": 5}, constants={"seconds": 600.0})
    driver = start(path, runs)
    command = [sys.executable, "-m", "hpo", "dashboard", "toy", "--port", "0", "--runs", str(runs)]
    try:
        wait_until(lambda: running(runs) == [0])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as dashboard:
            assert dashboard.stdout is not None
            link = dashboard.stdout.readline().strip()
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            browser.open(link, timeout=300).close()
            root = link.partition("/dashboard/")[0]
            trial = load_study(runs, "toy")[1].trials[0]._trial_id
            # What its page sends when the button is pressed.
            button = urllib.request.Request(
                f"{root}/api/trials/{trial}/tell", b'{"state": "Fail"}', {"Content-Type": "application/json"}
            )
            with browser.open(button, timeout=300) as answer:
                assert answer.status == 204
            wait_until(lambda: running(runs) == [1])  # long before its first step ends
            dashboard.send_signal(signal.SIGINT)
        assert quick("stop", "--now").code == 0
        driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
        driver.communicate()
    assert json.loads(quick("status", "--json").out)["causes"]["killed"] == 1
    assert not leftover(processes_of(runs))


@pytest.mark.slow
def test_stop_can_wait_for_the_end(study_yaml, runs, hpo, tmp_path):
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / "0").touch()
    driver = start(study_yaml("slow", budget={"trials": 50}, constants={"gates": str(gates)}), runs)
    try:
        wait_for_reports(runs, driver, 1)
        threading.Timer(1.0, (gates / "1").touch).start()  # while it waits
        said = hpo("stop", "toy", "--wait", "--runs", runs)
        assert driver_of(runs / "toy") is None
        assert (runs / "toy" / "report.html").exists()
        driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
        driver.communicate()
    assert driver.returncode == 4
    stands = r"^\d of 50 trials finished: \d complete, 0 pruned, 0 failed; 1 trial in the queue$"
    assert re.search(stands, said.out, re.M)
    assert f"`hpo run {runs}/toy/study.yaml{layout.runs_argument(runs)}` continues it" in said.out


@pytest.mark.slow
def test_a_paused_study_waits_for_a_person_but_not_in_a_queue(study_yaml, runs, quick, hpo):
    path = study_yaml("slow", budget={"trials": 2})
    finish(path, runs)
    assert quick("pause").out.startswith(
        "study 'toy' is paused; no driver is at work on it, and the next one will wait. `hpo resume toy"
    )
    assert "is paused already, since " in quick("pause").out
    quick("extend", "--trials", 3)
    driver = start(path, runs, {"SLURM_JOB_ID": "17"})
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 4, output
    assert "and a job of a queue does not wait; `hpo resume toy" in output
    driver = start(path, runs)
    try:
        wait_until(lambda: "nothing starts until" in (runs / "toy" / layout.DRIVER_LOG).read_text())
        time.sleep(1.0)
        assert driver.poll() is None
        assert len(load_study(runs, "toy")[1].trials) == 2
        driver.send_signal(signal.SIGTERM)
        output = driver.communicate(timeout=PATIENCE)[0]
        assert driver.returncode == 4, output
        assert "interrupted while it was paused; to go on, `hpo resume toy" in output
        assert "no longer paused (it was since " in quick("resume").out
        assert "is not paused; no driver is at work" in quick("resume").out
    finally:
        driver.kill()
        driver.communicate()
    finish(path, runs)
    check_books(runs, 3)


def test_without_a_driver_there_is_nothing_to_stop_or_kill(hpo, finished, runs):
    said = hpo("stop", "toy")
    assert (said.code, said.out) == (0, "no driver is at work on study 'toy': there is nothing to stop\n")
    said = hpo("kill", "toy", 1)
    assert said.code == 1
    assert said.err.startswith("hpo: no driver is at work on study 'toy', so no trial runs. `hpo run ")
    said = hpo("extend", "toy", "--hours", "+1")
    assert (said.code, said.err) == (
        1, "hpo: study 'toy' has no limit of hours that --hours could extend; its budget is trials = 4\n",
    )  # fmt: skip
    assert hpo("extend", "toy").code == 2
    assert hpo("kill", "toy").code == 2
    assert "Did you mean 'toy'?" in hpo("pause", "toyy").err
    assert not (runs / "toy" / layout.STEERING).exists()


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_that_waits_in_a_queue_is_named_with_what_cancels_it(hpo, study_yaml, runs, tmp_path, monkeypatch, begun):
    """`squeue` is a stand-in here; tests/cluster/test_slurm.py has the real one."""
    if begun:
        hpo("run", study_yaml(), "--quiet")
    jobs = runs / "toy" / layout.JOBS
    jobs.mkdir(parents=True)
    job = {"queue": "slurm", "id": "17", "submitted": 0.0, "script": "a.sh", "command": "sbatch a.sh"}
    (jobs / "jobs.jsonl").write_text(json.dumps({**job, "id": "16"}) + "\n" + json.dumps(job) + "\n")
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho 17 PENDING\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    said = hpo("stop", "toy")
    assert said.code == 1
    assert said.err == (
        "hpo: no driver is at work on study 'toy', but:\n     SLURM job 17 is PENDING; `scancel 17` cancels it\n"
    )


def test_a_finished_study_is_extended_and_its_recorded_yaml_goes_on(hpo, finished, runs):
    said = hpo("extend", "toy", "--trials", "+2")
    assert said.out == (
        "the budget of study 'toy' is now 6 trials (was 4); no driver is at work on it. "
        f"`hpo run {runs}/toy/study.yaml` continues it, and so does `hpo submit`\n"
    )
    said = hpo("run", runs / "toy" / "study.yaml")
    assert "6 of 6 trials finished" in said.out
    assert "budget     6 trials" in hpo("run", finished).out
    # More than it was extended to, said in the YAML or on the command line, counts too.
    assert "7 of 7 trials finished" in hpo("run", finished, "--trials", 7).out


def test_whoever_holds_the_study_without_answering_is_named(hpo, finished, runs, monkeypatch):
    monkeypatch.setattr("hpo.control.requests.ANSWER_TIMEOUT", 0.5)
    with driver_lock(runs / "toy"):
        began = time.monotonic()
        said = hpo("pause", "toy")
    assert said.code == 1
    assert f"the driver of study 'toy' (process {os.getpid()} on " in said.err
    assert time.monotonic() - began < PATIENCE / 2


# --- logs


def test_the_log_of_a_study_has_each_run_with_its_times(hpo, study_yaml, runs):
    path = study_yaml()
    hpo("run", path, "--quiet")
    hpo("run", path, "--trials", 5)
    lines = hpo("logs").out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    said = [line[20:] for line in lines]
    assert re.fullmatch(rf"--- \S+, process {os.getpid()}: hpo run {path} --quiet", said[0])
    assert said[1] == "begins with 0/4 trials finished"
    assert [line.split("]")[0] for line in said[2:6]] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert said[6].startswith("4 of 4 trials finished: 4 complete")
    assert said[6].endswith("(exit code 0)")
    assert said[7].endswith("--trials 5")
    assert said[8] == "begins with 4/5 trials finished"
    assert hpo("logs", "toy", "-n", 2).out.splitlines() == lines[-2:]
    assert hpo("logs", "-n", 0).out == ""


def test_a_run_that_is_refused_or_fails_leaves_no_or_its_reason(hpo, study_yaml, runs):
    path = study_yaml()
    with driver_lock(runs / "toy"):
        assert hpo("run", path).code == 3
    assert not (runs / "toy" / layout.DRIVER_LOG).exists()
    hpo("run", path, "--quiet")
    hpo("run", study_yaml(search_space={"x": {"low": 0.0, "high": 2.0}}), "--quiet")
    assert "search_space.x.high was 1.0, is 2.0" not in hpo("logs").out  # it never began


def test_what_a_trial_printed_and_where_its_error_is(hpo, study_yaml, runs):
    hpo("run", study_yaml("prints", budget={"trials": 1}), "--quiet")
    assert sorted(hpo("logs", "--trial", 0).out.split("\n")) == ["", "from a child", "to stderr", "to stdout"]
    assert hpo("logs", "toy", 0).out == hpo("logs", "toy", 0, "--trial", 0).out == hpo("logs", "--trial", 0).out
    said = hpo("logs", "toy", 0, "--trial", 1)
    assert (said.code, said.err.splitlines()[0]) == (2, "hpo: trial 0 and --trial 1 are two trials; expected one")
    assert hpo("logs", "--trial", 0, "--follow").out.count("\n") == 3
    said = hpo("logs", "--trial", 5)
    assert (said.code, said.err) == (1, "hpo: study 'toy' has no trial 5; its trials are 0 to 0\n")
    hpo("run", study_yaml("raising", name="wrong", enqueue=[{"x": 0.9}], budget={"trials": 1}), "--quiet")
    said = hpo("logs", "wrong", "--trial", 0)
    error = runs / "wrong" / "trials" / "0" / "error.txt"
    assert f"trial 0 is FAIL; its traceback: {error} (ValueError: the labels are all zero)" in said.err


def test_a_study_without_a_log_says_so(hpo, finished, runs):
    (runs / "toy" / layout.DRIVER_LOG).unlink()
    said = hpo("logs", "--follow")
    assert (said.code, said.out) == (0, "")
    assert "no driver of study 'toy' has left a log" in said.err


@pytest.mark.slow
def test_following_ends_with_the_trial_and_with_the_driver(study_yaml, runs, tmp_path):
    # The second trial waits until the followers have been looked at.
    second = f"mkdir {tmp_path}/first || until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    script = f"for k in 1 2 3 4 5 6; do echo says $k; sleep 0.4; done; {second}; echo '{{{{\"score\": 0.5}}}}'"
    path = study_yaml(None, command=["sh", "-c", script], budget={"trials": 2})
    driver = start(path, runs)
    try:
        wait_until(lambda: driver.poll() is not None or (runs / "toy/trials/0/output.log").exists())
        follow = [sys.executable, "-m", "hpo", "logs", "toy", "--runs", str(runs), "--follow"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
        trial = subprocess.Popen([*follow, "--trial", "0"], **options)
        study = subprocess.Popen(follow, **options)
        interrupted = subprocess.Popen(follow, **options)
        out, _ = trial.communicate(timeout=PATIENCE)
        assert trial.returncode == 0
        assert [line for line in out.splitlines() if line.startswith("says")] == [f"says {k}" for k in range(1, 7)]
        assert driver.poll() is None
        assert interrupted.stdout.readline()  # it is beyond its start
        interrupted.send_signal(signal.SIGINT)
        _, err = interrupted.communicate(timeout=PATIENCE)
        assert (interrupted.returncode, err) == (0, "")
        (tmp_path / "go").touch()
        out, err = study.communicate(timeout=PATIENCE)
        assert study.returncode == 0
        driver.communicate(timeout=PATIENCE)
        assert "[2/2] trial 1 COMPLETE" in out
        assert "(exit code 0)" in out
        assert "no driver is at work; `hpo status toy" in err
    finally:
        driver.kill()
        driver.communicate()


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 50, 100_000])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines_of_a_file(tmp_path, lines, end):
    path = tmp_path / "log"
    for text in ("", "\n", "one", "a\n\nb", "\n\n\n", "\n".join(f"line {k}" * 5 for k in range(20_000))):
        path.write_text(text + end)
        rows = (text + end).splitlines(keepends=True)
        assert (text + end)[_start_of_last(path, lines) :] == "".join(rows[len(rows) - min(lines, len(rows)) :])


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("shift", range(3))
def test_each_state_of_a_progress_bar_is_a_line(tmp_path, end, shift):
    """Wherever the ends of lines lie in the blocks that are read."""
    path = tmp_path / "output.log"
    rows = [f"{' ' * shift}epoch {n:6d}{end}" for n in range(40_000)]
    path.write_bytes("".join(rows).encode())
    for lines in (1, 2, 50, 5_000, 30_000, 40_000, 50_000):
        assert path.read_bytes()[_start_of_last(path, lines) :].decode() == "".join(rows[-lines:])


def test_of_a_line_without_an_end_the_last_megabyte_is_shown(tmp_path):
    path = tmp_path / "output.log"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert 2**20 <= 2**40 - _start_of_last(path, 50) <= 2**21


def test_what_is_no_output_of_a_trial_is_said_and_not_waited_for(hpo, study_yaml, runs):
    hpo("run", study_yaml("raising", enqueue=[{"x": 0.9}], budget={"trials": 1}), "--quiet")
    folder = runs / "toy" / "trials" / "0"
    for name, odd in ((layout.ERROR, os.mkfifo), (layout.OUTPUT, lambda path: path.symlink_to("/dev/zero"))):
        (folder / name).unlink(missing_ok=True)
        odd(folder / name)
    said = hpo("logs", "--trial", 0)
    assert said.code == 1
    assert said.err == f"hpo: {folder / layout.OUTPUT} cannot be shown: it is a device, expected a plain file\n"
    (folder / layout.OUTPUT).unlink()
    assert hpo("logs", "--trial", 0).code == 0
    assert hpo("status").code == hpo("report").code == hpo("doctor").code == 0


# --- requests while the driver is killed and started again


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", range(4))
def test_requests_at_random_moments_while_drivers_come_and_go(study_yaml, runs, moment, capfd):
    chance = random.Random(9000 + moment)
    path = study_yaml("slow", engine={"workers": 2}, budget={"trials": 10}, constants={"seconds": 0.1})
    directory = runs / "toy"
    ended, answered, silent, failures = threading.Event(), [], [], []

    def send(seed):
        own = random.Random(seed)
        ways = {
            "pause": lambda: steer.pause(directory, own.random() < 0.5)[0],
            "resume": lambda: steer.resume(directory)[0],
            "extend": lambda: steer.extend(directory, {"trials": "+1"})[0],
            "kill": lambda: steer.kill(directory, [own.randrange(20)]),
            "stop": lambda: steer.stop(directory, own.random() < 0.5),
        }
        while not ended.is_set():
            way = own.choices(list(ways), [4, 12, 1, 4, 1])[0]
            try:
                answered.append((way, ways[way]()))
            except ControlError as error:
                silent.append((way, str(error)))
            except Exception as error:
                failures.append((way, error))
            time.sleep(own.uniform(0.0, 0.4))

    driver = start(path, runs)
    wait_until(lambda: (directory / layout.SPEC).exists())
    senders = [threading.Thread(target=send, args=(9100 + 10 * moment + k,)) for k in range(4)]
    for sender in senders:
        sender.start()
    kills = 0
    try:
        until = time.monotonic() + 40
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.5, 5.0))
            if driver.poll() is None and chance.random() < 0.7:
                driver.kill()
                kills += 1
            if driver.poll() is not None or chance.random() < 0.3:
                driver.kill()
                output = driver.communicate(timeout=PATIENCE)[0]
                assert "Traceback" not in output
                driver = start(path, runs)
    finally:
        ended.set()
        for sender in senders:
            sender.join()
        driver.kill()
        driver.communicate()
    assert not failures, failures
    budget = load_study(runs, "toy")[0].budget.trials
    done = sum(way == "extend" and answer.ok for way, answer in answered)
    # What was confirmed was done, once; what was not may have been done, by a driver that died before it said so.
    assert 10 + done <= budget <= 10 + done + sum(way == "extend" for way, _ in silent)
    steer.resume(directory)
    finish(path, runs)
    check_books(runs, budget)
    assert not leftover(processes_of(runs))
    with capfd.disabled():
        print(f"\n{len(answered)} requests answered, {len(silent)} not, {kills} kills; budget {budget} = 10 + {done}")
