from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from .conftest import Hpo, environment


@pytest.fixture
def served(finished):
    command = [sys.executable, "-m", "hpo", "dashboard", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    lines = [server.stdout.readline() for _ in range(4)]
    yield server, "".join(lines)
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=300)
    assert server.returncode == 0
    assert err == ""


def test_it_serves_the_study_on_this_machine_alone(served, runs):
    _, said = served
    page, *rest = said.splitlines()
    assert page.startswith("http://127.0.0.1:")
    assert page.endswith("/dashboard/studies/0")
    assert f"The same as: optuna-dashboard {runs / 'journal.log'}" in rest
    root = page.removesuffix("/dashboard/studies/0")
    with urllib.request.urlopen(page, timeout=300) as answer:
        assert b"Optuna Dashboard" in answer.read()
    with urllib.request.urlopen(f"{root}/api/studies", timeout=300) as answer:
        (study,) = json.load(answer)["study_summaries"]
    assert study["study_name"] == "toy"
    with urllib.request.urlopen(f"{root}/api/studies/0", timeout=300) as answer:
        detail = json.load(answer)
    trials = detail["trials"]
    assert [trial["state"] for trial in trials] == ["Complete"] * 4
    assert all(len(trial["intermediate_values"]) == 10 for trial in trials)
    (best,) = detail["best_trials"]
    assert best["number"] == max(trials, key=lambda trial: trial["values"][0])["number"]
    (row,) = [line for line in detail["note"]["body"].splitlines() if line.startswith("| all trials ")]
    assert row.split("|")[3].strip() == str(best["number"])


def test_a_taken_port_is_a_sentence(served, hpo: Hpo):
    port = int(served[1].split("/")[2].split(":")[1])
    said = hpo("dashboard", "toy", "--port", port)
    assert said.code == 1
    assert f"cannot listen on 127.0.0.1, port {port}: " in said.err
    assert f"Try --port {port + 1}" in said.err
