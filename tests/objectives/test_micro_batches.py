"""Batches that do not fit into memory, done in parts. Memory is as large as a test says: a network that is given more
samples at once raises what torch does."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Interrupted, Job, ObjectiveRef, Trial
from objectives.audio_angle.objective import parts_of
from objectives.losses.dice import dice_loss
from objectives.losses.ghm import GHMC
from objectives.losses.ghm_ranking import GHMRankingLoss
from objectives.micro_batches import Batch, MicroBatches, Result
from objectives.training import Problem, Settings, fit
from tests.objectives.test_training import Listener, trial_in
from tests.objectives.trials import without_clocks


@pytest.fixture(autouse=True)
def _little_garbage() -> Iterator[None]:
    """Every failed try collects garbage: here not among all that the test session has loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


class Small(nn.Module):
    """A network in a memory of `room` samples; keeps how many it was given each time."""

    def __init__(self, network: nn.Module, room: int) -> None:
        super().__init__()
        self.network, self.room = network, room
        self.given: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(x)} GiB.")
        return self.network(x)


class FullInBackward(torch.autograd.Function):
    """Nothing, until gradients of more than `room` samples come back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, room: int) -> Tensor:
        ctx.room = room
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if len(gradient) > ctx.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient, None


def differentiated(network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Batch, float], Result]:
    def forward(part: Batch, share: float) -> Result:
        found = network(part[0]).squeeze(1)
        value = loss(found, part[1])
        (share * value).backward()
        return {"loss": value, "mean": found.mean()}, {"found": found, "row": part[1]}

    return forward


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(10, 4, generator=generator).double(), (torch.rand(10, generator=generator) > 0.4).double()


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("room", [10, 9, 4, 2, 1])
def test_a_mean_has_the_same_gradients_in_parts(network: nn.Module, batch: Batch, room: int) -> None:
    F.mse_loss(network(batch[0]).squeeze(1), batch[1]).backward()
    whole = gradients(network)
    small = Small(network, room)
    micro = MicroBatches((small,), halving=True)
    scalars, outputs = micro.run(batch, differentiated(small, F.mse_loss), network.zero_grad)
    torch.testing.assert_close(gradients(network), whole, rtol=1e-12, atol=0)
    with torch.no_grad():
        found = network(batch[0]).squeeze(1)
    torch.testing.assert_close(outputs, {"found": found, "row": batch[1]}, rtol=1e-12, atol=0)
    torch.testing.assert_close(scalars, {"loss": F.mse_loss(found, batch[1]), "mean": found.mean()}, rtol=1e-12, atol=0)
    assert not any(value.requires_grad for value in (*scalars.values(), *outputs.values()))
    tried = {10: [10], 9: [10, 5, 5], 4: [10, 5, 3, 3, 2, 2], 2: [10, 5, 3, *[2] * 5], 1: [10, 5, 3, 2, *[1] * 10]}
    assert small.given == tried[room]
    assert micro.limit == {10: None, 9: 5, 4: 3, 2: 2, 1: 1}[room]


def test_gradients_of_parts_that_fitted_are_not_counted_twice(network: nn.Module, batch: Batch) -> None:
    """The second half fails after the first has left its gradients."""
    F.mse_loss(network(batch[0]).squeeze(1), batch[1]).backward()
    whole = gradients(network)
    differentiate, calls = differentiated(network, F.mse_loss), iter((False, True, False, False, False, False))
    micro = MicroBatches((network,), halving=True)
    micro.limit = 5

    def forward(part: Batch, share: float) -> Result:
        if next(calls):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return differentiate(part, share)

    micro.run(batch, forward, network.zero_grad)
    assert micro.limit == 3
    torch.testing.assert_close(gradients(network), whole, rtol=1e-12, atol=0)


def test_another_loss_is_the_mean_of_its_parts(network: nn.Module, batch: Batch) -> None:
    """Dice of 10 samples in parts of 5 and 5, and of 7 (the limit stays) in 4 and 3, by hand."""
    small = Small(network, 5)
    micro = MicroBatches((small,), halving=True)
    for rows, shares in (((0, 5, 10), (0.5, 0.5)), ((0, 4, 7), (4 / 7, 3 / 7))):
        network.zero_grad()
        parts = [slice(a, b) for a, b in pairwise(rows)]
        by_hand = sum(
            share * dice_loss(network(batch[0][part]).squeeze(1), batch[1][part])
            for share, part in zip(shares, parts, strict=True)
        )
        by_hand.backward()
        expected = gradients(network)
        first = tuple(tensor[: rows[-1]] for tensor in batch)
        scalars, _ = micro.run(first, differentiated(small, dice_loss), network.zero_grad)
        torch.testing.assert_close(gradients(network), expected, rtol=1e-12, atol=1e-16)
        torch.testing.assert_close(scalars["loss"], by_hand.detach(), rtol=1e-12, atol=0)
    assert small.given == [10, 5, 5, 4, 3]


@given(samples=st.integers(1, 300), limit=st.integers(1, 300), normalised=st.booleans())
def test_parts_are_even_and_within_the_limit(samples: int, limit: int, normalised: bool) -> None:
    micro = MicroBatches([nn.BatchNorm1d(2)] if normalised else [], halving=True)
    micro.limit = limit
    seen: list[Tensor] = []

    def forward(part: Batch, share: float) -> Result:
        assert share == len(part[0]) / samples
        seen.append(part[0])
        return {}, {}

    micro.run((torch.arange(samples), torch.zeros(samples, 3)), forward)
    assert torch.equal(torch.cat(seen), torch.arange(samples))
    sizes = [len(part) for part in seen]
    assert max(sizes) - min(sizes) <= 1
    if not normalised:
        assert max(sizes) <= limit
    else:
        assert max(sizes) <= max(limit, 3), "one more than two, where two would leave one alone"
        assert min(sizes) >= min(2, samples)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")]
)
def test_what_says_that_memory_is_out(batch: Batch, error: Exception) -> None:
    def forward(part: Batch, share: float) -> Result:
        if len(part[0]) > 5:
            raise error
        return {"loss": part[0].sum()}, {}

    assert MicroBatches((), halving=True).run(batch, forward)[0]["loss"].item() == pytest.approx(batch[0].sum() / 2)
    with pytest.raises(type(error)):
        MicroBatches((), halving=False).run(batch, forward)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("wrong")])
def test_another_error_is_raised_at_once(batch: Batch, error: Exception) -> None:
    tries = []

    def forward(part: Batch, share: float) -> Result:
        tries.append(len(part[0]))
        raise error

    with pytest.raises(type(error), match=str(error)):
        MicroBatches((), halving=True).run(batch, forward)
    assert tries == [10]


@pytest.mark.parametrize(("extra", "tried"), [([], [10, 5, 3, 2, 1]), ([nn.BatchNorm1d(1)], [10, 5, 3, 2, 2])])
def test_when_no_smaller_part_fits_it_is_raised(
    network: nn.Module, batch: Batch, extra: list[nn.Module], tried: list[int]
) -> None:
    small = Small(network, 0)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        MicroBatches([small, *extra], halving=True).run(batch, differentiated(small, F.mse_loss))
    assert small.given == tried


def test_a_batch_that_cannot_be_split_is_raised(network: nn.Module, batch: Batch) -> None:
    """A tensor of other things than samples: which of them go with which sample is not known here."""
    small = Small(network, 5)
    with pytest.raises(torch.OutOfMemoryError):
        MicroBatches([small], halving=True).run((*batch, torch.zeros(3)), differentiated(small, F.mse_loss))
    assert small.given == [10, 10]


def test_what_a_failed_try_allocated_is_gone_before_the_next(network: nn.Module, batch: Batch) -> None:
    failed: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def forward(part: Batch, share: float) -> Result:
        alive.append(sum(reference() is not None for reference in failed))
        activations = network(part[0])
        if len(part[0]) > 3:
            failed.append(weakref.ref(activations))
            cycle: list[Any] = [activations]
            cycle.append(cycle)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"loss": activations.mean()}, {}

    gc.disable()  # what is freed is freed by the loop, not by chance
    try:
        MicroBatches((), halving=True).run(batch, forward)
    finally:
        gc.enable()
    assert (len(failed), alive) == (2, [0] * 6)


# --- in the training loop


class Net(nn.Module):
    """With all that a try leaves behind: batch normalisation, dropout, and (in `trained`) GHM's moving average."""

    def __init__(self, room: int, full_in: str) -> None:
        super().__init__()
        self.first, self.norm, self.dropout = nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)
        self.second = nn.Linear(16, 1)
        self.room, self.full_in = room, full_in
        self.given: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.given.append(len(x))
        room = self.room if self.training else 50
        if self.full_in == "forward" and len(x) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        hidden = self.dropout(self.norm(self.first(x)).relu())
        if self.full_in == "backward":
            hidden = FullInBackward.apply(hidden, room)
        return self.second(hidden).squeeze(1)


