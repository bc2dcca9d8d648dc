"""SIGKILL after SIGKILL to whatever belongs to a study, on a journal, on SQLite and on Ray: the books stay exact, and
the doctor finds nothing but files that a dead process was writing.

HPO_ROUNDS sets the number of rounds, HPO_SEED the seed of the first: `HPO_SEED=17 HPO_ROUNDS=1` repeats round 17.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import time

import psutil
import pytest
from books import TPE, TRIALS, check_books, finish, processes_of, start
from ray_cluster import RayCluster
from waiting import leftover

from hpo.doctor.examine import examine

ROUNDS = int(os.environ.get("HPO_ROUNDS", "15"))
FIRST = int(os.environ.get("HPO_SEED", "0"))
# Of five rounds in a row.
PLACES = ("journal", "sqlite", "journal", "sqlite", "ray")
NODES = 2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = RayCluster(tmp_path_factory.mktemp("ray"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def tally(request):
    """Rounds and kills of each kind, printed in the end."""
    counts = collections.defaultdict(collections.Counter)
    yield counts
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for place, found in sorted(counts.items()):
            print(f"\n{place:10}" + ", ".join(f"{what} {n}" for what, n in sorted(found.items())), end="")
        print()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + ROUNDS))
def test_nothing_is_lost_or_doubled(study_yaml, runs, tally, request, seed):
    chance, place = random.Random(7000 + seed), PLACES[seed % len(PLACES)]
    keys = {"engine": {"workers": 2, "retries": 3}, "constants": {"seconds": 0.03}, **TPE}
    environment, cluster = {}, None
    if place == "sqlite":
        keys["storage"] = "sqlite:///study.db"
    if place == "ray":
        cluster = request.getfixturevalue("cluster")
        while len(cluster.nodes) < NODES:
            cluster.add()
        environment = cluster.environment
        keys["engine"] |= {"name": "ray", "address": cluster.address}
    path = study_yaml("slow", budget={"trials": TRIALS}, **keys)
    counts = tally[place]
    counts["rounds"] += 1
    for _ in range(chance.randint(2, 4)):
        driver = start(path, runs, environment)
        for _ in range(chance.randint(1, 2)):
            # From before the first trial to while the report is being written.
            time.sleep(chance.uniform(0.2, 8.0 if cluster else 2.5))
            counts[strike(chance, driver, runs, cluster)] += 1
        if driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
            counts["driver"] += 1
        driver.communicate()
    output = finish(path, runs, environment)
    assert "Traceback" not in output
    check_books(runs, TRIALS)
    assert not leftover(processes_of(runs))
    found = [one.finding for one in examine(runs, ["toy"], fix=True)]
    counts["half-written file"] += len(found)
    assert {finding.check for finding in found} <= {"half-written"}, found
    assert examine(runs, ["toy"], fix=False) == []


def strike(chance, driver, runs, cluster):
    """End a process of the study, or many at once, as a kernel without memory or a power cut does; return which."""
    what = chance.choice(["driver", "worker", "group", "everything"] + ["node", "raylet", "worker"] * bool(cluster))
    if what == "driver":
        driver.kill()
    elif what == "worker":
        workers = cluster.workers() if cluster else [one for one in processes_of(runs) if one.pid != driver.pid]
        if not workers:
            return "nothing"
        kill([chance.choice(workers)])
    elif what == "group":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    elif what == "everything":
        kill([*processes_of(runs), *(cluster.workers() if cluster else [])])
    elif what == "node":
        cluster.kill(chance.choice(cluster.nodes))
        cluster.add()
    elif what == "raylet":
        node = chance.choice(cluster.nodes)
        kill([one for one in psutil.Process(node.pid).children(recursive=True) if one.name() == "raylet"])
        # Without its raylet the rest of a node ends by itself.
        cluster.kill(node)
        cluster.add()
    return what


def kill(processes):
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
