"""Outputs that are full, closed or gone: what was done stays done, and its exit code is its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hpo import layout

from .conftest import environment


def hpo_to(redirection: str, *args: object) -> subprocess.CompletedProcess[str]:
    """`hpo` under a shell that leads its output elsewhere."""
    command = [sys.executable, "-P", "-m", "hpo", *map(str, args)]
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *command], env=environment(), capture_output=True, text=True, timeout=300
    )


# A reader that leaves when it has the first line: one that is gone before that has the study not begin (test_run.py).
LEAVES = "| head -n 1; exit ${PIPESTATUS[0]}"
OTHERS = [">&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full", LEAVES, "--json >/dev/full"]


@pytest.mark.parametrize("redirection", [">/dev/full", *(pytest.param(one, marks=pytest.mark.slow) for one in OTHERS)])
def test_a_good_run_ends_well_wherever_its_output_goes(study_yaml, runs, redirection):
    done = hpo_to(redirection, "run", study_yaml(engine={"name": "inline"}), "--runs", runs)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (runs / "toy" / "report.html").is_file()
    assert "4 of 4 trials finished: 4 complete" in (runs / "toy" / layout.DRIVER_LOG).read_text()
    if redirection == ">/dev/full":
        assert "4 of 4 trials finished: 4 complete" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("report",), ("pause", "toy"), ("extend", "toy", "--trials", "+1"), ("delete", "toy", "--yes")]
)
def test_what_was_done_is_done_though_it_cannot_be_said(finished, runs, command):
    done = hpo_to(">/dev/full", *command, "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("best",), ("list",), ("--help",)])
def test_what_was_asked_for_and_cannot_be_printed_is_an_error(finished, runs, command):
    given = command if command == ("--help",) else (*command, "--runs", runs)
    failed = hpo_to(">/dev/full", *given)
    assert failed.returncode == 1
    assert failed.stderr == "hpo: what was asked for cannot be written: No space left on device\n"
    assert hpo_to(">&-", *given).returncode == 0
    assert hpo_to("| true; exit ${PIPESTATUS[0]}", *given).returncode in (0, 141)
