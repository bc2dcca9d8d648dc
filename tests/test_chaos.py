"""A study on a Ray cluster, with PostgreSQL and an MLflow server, while one of them is killed every few seconds."""

from __future__ import annotations

import collections
import random
import subprocess
import sys
import threading
import time

import pytest
from books import TPE, check_books, processes_of, start
from mlflow_reading import check_all_is_there, in_postgresql, parent_of
from ray_cluster import RayCluster
from servers import MlflowServer, PostgreSQL
from waiting import leftover

TRIALS, WORKERS, NODES = 200, 4, 2


@pytest.fixture
def database(tmp_path):
    folder = tmp_path / "postgresql"
    folder.mkdir()
    server = PostgreSQL(folder)
    yield server
    server.close()


@pytest.fixture
def mlflow(tmp_path, database):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    server = MlflowServer(folder, backend_uri=database.url("mlflow"))
    server.start()
    server.wait()
    yield server
    server.kill()


@pytest.fixture
def cluster(tmp_path):
    cluster = RayCluster(tmp_path)
    for _ in range(NODES):
        cluster.add(WORKERS // NODES)
    yield cluster
    cluster.close()


class Chaos:
    """Kills one of them at a time, and has it back a little later."""

    def __init__(self, seed, cluster, mlflow, database):
        self.killed = collections.Counter()
        self._chance = random.Random(seed)
        self._cluster = cluster
        self._mlflow = mlflow
        self._database = database

    def strike(self):
        what = self._chance.choice(["worker", "worker", "node", "mlflow", "database"])
        getattr(self, what)()
        self.killed[what] += 1

    def worker(self):
        """An actor of Ray, or the process that it keeps."""
        if workers := self._cluster.workers():
            self._chance.choice(workers).kill()

    def node(self):
        self._cluster.kill(self._chance.choice(self._cluster.nodes))
        self._cluster.add(WORKERS // NODES)

    def mlflow(self):
        self._mlflow.kill()
        time.sleep(self._chance.uniform(0.0, 2.0))
        self._mlflow.start()

    def back(self):
        """Afterwards: an MLflow server ends by itself if its database is away while it starts."""
        self._mlflow.kill()
        self._mlflow.start()
        self._mlflow.wait()

    def database(self):
        self._chance.choice([self._database.kill, lambda: self._database.stop("immediate"), self._database.stop])()
        time.sleep(self._chance.uniform(0.0, 2.0))
        self._database.start()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_doubled(study_yaml, runs, cluster, mlflow, database, capsys):
    path = study_yaml(
        "slow",
        engine={"name": "ray", "address": cluster.address, "workers": WORKERS, "retries": 3},
        budget={"trials": TRIALS},
        constants={"seconds": 0.1},
        storage=database.url("study"),
        mlflow=mlflow.url,
        **TPE,
    )
    chaos = Chaos(2026, cluster, mlflow, database)
    pause = random.Random(11)
    began = time.monotonic()
    driver = start(path, runs, cluster.environment)
    output = []
    reader = threading.Thread(target=lambda: output.extend(driver.stdout))
    reader.start()
    try:
        while driver.poll() is None:
            time.sleep(pause.uniform(2.0, 6.0))
            if driver.poll() is None:
                chaos.strike()
    finally:
        driver.kill()
        driver.wait()
        reader.join()
        driver.stdout.close()
    seconds = time.monotonic() - began
    said = "".join(output)
    assert driver.returncode == 0, said
    assert "Traceback" not in said
    trials, finished = check_books(runs, TRIALS)
    chaos.back()
    if synced := "--sync" in said:  # MLflow was away at the end, and this is what the run said to do
        sync = [sys.executable, "-m", "hpo", "mlflow", "toy", "--sync", "--runs", str(runs)]
        subprocess.run(sync, check=True, timeout=300)
    found = in_postgresql(database.url("mlflow"))
    print(said)
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"
    states = collections.Counter(trial.state.name for trial in finished)
    report = (runs / "toy" / "report.md").read_text()
    assert f"finished **{TRIALS} trials**" in report
    assert f"{states['COMPLETE']} complete, {states['PRUNED']} pruned" in report
    assert not leftover(processes_of(runs))
    lost = collections.Counter(trial.user_attrs["hpo:outcome"]["cause"] for trial in trials if trial not in finished)
    with capsys.disabled():
        print(f"\nkilled {dict(chaos.killed)} in {seconds:.0f} s; {dict(states)}; tried again {dict(lost)}; {synced=}")
