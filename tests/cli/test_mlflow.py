from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import psutil
import pytest
from mlflow_reading import check_all_is_there, in_file
from waiting import leftover

from hpo.storage.load_study import load_study

from .conftest import Hpo, environment


def serve(*arguments: object) -> tuple[subprocess.Popen[str], list[str]]:
    """`hpo mlflow` as it becomes `mlflow server`, and the lines that it printed first."""
    command = [sys.executable, "-m", "hpo", "mlflow", *map(str, arguments)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    lines = [server.stdout.readline().strip() for _ in range(4)]
    assert all(lines[index] for index in (0, 2, 3)), server.communicate()[1]
    until = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{lines[0].partition('/#')[0]}/health", timeout=5):
            return server, lines
        time.sleep(0.1)
    server.kill()
    raise AssertionError(server.communicate()[1])


@pytest.fixture
def synced(finished, hpo_process: Hpo, monkeypatch: pytest.MonkeyPatch, runs):
    """A study that ran untracked, then written to the default store and served."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    said = hpo_process("mlflow", "--sync")
    store = f"sqlite:///{runs}/mlflow.db"
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "wrote 1 missing parent run",
        "wrote 4 missing runs",
        f"MLflow at {store} now equals study 'toy'",
    ]
    said = hpo_process("mlflow", "toy", "--sync")
    assert (said.code, said.out, said.err) == (0, f"MLflow at {store} equals study 'toy'\n", "")
    server, lines = serve("--port", 0)
    yield server, lines
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    server.communicate(timeout=300)


def ask(page: str, path: str, host: str | None = None, **body: object):
    root = page.partition("/#")[0]
    headers = {"Content-Type": "application/json", "Origin": root} | ({"Host": host} if host else {})
    request = urllib.request.Request(f"{root}/{path}", data=json.dumps(body).encode() or None, headers=headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_sync_writes_an_untracked_study_and_its_page_compares_the_trials(synced, runs, hpo: Hpo, hpo_process: Hpo):
    server, (page, _, same, _) = synced
    assert same == f"The same as: mlflow ui --backend-store-uri sqlite:///{runs}/mlflow.db"
    check_all_is_there(runs, "toy", in_file(runs / "mlflow.db"))
    assert re.match(r"http://127\.0\.0\.1:\d+/#/experiments/\d+/runs\?", page)
    shown = dict(urllib.parse.parse_qsl(page.partition("?")[2]))
    assert shown["workflowType"] == "machine_learning"
    with urllib.request.urlopen(page, timeout=300) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    for host in ("evil.example", "10.evil.example", "192.168.evil.example"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(page, "ajax-api/2.0/mlflow/experiments/search", host=host, max_results=1)
    # What the page itself asks for: the trials, the best first.
    (number,) = re.findall(r"/experiments/(\d+)/", page)
    order = f"{shown['orderByKey']} {'ASC' if shown['orderByAsc'] == 'true' else 'DESC'}"
    search = {"experiment_ids": [number], "filter": shown["searchFilter"], "order_by": [order]}
    found = ask(page, "ajax-api/2.0/mlflow/runs/search", **search)["runs"]
    ranked = sorted(load_study(runs, "toy")[1].trials, key=lambda trial: -trial.value)
    assert [run["info"]["run_name"] for run in found] == [f"trial {trial.number}" for trial in ranked]
    children = [run["data"] for run in found]
    assert all({metric["key"] for metric in run["metrics"]} >= {"score", "final/score"} for run in children)
    assert all([param["key"] for param in run["params"]] == ["x"] for run in children)

    port = int(page.split(":")[2].split("/")[0])
    taken = hpo("mlflow", "toy", "--port", port)
    assert taken.code == 1
    assert f"MLflow cannot listen on 127.0.0.1, port {port}: " in taken.err
    assert f"Try --port {port + 1}" in taken.err

    started = psutil.Process(server.pid).children(recursive=True)
    assert started
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=300)
    assert server.returncode == 0
    assert leftover(started) == []

    deleted = hpo_process("delete", "toy", "--yes")
    assert (deleted.code, deleted.err) == (0, "")
    assert deleted.out.splitlines()[0] == "deleted study 'toy' (4 trials); 5 runs of it went to MLflow's trash"
    assert {run.stage for run in in_file(runs / "mlflow.db")} == {"deleted"}
    restored = hpo_process("restore", "toy")
    assert (restored.code, restored.err) == (0, "")
    assert {run.stage for run in in_file(runs / "mlflow.db")} == {"active"}
    assert hpo_process("mlflow", "toy", "--sync").out == f"MLflow at sqlite:///{runs}/mlflow.db equals study 'toy'\n"


def test_a_study_that_was_not_tracked_is_a_sentence(finished, hpo: Hpo):
    said = hpo("mlflow", "toy")
    assert said.code == 1
    assert said.err == ("hpo: study 'toy' was not tracked in MLflow; `hpo mlflow toy --sync` writes all of it there\n")
    assert hpo("mlflow", "toi").code == 2


def test_a_server_that_does_not_answer_is_a_sentence(finished, hpo: Hpo, runs):
    (runs / "toy" / "mlflow.json").write_text(
        json.dumps({"key": "k", "tracking_uri": "http://127.0.0.1:9", "experiment": "toy"})
    )
    said = hpo("mlflow", "toy", "--sync")
    assert (said.code, said.out) == (1, "")
    assert said.err == "hpo: MLflow at http://127.0.0.1:9 cannot be written: connection refused\n"
    said = hpo("mlflow", "toy")
    assert said.code == 1
    assert said.err == "hpo: MLflow at http://127.0.0.1:9 cannot be read: connection refused\n"
    deleted = hpo("delete", "toy", "--yes")
    assert deleted.code == 0
    assert deleted.out.splitlines()[0] == (
        "deleted study 'toy' (4 trials); its runs in MLflow stay: MLflow at http://127.0.0.1:9 cannot be written: "
        "connection refused"
    )


def test_asked_to_listen_elsewhere_it_answers_to_the_names_of_this_machine():
    from hpo.cli.mlflow import _environment

    given = _environment("sqlite:////x.db", "gpu-machine", 5001)
    assert "gpu-machine:*" in given["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert "localhost:*" in given["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert "http://gpu-machine:5001" in given["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    local = _environment("sqlite:////x.db", "127.0.0.1", 5001)
    assert local["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:*,[[]::1]:*,localhost:*"
