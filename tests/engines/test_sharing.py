"""Who gets which part of a GPU. The figures are made by hand: memory as a part of a GPU's, speeds in samples/s."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hpo.engines.gpu_packing import Packer
from hpo.engines.gpu_sharing import Measured, Sharing
from hpo.layout import HISTORY, trial_directory
from hpo.runner import run
from hpo.storage.history import read
from hpo.storage.load_study import load_study
from hpo.trial import OUT_OF_MEMORY, PREEMPTED, Job, ObjectiveRef, Outcome, Report


def job(number, width=8):
    return Job(number, {"width": width, "lr": 0.1}, 1, ObjectiveRef(), {}, Path("/nowhere"), ("score",))


class Machine:
    """Two GPUs, and trials that come, report and go."""

    def __init__(self):
        self.now = 0.0
        self.said = []
        self.sharing = Measured(Packer(["width"]), self.said.append, lambda: self.now)

    def start(self, number, gpu="0", width=8):
        share = self.sharing.fits(job(number, width), gpu, 0.25)
        if share is not None:
            self.sharing.started(job(number, width), gpu, share)
        return share

    def report(self, *numbers, memory=0.2, speed=100.0):
        self.now += 10
        for number in numbers:
            self.sharing.reported(Report(number, int(self.now), {"samples_per_second": speed}, self.now, memory))

    def end(self, number, **outcome):
        fields = {"state": "COMPLETE", "metrics": {"score": 1.0}} | outcome
        return self.sharing.ended(Outcome(number, **fields))


def test_a_share_of_the_yaml_is_as_it_says():
    sharing = Sharing()
    assert (sharing.fixed, sharing.share(job(0), 0.5), sharing.fits(job(0), "0", 0.5)) == (True, 0.5, 0.5)
    counted = Outcome(0, "COMPLETE", {"score": 1.0})
    assert sharing.ended(counted) == (counted, None)


def test_the_first_of_its_kind_is_alone_until_its_memory_is_known():
    machine = Machine()
    assert machine.start(0) == 1.0
    assert machine.start(1) is None
    assert machine.start(1, gpu="1") == 1.0
    machine.report(0)
    # Its speed alone is measured first: three times, of which the first had the start in it.
    for _ in range(3):
        assert machine.start(2) is None
        machine.report(0)
    assert machine.start(2) == 0.5
    assert machine.said == [
        "width=8: 2 trials share a GPU from now on (measuring the speed of 2 beside each other: 0 so far)"
    ]
    assert machine.start(3) is None
    # Another kind is alone again.
    machine.end(2)
    assert machine.start(4, width=16) is None


def test_speeds_of_a_gpu_whose_trials_have_changed_are_not_taken():
    machine = Machine()
    machine.start(0)
    for _ in range(4):
        machine.report(0)
    machine.start(1)
    machine.report(0, 1, speed=90.0)
    machine.end(1)
    machine.start(2)
    machine.report(0, 2, speed=90.0)
    # Each of these reports was the first with its company.
    assert "0 so far" in machine.said[-1]
    machine.report(0, 2, speed=90.0)
    machine.report(0, 2, speed=90.0)
    assert machine.said[-1].startswith("width=8: 4 trials share a GPU from now on")


def test_the_pieces_of_a_step_are_one_measurement():
    machine = Machine()
    packer = machine.sharing._packer
    machine.start(0)
    for step in range(1, 6):
        machine.now += 9
        machine.sharing.reported(Report(0, step, {"train_loss": 1.0}, machine.now, 0.2))
        machine.now += 1
        machine.sharing.reported(Report(0, step, {"val_loss": 1.0}, machine.now, 0.2))
    (group,) = packer._groups.values()
    assert [speed.rate for speed in group.speeds[1]] == [0.1] * len(group.speeds[1])
    assert len(group.speeds[1]) >= 3


def test_a_speed_in_a_later_piece_is_the_only_measure():
    machine = Machine()
    packer = machine.sharing._packer
    machine.start(0)
    for step in range(1, 6):
        machine.now += 10
        machine.sharing.reported(Report(0, step, {"train_loss": 1.0}, machine.now, 0.2))
        machine.sharing.reported(Report(0, step, {"samples_per_second": 64.0}, machine.now, 0.2))
    (group,) = packer._groups.values()
    assert {speed.rate for speed in group.speeds[1]} == {64.0}


def test_a_level_that_does_not_pay_is_left_for_good():
    machine = Machine()
    machine.start(0)
    for _ in range(4):
        machine.report(0)
    machine.start(1)
    for _ in range(3):
        machine.report(0, 1, speed=52.0)
    assert machine.said[-1] == (
        "width=8: one trial has a GPU from now on (2 beside each other do 1.04 times the work of one alone, "
        "too little to pay (1.1))"
    )
    machine.end(0)
    machine.end(1)
    assert machine.start(2) == 1.0
    assert machine.start(3) is None


def test_the_share_held_at_the_end_is_what_counts_as_gpu_time():
    machine = Machine()
    machine.start(0)
    assert machine.end(0)[1] == 1.0
    machine.start(1)
    for _ in range(4):
        machine.report(1)
    assert machine.end(1)[1] == 0.5


def test_out_of_memory_beside_others_is_not_the_configurations_doing():
    machine = Machine()
    machine.start(0)
    for _ in range(4):
        machine.report(0)
    machine.start(1)
    full = {"state": "PRUNED", "metrics": {}, "cause": OUT_OF_MEMORY, "reason": "out of memory: 2 GiB"}
    counted, held = machine.end(1, **full)
    assert (counted.state, counted.cause, held) == ("FAIL", PREEMPTED, 0.5)
    assert counted.reason == "out of memory: 2 GiB, with 0.5 of a GPU; it is tried again with more of one"
    machine.end(0)
    assert machine.start(2) == 1.0
    counted, held = machine.end(2, **full)
    assert (counted.state, counted.cause, held) == ("PRUNED", OUT_OF_MEMORY, 1.0)


def test_a_trial_that_was_lost_before_it_was_heard_of():
    counted, held = Machine().end(7, state="FAIL", metrics={}, cause=PREEMPTED, reason="its node was lost")
    assert (counted.cause, held) == (PREEMPTED, None)


def test_where_nobody_knows_the_memory_each_gpu_has_one_trial(make_spec, runs, monkeypatch):
    """On CPUs torch says nothing of memory: as many workers as fit a GPU at most, but one trial at a time on each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    engine = {"name": "local", "cpu": 1, "gpu": "auto"}
    run(make_spec("gpu_of", budget={"trials": 8}, engine=engine), runs)
    spans = {}
    for trial in load_study(runs, "toy")[1].trials:
        folder = trial_directory(runs / "toy", trial.number)
        times = [step.time for step in read(folder / HISTORY)]
        spans.setdefault((folder / "gpu.txt").read_text(), []).append((min(times), max(times)))
        assert trial.user_attrs["hpo:outcome"]["gpu_seconds"] == trial.user_attrs["hpo:outcome"]["seconds"]
    assert spans.keys() == {"0", "1"}
    for one in spans.values():
        one.sort()
        assert all(earlier[1] < later[0] for earlier, later in pairwise(one))