def trained(
    directory: Path, room: int, full_in: str = "forward", listener: Listener | None = None, **settings: Any
) -> tuple[Net, dict[str, float]]:
    """50 samples in batches of 16 (the last has 2), and 20 in one batch to measure on, which runs out of a memory of
    50 only."""
    torch.manual_seed(11)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(70, 3, generator=generator)
    y = (x.sum(1) + torch.randn(70, generator=generator) > 0.5).float()
    net, criterion = Net(room, full_in), GHMC(bins=5, momentum=0.7)

    def losses(network: nn.Module, batch: Batch) -> Result:
        logits = network(batch[0])
        loss = criterion(logits, batch[1])
        return {"loss": loss, "bce": F.binary_cross_entropy_with_logits(logits, batch[1])}, {"logits": logits}

    def batches(epoch: int) -> Iterator[Batch]:
        order = torch.randperm(50, generator=torch.Generator().manual_seed(epoch))
        return ((x[rows], y[rows]) for rows in order.split(16))

    options = {"learning_rate": 0.02, "monitor": "val_bce", "maximize": False, "epochs": 3, "clip_norm": 1.0,
               "settle_batches": 2, "on_out_of_memory": "accumulate", **settings}  # fmt: skip
    found = fit(
        trial_in(directory, listener or Listener()),
        net,
        Settings(**options),
        Problem(
            batches,
            lambda: [(x[50:], y[50:])],
            losses,
            lambda outputs, split: {"mean": float(outputs["logits"].mean())},
            criterion,
        ),
    )
    return net, {name: value for name, value in without_clocks(found).items() if name != "peak_gpu_mib"}


