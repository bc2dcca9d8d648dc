"""Packing trials on GPUs by what they show."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.engines.gpu_packing import GAIN, LEVELS, MARGIN, Packer, Row

UNET: dict[str, Any] = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}

# Made by hand, not measured: no GPU was at hand. Samples a second of one trial with 1, 2 and 4 on the GPU, and the
# part of its memory that one takes, each standing for a kind of training met in practice.
FIGURES: dict[str, tuple[float, dict[int, float], int, str]] = {
    # A network that keeps every multiprocessor busy: two take turns, and each has half.
    "large U-Net, batch 16": (0.21, {1: 412.0, 2: 207.0, 4: 102.0}, 1, "2 beside each other do 1.00 times"),
    # A small CNN that waits for its host to launch kernels: neighbours fill the gaps.
    "small CNN, batch 32": (0.06, {1: 3100.0, 2: 2900.0, 4: 1900.0}, 4, "4 beside each other do 1.31 times"),
    # Two fill the GPU: 2 x 640 is 1.42 of one's 900, but 4 x 330 only 1.03 of that.
    "ResNet on spectrograms": (0.12, {1: 900.0, 2: 640.0, 4: 330.0}, 2, "4 beside each other do 1.03 times"),
    # Four would pay, but only two fit: 4 x 0.3 is more than there is.
    "1-D U-Net, batch 64": (0.30, {1: 520.0, 2: 470.0, 4: 390.0}, 2, "4 do not fit: one takes 30 %"),
    # Decoding on the host is the bottleneck: packing only divides the cores.
    "loader-bound": (0.05, {1: 250.0, 2: 131.0, 4: 60.0}, 1, "2 beside each other do 1.05 times"),
}


def run_through(packer: Packer, params: Mapping[str, Any], memory: float, speeds: Mapping[int, float]) -> list[int]:
    """Trials of a group, three reports each, always as many side by side as it asks for; its levels on the way."""
    levels = []
    for number in range(12):
        level = round(1 / packer.share(params))
        for _ in range(3):
            packer.reported(number, params, memory, speeds[level], level)
        packer.finished(number, params, memory, out_of_memory=False)
        levels.append(level)
    return levels


def only(packer: Packer) -> Row:
    (row,) = packer.rows()
    return row


@pytest.mark.parametrize("name", FIGURES)
def test_what_the_figures_of_known_kinds_of_training_lead_to(name: str) -> None:
    memory, speeds, level, why = FIGURES[name]
    packer = Packer(["architecture"])
    levels = run_through(packer, UNET, memory, speeds)
    row = only(packer)
    assert (row.group, row.peak, row.level) == ('architecture="unet"', memory, level)
    assert why.replace(" %", "%") in row.why
    assert levels[0] == 1
    assert levels[-6:] == [level] * 6
    assert row.rates == {tried: speeds[tried] for tried in set(levels)}


def test_a_group_is_its_structural_parameters() -> None:
    packer = Packer(["architecture", "base_width", "batch_size"])
    assert packer.group({"batch_size": 8, "architecture": "unet"}) == 'architecture="unet", batch_size=8'
    assert packer.group({"architecture": "8"}) != packer.group({"architecture": 8})
    assert packer.group({"architecture": True}) != packer.group({"architecture": 1})
    assert packer.group({"architecture": "unet", "lr": 0.1}) == packer.group({"architecture": "unet", "lr": 0.2})
    assert packer.group({"lr": 0.1}) == Packer([]).group({"architecture": "unet"}) == "all trials"


def test_the_first_trial_is_alone_until_its_memory_is_known() -> None:
    packer = Packer(["architecture"])
    assert packer.alone(UNET)
    assert packer.share(UNET) == 1.0
    for _ in range(9):
        packer.reported(0, UNET, None, 100.0, 1)
    assert packer.alone(UNET)
    assert packer.share(UNET) == 1.0
    assert "not known" in only(packer).why
    packer.reported(0, UNET, 0.1, 100.0, 1)
    assert not packer.alone(UNET)
    assert packer.share(UNET) == 0.5
    assert packer.alone({**UNET, "architecture": "attention_unet"})


def test_a_level_is_judged_by_three_speeds_of_a_gpu_as_full_as_it_asks_for() -> None:
    packer = Packer([])
    for rate, neighbours in ((100.0, 1), (None, 1), (100.0, None), (100.0, 3), (float("nan"), 1), (0.0, 1), (100.0, 1)):
        packer.reported(0, {}, 0.1, rate, neighbours)
        assert packer.share({}) == 1.0
    assert only(packer).why == "measuring the speed of one alone: 2 so far"
    packer.reported(0, {}, 0.1, 100.0, 1)
    assert packer.share({}) == 0.5
    for _ in range(2):
        packer.reported(1, {}, 0.1, 90.0, 2)
    packer.reported(1, {}, 0.1, 1.0, 1)
    packer.reported(1, {}, 0.1, 1.0, 3)
    assert packer.share({}) == 0.5
    assert only(packer).why == "measuring the speed of 2 beside each other: 2 so far"
    packer.reported(1, {}, 0.1, 90.0, 2)
    assert packer.share({}) == 0.25


def test_a_level_pays_from_a_tenth_more_work_on() -> None:
    for rate, share in ((55.0, 0.25), (54.9, 1.0)):
        packer = Packer([])
        for number, each, neighbours in ((0, 100.0, 1), (1, rate, 2)):
            for _ in range(3):
                packer.reported(number, {}, 0.1, each, neighbours)
        assert packer.share({}) == share


def test_speeds_are_compared_between_trials_with_the_same_batch_size() -> None:
    """A GPU that waits for its host: samples a second grow with the batch, and a second trial costs nothing."""
    packer = Packer(["architecture"])
    large, small = {**UNET, "batch_size": 32}, {**UNET, "batch_size": 8}
    for _ in range(3):
        packer.reported(0, large, 0.1, 3200.0, 1)
    # By all speeds, 2 x 800 against 3200 would not pay.
    for _ in range(5):
        packer.reported(1, small, 0.1, 800.0, 2)
    assert packer.share(UNET) == 0.5
    for _ in range(3):
        packer.reported(2, {**large, "learning_rate": 3e-4}, 0.1, 3200.0, 2)
    assert packer.share(UNET) == 0.25
    assert only(packer).rates == {1: 3200.0, 2: 800.0}


def test_unlike_trials_are_compared_when_no_like_ones_come() -> None:
    packer = Packer([])
    for number in range(3):
        packer.reported(number, {"units": number}, 0.1, 100.0, 1)
    for number in range(3, 6):
        packer.reported(number, {"units": number}, 0.1, 60.0, 2)
    assert packer.share({}) == 0.5
    packer.reported(6, {"units": 6}, 0.1, 60.0, 2)
    assert packer.share({}) == 0.25


@pytest.mark.parametrize(("peak", "level"), [(0.0, 4), (0.2272, 4), (0.2273, 2), (0.4545, 2), (0.4546, 1), (0.99, 1)])
def test_as_many_as_fit_with_a_margin(peak: float, level: int) -> None:
    """1 / (4 x 1.1) = 0.22727..., 1 / (2 x 1.1) = 0.45454..."""
    packer = Packer([])
    run_through(packer, {}, peak, {1: 100.0, 2: 100.0, 4: 100.0})
    assert only(packer).level == level


def test_a_peak_that_grows_lowers_the_level_for_good() -> None:
    packer = Packer([])
    run_through(packer, {}, 0.2, {1: 100.0, 2: 100.0, 4: 100.0})
    assert packer.share({}) == 0.25
    packer.reported(20, {}, 0.3, None, None)
    assert packer.share({}) == 0.5
    packer.finished(20, {}, 0.6, out_of_memory=False)
    assert packer.share({}) == 1.0
    run_through(packer, {}, 0.1, {1: 100.0, 2: 100.0, 4: 100.0})
    assert packer.share({}) == 1.0
    assert only(packer).peak == 0.6
    assert "2 do not fit: one takes 60% of a GPU's memory" in only(packer).why


def test_running_out_of_memory_in_a_share_is_the_packings_doing() -> None:
    packer = Packer([])
    run_through(packer, {}, 0.2, {1: 100.0, 2: 100.0, 4: 100.0})
    # Three neighbours were started together and fail together: one step down, not three.
    assert [packer.finished(number, {}, None, True, share=0.25) for number in (20, 21, 22)] == [True] * 3
    assert packer.share({}) == 0.5
    assert "out of memory in 1/4 of a GPU" in only(packer).why
    assert packer.finished(23, {}, None, True)
    assert packer.share({}) == 1.0
    # In a whole GPU it is the configuration that is too large.
    assert not packer.finished(24, {}, None, True, share=1.0)
    assert not packer.finished(25, {}, None, True)
    assert not packer.finished(26, {}, None, False, share=0.5)


def test_running_out_of_memory_while_a_level_is_tried_ends_the_trial_of_it() -> None:
    packer = Packer([])
    for _ in range(3):
        packer.reported(0, {}, 0.1, 100.0, 1)
    assert packer.share({}) == 0.5
    assert packer.finished(1, {}, None, True, share=0.5)
    assert packer.share({}) == 1.0
    for _ in range(9):
        packer.reported(2, {}, 0.1, 100.0, 2)
    assert packer.share({}) == 1.0


def test_the_memory_of_earlier_trials_spares_a_restart_the_lonely_one() -> None:
    packer = Packer([])
    packer.finished(0, {}, 0.3, out_of_memory=False)
    assert not packer.alone({})
    assert packer.share({}) == 1.0
    packer.finished(1, {}, 0.6, out_of_memory=False)
    assert only(packer).why == "2 do not fit: one takes 60% of a GPU's memory"


SPEEDS = st.fixed_dictionaries({level: st.floats(1.0, 1000.0) for level in LEVELS})


@given(memory=st.floats(0.0, 1.0), speeds=SPEEDS)
def test_noiseless_speeds_lead_to_the_level_that_the_rule_names(memory: float, speeds: dict[int, float]) -> None:
    packer = Packer([])
    levels = run_through(packer, {}, memory, speeds)
    expected = 1
    for low, high in itertools.pairwise(LEVELS):
        if high * memory * (1 + MARGIN) > 1 or high * speeds[high] / (low * speeds[low]) < GAIN:
            break
        expected = high
    assert levels[-1] == expected


@given(
    speeds=st.lists(st.tuples(st.integers(0, 5), st.floats(1.0, 1000.0), st.sampled_from([1, 2, 3, 4, None]))),
    memories=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)).map(sorted),
)
def test_more_memory_never_means_more_neighbours(
    speeds: list[tuple[int, float, int | None]], memories: Sequence[float]
) -> None:
    small, large = Packer([]), Packer([])
    for number, rate, neighbours in speeds:
        small.reported(number, {}, memories[0], rate, neighbours)
        large.reported(number, {}, memories[1], rate, neighbours)
        assert large.share({}) >= small.share({})


@dataclass
class _Trial:
    number: int
    params: dict[str, Any]
    share: float
    left: int
    settled_in: bool = False


class _Machine:
    """GPUs that go by a Packer as an engine does, in steps of one report. A trial that needs more memory than its
    share runs out of it."""

    def __init__(self, gpus: int, need: Mapping[str, float], speeds: Mapping[str, Mapping[int, float]]) -> None:
        self.packer = Packer(["model"])
        self.gpus: list[list[_Trial]] = [[] for _ in range(gpus)]
        self.need = need
        self.speeds = speeds
        self.levels: dict[str, list[float]] = {model: [1.0] for model in need}

    def place(self, number: int, params: dict[str, Any], length: int) -> bool:
        wanted = self.packer.share(params)
        for gpu in self.gpus:
            if not gpu or (not self.packer.alone(params) and sum(trial.share for trial in gpu) + wanted <= 1):
                gpu.append(_Trial(number, params, wanted, length))
                return True
        return False

    def step(self) -> list[_Trial]:
        """Every trial reports once. Returns those that the packing made run out of memory."""
        again = []
        for gpu in self.gpus:
            assert sum(trial.share for trial in gpu) <= 1
            count, stayed = len(gpu), all(trial.settled_in for trial in gpu)
            for trial in list(gpu):
                trial.left -= 1
                if self.memory(trial) > trial.share:
                    gpu.remove(trial)
                    if self.packer.finished(trial.number, trial.params, None, True, trial.share):
                        again.append(trial)
                    continue
                rate = self.speeds[trial.params["model"]].get(count, 1.0)
                self.packer.reported(trial.number, trial.params, self.memory(trial), rate, count if stayed else None)
                if trial.left <= 0:
                    gpu.remove(trial)
                    self.packer.finished(trial.number, trial.params, None, out_of_memory=False)
            for trial in gpu:
                trial.settled_in = len(gpu) == count
        for model, levels in self.levels.items():
            share = self.packer.share({"model": model})
            if share != levels[-1]:
                levels.append(share)
        return again

    def memory(self, trial: _Trial) -> float:
        """A larger batch takes more, up to all that the model needs at most."""
        return self.need[trial.params["model"]] * trial.params["batch"] / 4


MODELS = st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(0.01, 1.0), SPEEDS), min_size=1)


@settings(max_examples=60, deadline=None)
@given(models=MODELS, gpus=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_memory_is_never_given_out_twice_and_levels_settle(
    models: dict[str, tuple[float, dict[int, float]]], gpus: int, seed: int
) -> None:
    draw = random.Random(seed)
    machine = _Machine(gpus, {m: need for m, (need, _) in models.items()}, {m: s for m, (_, s) in models.items()})
    waiting = [
        _Trial(number, {"model": draw.choice(sorted(models)), "batch": draw.choice([1, 2, 4])}, 0.0, draw.randint(1, 6))
        for number in range(60)
    ]
    steps = 0
    while waiting or any(machine.gpus):
        # In the order of the queue: the first that finds no place waits, and nobody overtakes it.
        while waiting and machine.place(waiting[0].number, waiting[0].params, waiting[0].left):
            waiting.pop(0)
        for trial in machine.step():
            trial.left = max(trial.left, 1)
            waiting.insert(0, trial)
        steps += 1
        assert steps < 2000
    for levels in machine.levels.values():
        # Up to the highest level at most, and down at most once from each: never up again after a step down.
        downs = [later > earlier for earlier, later in itertools.pairwise(levels)]
        assert downs == sorted(downs)
        assert len(downs) <= 2 * (len(LEVELS) - 1)
    for row in machine.packer.rows():
        assert row.level == 1 or row.level * row.peak * (1 + MARGIN) <= 1
