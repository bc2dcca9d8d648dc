"""Trials that wait at a rung while nobody drives their study."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from books import check_books

from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import waits
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome

from .conftest import Hpo


class InterruptAfter(Tracker):
    """Sends the process SIGINT as the n-th trial ends."""

    def __init__(self, n: int) -> None:
        self._left = n

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_study_is_in_order_and_ends_as_one_that_was_not(
    hpo: Hpo, study_yaml: Callable[..., Path], runs: Path
) -> None:
    keys = {
        "pruner": {"name": "halving"},
        "budget": {"trials": 16},
        "enqueue": [{"x": (7 * k % 16) / 16} for k in range(16)],  # a resumed sampler draws others
        "constants": {"seconds": 0},
        "engine": "inline",
    }
    run(load_spec(study_yaml("slow", name="whole", **keys)), runs)
    spec = load_spec(study_yaml("slow", **keys))
    assert run(spec, runs, [InterruptAfter(9)]).interrupted
    waiting = [trial.number for trial in load_study(runs, "toy")[1].trials if waits(trial)]
    assert waiting
    status = json.loads(hpo("status", "toy", "--json").out)
    assert status["finished"] == status["pruned"] + status["complete"] == 9
    assert status["at_rung"] == len(waiting)
    assert f" {len(waiting)} of the pruned wait" in hpo("status", "toy").out
    assert json.loads(hpo("doctor", "toy", "--json").out)["findings"] == []
    assert json.loads(hpo("doctor", "toy", "--fix", "--json").out)["findings"] == []
    assert hpo("logs", "toy", "--trial", waiting[0], "--follow").code == 0
    run(spec, runs)
    check_books(runs, 16)
    toy, whole = (
        sorted(str(t.intermediate_values) for t in load_study(runs, name)[1].trials) for name in ("toy", "whole")
    )
    assert toy == whole
