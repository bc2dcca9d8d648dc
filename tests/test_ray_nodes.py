"""Nodes that leave: taken away with notice (spot instances), and in Ray's own cluster for tests."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest
from books import check_books, start
from ray_cluster import RayCluster
from test_ray_kills import training

KEYS = {"budget": {"trials": 6}, "constants": {"seconds": 0.8}}


@pytest.mark.slow
def test_a_node_that_is_taken_away_costs_no_retry(study_yaml, runs, tmp_path):
    cluster = RayCluster(tmp_path)
    try:
        cluster.add()
        cluster.add()
        engine = {"name": "ray", "address": cluster.address, "workers": 2, "retries": 0}
        driver = start(study_yaml("slow", engine=engine, **KEYS), runs, cluster.environment)
        while len(training(cluster, driver)) < 4:  # an actor and its worker on either node
            time.sleep(0.1)
        cluster.preempt()
        output = driver.communicate(timeout=300)[0]
        assert driver.returncode == 0, output
        trials, finished = check_books(runs, 6)
        assert {trial.state.name for trial in finished} == {"COMPLETE"}
        # Ray may itself start a preempted actor again elsewhere: then its trial goes on as if nothing had been.
        lost = [trial.user_attrs["hpo:outcome"] for trial in trials if trial not in finished]
        assert {outcome["cause"] for outcome in lost} <= {"preempted"}, output
    finally:
        cluster.close()


@pytest.mark.slow
def test_in_a_cluster_of_rays_own_a_node_dies(study_yaml, runs):
    """`ray.cluster_utils.Cluster`, in a process of its own, since it is the Ray of its process."""
    path = study_yaml("slow", engine={"name": "ray", "workers": 2, "retries": 0}, **KEYS)
    script = f"""
        from pathlib import Path
        from ray.cluster_utils import Cluster
        from hpo.runner import run
        from hpo.spec.load import load_spec
        from hpo.trackers.base import Tracker

        cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 0}})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.connect()

        class NodeDies(Tracker):
            reports = 0

            def reported(self, number, step, metrics):
                self.reports += 1
                if self.reports == 15:
                    cluster.remove_node(nodes[0], allow_graceful=False)

        result = run(load_spec({str(path)!r}), Path({str(runs)!r}), [NodeDies()])
        assert result.progress.requeued == 1, result
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    trials, finished = check_books(runs, 6)
    assert {t.user_attrs["hpo:outcome"]["cause"] for t in trials if t not in finished} == {"preempted"}