def test_what_fits_is_trained_to_the_same_bits_with_both_options(tmp_path: Path) -> None:
    one, pruned = trained(tmp_path / "prune", 16, on_out_of_memory="prune")
    other, accumulated = trained(tmp_path / "accumulate", 16)
    assert (accumulated.pop("micro_batch"), accumulated.pop("val_micro_batch")) == (16, 20)
    assert pruned == accumulated
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_a_failed_try_leaves_no_trace(tmp_path: Path) -> None:
    """What fails before anything was changed, and what fails when all was (in the backward pass, after the forward
    pass drew its dropout and moved its averages), go on to the same bits."""
    early, late = Listener(), Listener()
    one, found = trained(tmp_path / "early", 4, "forward", early)
    other, also = trained(tmp_path / "late", 4, "backward", late)
    assert one.given == other.given
    assert one.given[:6] == [16, 8, 4, 4, 4, 4]
    assert max(one.given[2:]) == 4, "what did not fit is not tried again"
    assert found == also
    names = ("train_loss", "train_bce", "val_loss", "gradient_norm")
    assert early.curve(*names) == late.curve(*names)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert early.curve("micro_batch", "val_micro_batch") == dict.fromkeys((1, 2, 3), (4.0, 20.0))


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_resumed_training_goes_on_in_parts_to_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    whole, first, second = Listener(), Listener(stop_at), Listener()
    expected, found = trained(tmp_path / "whole", 4, listener=whole)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", 4, listener=first)
    net, also = trained(tmp_path / "cut", 4, listener=second)
    assert max(net.given) == 4, "the attempt before it knew that more do not fit"
    assert found == also
    names = ("train_loss", "val_loss", "gradient_norm", "micro_batch")
    assert first.curve(*names) | second.curve(*names) == whole.curve(*names)
    torch.testing.assert_close(net.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_a_network_of_which_nothing_fits_raises_what_torch_raised(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        trained(tmp_path / "accumulate", 1)  # batch normalisation takes two at least
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        trained(tmp_path / "prune", 8, on_out_of_memory="prune")


def fitted(directory: Path, network: nn.Module, room: int, **settings: Any) -> Listener:
    """Training, in float64, and validation in a memory of `room` samples."""
    torch.manual_seed(3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, listener = torch.randn(52, 4, dtype=torch.float64), Listener()
    y, small = x.sin().sum(1), Small(network, room)

    def losses(model: nn.Module, batch: Batch) -> Result:
        found = model(batch[0]).squeeze(1)
        return {"loss": F.mse_loss(found, batch[1])}, {"error": found - batch[1]}

    options = {"on_out_of_memory": "accumulate", "clip_norm": 0.5, **settings}
    fit(
        trial_in(directory, listener),
        small,
        Settings(0.02, "val_loss", False, 4, **options),
        Problem(
            lambda epoch: zip(x[:32].split(16), y[:32].split(16), strict=True),
            lambda: [(x[32:], y[32:])],
            losses,
            lambda outputs, split: {"worst": float(outputs["error"].abs().max())},
        ),
    )
    return listener


def test_a_mean_loss_is_trained_alike_in_parts(tmp_path: Path, network: nn.Module) -> None:
    whole = fitted(tmp_path / "whole", network, 20, on_out_of_memory="prune")
    parts = fitted(tmp_path / "parts", network, 5)
    names = ("train_loss", "train_worst", "val_loss", "val_worst", "gradient_norm")
    for epoch, values in whole.curve(*names).items():
        assert parts.curve(*names)[epoch] == pytest.approx(values, rel=1e-9)
    assert set(parts.curve("micro_batch", "val_micro_batch").values()) == {(4.0, 5.0)}
    assert not {"micro_batch", "val_micro_batch"} & whole.reports[0][1].keys()
    assert parts.reports[0][1]["train_samples"] == 32


# --- in the tasks


def test_pairs_are_split_with_their_clips() -> None:
    torch.manual_seed(0)
    clips, sign = torch.randn(6, 1, 2, 3, dtype=torch.float64), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    first, second = torch.tensor([0, 1, 2, 0, 5]), torch.tensor([3, 2, 4, 5, 1])
    batch: Batch = (sign, first, second, clips)
    parts = parts_of(batch, 2)
    assert [len(part[3]) for part in parts] == [5, 3], "clips 0 to 4, and 0, 1, 5"
    for k, index in ((0, first), (1, second)):
        joined = torch.cat([part[3][part[1 + k]] for part in parts])
        assert torch.equal(joined, clips[index])
    assert torch.equal(torch.cat([part[0] for part in parts]), sign)
    (whole,) = parts_of((*batch, torch.arange(6)), 2)
    assert len(whole[0]) == 5, "validation gives scores of clips, not of pairs"


def test_the_hinge_has_the_same_gradients_in_parts_of_pairs() -> None:
    torch.manual_seed(0)
    scorer = nn.Sequential(nn.Flatten(), nn.Linear(6, 1)).double()
    clips, sign = torch.randn(9, 1, 2, 3, dtype=torch.float64), torch.randint(2, (7,)).double() * 2 - 1
    first, second = torch.randint(9, (7,)), torch.randint(9, (7,))
    hinge = GHMRankingLoss(alpha=0.0)

    def forward(part: Batch, share: float) -> Result:
        scores = scorer(part[3]).squeeze(1)
        loss = hinge(scores[part[1]], scores[part[2]], part[0])
        (share * loss).backward()
        return {"loss": loss}, {}

    batch = (sign, first, second, clips)
    forward(batch, 1.0)
    whole = gradients(scorer)
    scorer.zero_grad()
    micro = MicroBatches((hinge,), halving=True, split=parts_of)
    micro.limit = 2
    micro.run(batch, forward)
    torch.testing.assert_close(gradients(scorer), whole, rtol=1e-12, atol=1e-15)


TASKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "abr": ("val_score", {"architecture": "tiny", "metric_records": 8}, {"records": 120}),
    "glaucoma": (
        "val_pauc", {"base_width": 4, "loss": "ghm"}, {"images": 80, "image_size": 32, "prevalence": 0.3},
    ),
    "audio_angle": ("val_pair_accuracy", {"base_width": 4}, {"clips": 40}),
    "mitochondria": (
        "val_jaccard", {"base_width": 2}, {"slices": 4, "height": 128, "width": 128, "patch_size": 32},
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_accumulate(tmp_path: Path, task: str) -> None:
    """Every convolution that is given more than 8 samples (pairs of 8 clips, of two clips each) while gradients are
    kept runs out of memory."""
    metric, params, data = TASKS[task]
    listener = Listener()
    params |= {"on_out_of_memory": "accumulate", "epochs": 1, "batch_size": 16}
    job = Job(0, params, 5, ObjectiveRef(target="x:y", root=str(tmp_path)), {"data": data}, tmp_path, (metric,))

    def full(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, (nn.Conv1d, nn.Conv2d)) and torch.is_grad_enabled() and len(given[0]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = nn.modules.module.register_module_forward_pre_hook(full)
    try:
        found = importlib.import_module(f"objectives.{task}").train(Trial(job, listener))
    finally:
        hook.remove()
    assert listener.reports[0][1]["micro_batch"] == (4 if task == "audio_angle" else 8)
    assert metric in found


REAL = '''
import resource
from pathlib import Path
import torch
from torch import nn
from hpo.trial import Job, ObjectiveRef, Trial
from objectives.training import Problem, Settings, fit

torch.set_num_threads(1)
x = torch.randn(32, 65536, 1)

def losses(network, batch):
    return {"loss": nn.functional.mse_loss(network(batch[0]), batch[0].tanh())}, {}

def train(name):
    """The most samples at once, and the losses."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    job = Job(0, {}, 1, ObjectiveRef(target="x:y"), {}, Path(name), ("val_loss",))
    job.directory.mkdir()
    settings = Settings(0.01, "val_loss", False, 1, on_out_of_memory="accumulate")
    problem = Problem(lambda epoch: [(x,)], lambda: [(x[:2],)], losses, lambda outputs, split: {})
    found = fit(Trial(job, lambda step, metrics: None), network, settings, problem)
    print(found["micro_batch"], found["train_loss"], found["val_loss"])

train("large")
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 250 * 2**20, resource.RLIM_INFINITY))
train("small")
'''


@pytest.mark.slow
def test_a_real_memory_that_is_too_small(tmp_path: Path) -> None:
    """A hidden layer of all 32 samples takes 128 MiB, and training keeps a few of its size."""

    done = subprocess.run(
        [sys.executable, "-c", REAL], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if "out of memory" not in line]
    large, small = (tuple(map(float, line.split())) for line in lines)
    assert large[0] == 32
    assert small[0] in (16, 8, 4)
    assert small[1:] == pytest.approx(large[1:], rel=1e-4)
