"""The training loop on a small network: curves, resuming, rates, freezing, early stopping, what is kept."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.layout import CHECKPOINT
from hpo.machine.checkpoint import read_checkpoint
from hpo.trial import Interrupted, Job, ObjectiveRef, Pruned, Stop, Trial
from objectives import training
from objectives.recording import EPOCHS, STEPS, WEIGHTS, load_weights
from objectives.training import Batch, Frozen, Problem, Settings, fit, score, settings_in, shuffled

SETTINGS = Settings(learning_rate=0.02, monitor="val_loss", maximize=False, epochs=6)


class Listener:
    """Takes reports as the driver would, and stops the trial at an epoch."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.reports: list[tuple[int, dict[str, float]]] = []

    def __call__(self, step: int, metrics: dict[str, float]) -> Stop | None:
        self.reports.append((step, metrics))
        return Stop("interrupted", interrupted=True) if step == self.stop_at else None

    def curve(self, *names: str) -> dict[int, tuple[float, ...]]:
        return {step: tuple(metrics[name] for name in names) for step, metrics in self.reports}


def trial_in(directory: Path, listener: Listener) -> Trial:
    directory.mkdir(parents=True, exist_ok=True)
    job = Job(3, {}, 11, ObjectiveRef(target="x:y"), {}, directory, ("val_loss",))
    return Trial(job, listener)


class Scaled(nn.Module):
    """A loss with a parameter that trains, and a state that counts its training calls."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, error: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return error * (-self.log_scale).exp() + self.log_scale


def train(
    directory: Path, listener: Listener, settings: Settings = SETTINGS, criterion: nn.Module | None = None
) -> dict[str, float]:
    """A network with dropout on a made-up regression of 50 samples in batches of 16 (the last has 8)."""
    trial = trial_in(directory, listener)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=draws)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.1 * torch.randn(50, generator=draws)
    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def batches(epoch: int) -> Iterator[Batch]:
        for chosen in shuffled(40, 16, trial.seed, epoch):
            yield x[chosen], y[chosen]

    def validation() -> Iterator[Batch]:
        yield x[40:46], y[40:46]
        yield x[46:], y[46:]

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        predicted = network(batch[0]).squeeze(1).float()
        error = F.mse_loss(predicted, batch[1])
        loss = error if criterion is None else criterion(error)
        return {"loss": loss, "half": error / 2}, {"error": (predicted - batch[1]).abs()}

    return fit(trial, model, settings, Problem(batches, validation, losses, errors, criterion))


def errors(outputs: Mapping[str, Tensor], split: str) -> dict[str, Any]:
    error = outputs["error"].numpy()
    return {"mae": float(error.mean()), "histogram": np.histogram(error, bins=[0, 0.5, 1, 99])[0]}


NAMES = ("train_loss", "train_half", "train_mae", "val_loss", "val_half", "val_mae", "learning_rate", "gradient_norm")


def test_epochs_are_reported_and_the_best_is_returned(tmp_path: Path) -> None:
    listener = Listener()
    result = train(tmp_path, listener)
    assert [step for step, _ in listener.reports] == [1, 2, 3, 4, 5, 6]
    curve = listener.curve(*NAMES)
    best = min(curve, key=lambda epoch: curve[epoch][3])
    assert (result["best_epoch"], result["val_loss"], result["epochs"]) == (best, curve[best][3], 6)
    for _, metrics in listener.reports:
        assert metrics["epoch_seconds"] > 0
        assert metrics["samples_per_second"] > 0
        assert (metrics["train_samples"], metrics["val_samples"]) == (40, 10)
        assert "peak_gpu_mib" not in metrics or torch.cuda.is_available()
    assert result["n_parameters"] == (4 * 16 + 16) + (16 + 1)
    assert result["training_seconds"] == pytest.approx(sum(m["epoch_seconds"] for _, m in listener.reports))


def test_every_step_is_kept_and_an_epoch_weighs_its_samples(tmp_path: Path) -> None:
    listener = Listener()
    train(tmp_path, listener)
    with np.load(tmp_path / STEPS) as steps:
        assert steps["epoch"].tolist() == [epoch for epoch in range(1, 7) for _ in range(3)]
        assert steps["val_epoch"].tolist() == [epoch for epoch in range(1, 7) for _ in range(2)]
        assert steps["half"] == pytest.approx(steps["loss"] / 2)
        assert steps["learning_rate"].tolist() == [0.02] * 18
        for epoch, metrics in listener.reports:
            own = steps["loss"][steps["epoch"] == epoch]
            assert metrics["train_loss"] == pytest.approx((16 * own[0] + 16 * own[1] + 8 * own[2]) / 40)
            val = steps["val_loss"][steps["val_epoch"] == epoch]
            assert metrics["val_loss"] == pytest.approx((6 * val[0] + 4 * val[1]) / 10)
            assert metrics["gradient_norm"] == pytest.approx(steps["gradient_norm"][steps["epoch"] == epoch].mean())


def test_arrays_are_kept_an_epoch_each(tmp_path: Path) -> None:
    listener = Listener()
    train(tmp_path, listener)
    with np.load(tmp_path / EPOCHS) as epochs:
        assert epochs["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
        assert epochs["train_histogram"].shape == epochs["val_histogram"].shape == (6, 3)
        assert epochs["train_histogram"].sum(1).tolist() == [40] * 6
        assert epochs["val_histogram"].sum(1).tolist() == [10] * 6
    assert not any(isinstance(value, np.ndarray) for _, metrics in listener.reports for value in metrics.values())


def one_step(directory: Path, clip_norm: float | None = None, **settings: Any) -> tuple[nn.Linear, dict[str, float]]:
    """One sample (3, 4), loss the output itself: the gradient of the weight is (3, 4), its norm 5."""
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    sample = (torch.tensor([[3.0, 4.0]]),)
    options = {"monitor": "val_loss", "maximize": False, "epochs": 1, "weight_decay": 0.0, **settings}
    found = fit(
        trial_in(directory, Listener()),
        model,
        Settings(0.1, clip_norm=clip_norm, **options),
        Problem(
            lambda epoch: [sample],
            lambda: [sample],
            lambda network, batch: ({"loss": network(batch[0]).sum()}, {}),
            lambda outputs, split: {},
        ),
    )
    return model, found


def test_the_gradient_norm_is_that_before_clipping(tmp_path: Path) -> None:
    free, found = one_step(tmp_path / "free")
    clipped, also = one_step(tmp_path / "clipped", clip_norm=1e-9)
    assert found["gradient_norm"] == also["gradient_norm"] == pytest.approx(5)
    # Adam's first step has the length of the rate whatever the gradient, unless that is as small as its epsilon, 1e-8:
    # a gradient of 0.6e-9 moves by 0.1 * 0.6 / (0.6 + 10).
    assert free.weight.tolist()[0] == pytest.approx([-0.1, -0.1], rel=1e-5)
    assert clipped.weight.tolist()[0] == pytest.approx([-0.1 * 0.6 / 10.6, -0.1 * 0.8 / 10.8], rel=1e-4)


def test_a_loss_of_its_own_state_and_parameters_trains_and_is_resumed(tmp_path: Path) -> None:
    whole, first, second = Listener(), Listener(3), Listener()
    one, other = Scaled(), Scaled()
    train(tmp_path / "whole", whole, SETTINGS, one)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", first, SETTINGS, Scaled())
    train(tmp_path / "cut", second, SETTINGS, other)
    assert first.curve(*NAMES) | second.curve(*NAMES) == whole.curve(*NAMES)
    assert one.log_scale.item() == other.log_scale.item() != 0
    assert one.calls.item() == other.calls.item() == 18, "validation is not counted"


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.norm(self.first(x)).relu()).relu()).squeeze(1)


def thawed(directory: Path, epoch: int | None, epochs: int, **settings: Any) -> tuple[dict[str, Tensor], Deep]:
    """The state before and the model after training with `first` frozen for good, `norm` and `second` until `epoch`."""
    torch.manual_seed(1)
    model = Deep()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = torch.randn(12, 4), torch.randn(12)
    fit(
        trial_in(directory, Listener()),
        model,
        Settings(0.05, "val_loss", False, epochs, **settings),
        Problem(
            lambda epoch: [(x, y)],
            lambda: [(x, y)],
            lambda network, batch: ({"loss": F.mse_loss(network(batch[0]), batch[1])}, {}),
            lambda outputs, split: {},
            frozen=Frozen([model.first], [model.norm, model.second], epoch),
        ),
    )
    return before, model


def test_frozen_layers_stand_still_until_their_epoch(tmp_path: Path) -> None:
    before, model = thawed(tmp_path / "before", epoch=3, epochs=2, settle_batches=1)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}, "nor do the statistics of a frozen normalisation move"
    before, model = thawed(tmp_path / "after", epoch=3, epochs=3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"head.weight", "second.weight", "norm.weight", "norm.running_mean"} <= changed
    assert not {"first.weight", "first.bias"} & changed
    # Adam's first step is as long as the rate, here a tenth of it; decay is switched off below.
    before, model = thawed(tmp_path / "tenth", epoch=3, epochs=3, weight_decay=0.0)
    assert (model.second.bias - before["second.bias"]).abs().max().item() == pytest.approx(0.005, rel=1e-3)
    before, model = thawed(tmp_path / "never", epoch=None, epochs=4)
    assert torch.equal(model.second.weight, before["second.weight"])


def test_scores_are_means_over_samples_without_their_arrays() -> None:
    model = nn.BatchNorm1d(1).train()
    batches = [(torch.tensor([[1.0], [2.0]]),), (torch.tensor([[6.0]]),)]
    found = score(
        model, batches, lambda network, batch: ({"loss": batch[0].mean()}, {"x": network(batch[0])}),
        lambda outputs, split: {f"{split}_sum": float(outputs["x"].sum()), "each": outputs["x"].numpy()},
    )  # fmt: skip
    assert found == pytest.approx({"loss": 3.0, "test_sum": 9 / (1 + 1e-5) ** 0.5})
    assert not model.training
    with pytest.raises(ValueError, match="there is no batch to measure on"):
        score(model, [], lambda network, batch: ({}, {}), lambda outputs, split: {})


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_an_interrupted_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, stop_at: int, every: int) -> None:
    settings = Settings(0.02, "val_loss", False, 6, checkpoint_every=every)
    whole = Listener()
    expected = train(tmp_path / "whole", whole, settings)
    first, second = Listener(stop_at), Listener()
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", first, settings)
    torch.rand(7)  # another trial ran in this process meanwhile
    found = train(tmp_path / "cut", second, settings)
    assert first.curve(*NAMES) | second.curve(*NAMES) == whole.curve(*NAMES)
    saved = stop_at if stop_at == 6 else stop_at - stop_at % every
    assert second.reports[0][0] == max(saved, 1), "what was saved last is reported again"
    timings = ("training_seconds", "epoch_seconds", "samples_per_second", "peak_gpu_mib")
    assert {k: v for k, v in found.items() if k not in timings} == {
        k: v for k, v in expected.items() if k not in timings
    }
    for name in ("model", "epoch"):
        kept = [load_weights(tmp_path / run / WEIGHTS, torch.device("cpu"))[name] for run in ("whole", "cut")]
        torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    with np.load(tmp_path / "whole" / STEPS) as a, np.load(tmp_path / "cut" / STEPS) as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_changed_settings_count_from_the_restored_epoch_on(tmp_path: Path) -> None:
    norms = {}
    for name, decay in (("kept", 0.01), ("changed", 40.0)):
        with pytest.raises(Interrupted):
            train(tmp_path / name, Listener(5))
        train(tmp_path / name, listener := Listener(), replace(SETTINGS, learning_rate=0.01, weight_decay=decay))
        assert listener.curve("learning_rate")[6] == (0.01,)
        weights = torch.load(BytesIO(read_checkpoint(tmp_path / name / CHECKPOINT, "")), weights_only=True)["model"]
        norms[name] = float(weights["0.weight"].norm())
    assert norms["changed"] < 0.5 * norms["kept"]  # 3 steps, each times 1 - 0.01 * 40


@pytest.mark.parametrize("form", ["bytes", "objects of an earlier version"])
def test_a_state_holds_no_objects_and_one_of_an_earlier_version_is_restored(tmp_path: Path, form: str) -> None:
    settings = Settings(0.02, "val_loss", False, 4)
    whole, first, second = Listener(), Listener(2), Listener()
    train(tmp_path / "whole", whole, settings)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", first, settings)
    trial = trial_in(tmp_path / "cut", Listener())
    saved = trial.restore()
    assert isinstance(saved, bytes)
    if form != "bytes":
        state = torch.load(BytesIO(saved), weights_only=True)
        for epochs in state["kept"].values():
            epochs[:] = [{name: tensor.numpy() for name, tensor in epoch.items()} for epoch in epochs]
        (tmp_path / "cut" / "checkpoint.pkl").write_bytes(pickle.dumps(state, pickle.HIGHEST_PROTOCOL))
    train(tmp_path / "cut", second, settings)
    assert first.curve(*NAMES) | second.curve(*NAMES) == whole.curve(*NAMES)
    assert second.reports[0][0] == 2


def scripted(
    directory: Path, values: Sequence[float], settings: Settings, loss: float = 1.0, listener: Listener | None = None
) -> dict[str, float]:
    """A training whose validation metric follows a script; the weight counts the epochs."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    script = iter(values)

    def batches(epoch: int) -> Iterator[tuple[Tensor]]:
        with torch.no_grad():
            model.weight.fill_(epoch)
        yield (torch.ones(1, 1),)

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        outputs = {} if network.training else {"nothing": batch[0]}
        return {"loss": 0 * network(batch[0]).sum() + loss}, outputs

    return fit(
        trial_in(directory, listener or Listener()),
        model,
        settings,
        Problem(batches, lambda: [(torch.ones(1, 1),)], losses, lambda outputs, split: {"score": next(script)}),
    )


def test_training_ends_when_patience_does(tmp_path: Path) -> None:
    settings = Settings(1e-9, "val_score", True, 20, patience=3, weight_decay=0.0)
    result = scripted(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.3, 0.9], settings)
    assert (result["epochs"], result["best_epoch"], result["val_score"]) == (5, 2, 0.5)  # an equal value is not better
    weights = load_weights(tmp_path / WEIGHTS, torch.device("cpu"))
    assert weights["epoch"] == 2
    assert weights["model"]["weight"].item() == pytest.approx(2)
    assert weights["metrics"]["val_score"] == 0.5


def test_without_patience_it_runs_to_its_end(tmp_path: Path) -> None:
    result = scripted(tmp_path, [0.9, 0.1, 0.2, 0.3], Settings(1e-9, "val_score", True, 4, weight_decay=0.0))
    assert (result["epochs"], result["best_epoch"]) == (4, 1)


def test_a_smaller_monitor_can_be_better_and_nan_never_is(tmp_path: Path) -> None:
    nan = float("nan")
    result = scripted(tmp_path, [nan, 0.5, 0.2, nan], Settings(1e-9, "val_score", False, 4, weight_decay=0.0))
    assert (result["best_epoch"], result["val_score"]) == (3, 0.2)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_gives_up_with_its_reason(tmp_path: Path, loss: float) -> None:
    with pytest.raises(Pruned, match=f"train_loss is {loss} in epoch 1: the training diverged"):
        scripted(tmp_path, [1.0], SETTINGS, loss=loss)


def test_a_network_that_its_last_step_ruined_is_not_measured(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        output = network(batch[0]).sum()
        return {"loss": output if network.training else output / 0}, {"x": batch[0]}

    def metrics(outputs: Mapping[str, Tensor], split: str) -> dict[str, float]:
        raise AssertionError("what the network gives is nothing to measure")

    with pytest.raises(Pruned, match=r"val_loss is -?inf in epoch 1: the training diverged"):
        fit(
            trial_in(tmp_path, Listener()),
            model,
            SETTINGS,
            Problem(lambda epoch: [(torch.ones(1, 1),)], lambda: [(torch.ones(1, 1),)], losses, metrics),
        )


def test_bfloat16_trains_nearly_alike(tmp_path: Path) -> None:
    exact, rough = Listener(), Listener()
    train(tmp_path / "exact", exact)
    train(tmp_path / "rough", rough, Settings(0.02, "val_loss", False, 6, precision="bfloat16"))
    assert exact.curve("val_loss") != rough.curve("val_loss")
    for epoch, (value,) in exact.curve("val_loss").items():
        assert rough.curve("val_loss")[epoch][0] == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "half"}, "precision is 'half'; expected auto, float32, bfloat16, float16"),
        ({"on_out_of_memory": "retry"}, "on_out_of_memory is 'retry'; expected prune, accumulate"),
        ({"schedule": "linear"}, "schedule is 'linear'; expected constant, cosine, plateau"),
        ({"epochs": 0}, "epochs is 0; expected a whole number of at least 1"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; expected a whole number of at least 0"),
        ({"plateau_factor": 1.0}, "plateau_factor is 1.0; expected a number between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**{"learning_rate": 0.02, "monitor": "val_loss", "maximize": False, "epochs": 6, **wrong})


def test_settings_are_picked_from_the_options() -> None:
    assert settings_in({"epochs": 3, "gamma": 2.0, "clip_norm": None}) == {"epochs": 3, "clip_norm": None}


def test_settled_statistics_are_the_means_over_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [5 + torch.randn(10, 3) for _ in range(4)]
    with torch.no_grad():
        training.settle(model, model, batches)
        outputs = [model[0](batch) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([out.mean(0) for out in outputs]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([out.var(0) for out in outputs]).mean(0))
    assert model[1].momentum == 0.1
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(model.state_dict()[name], before[name])
    settled = model[1].running_mean.clone()
    training.settle(model, model, [])
    assert torch.equal(model[1].running_mean, settled), "without batches nothing changes"


def rates(epochs: int, **settings: Any) -> list[float]:
    one = Settings(1.0, "val_loss", False, epochs, **settings)
    return [one.rate(epoch) for epoch in range(1, epochs + 1)]


def test_a_schedule_gives_each_epoch_its_rate() -> None:
    assert rates(3) == [1, 1, 1]
    assert rates(3, schedule="cosine") == pytest.approx([1, 0.75, 0.25])
    assert rates(4, warmup_epochs=2) == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert rates(4, warmup_epochs=1, schedule="cosine") == pytest.approx([0.5, 1, 0.75, 0.25])
    assert rates(2, warmup_epochs=3) == pytest.approx([0.25, 0.5]), "a warm-up longer than the training"


def test_a_plateau_lowers_the_rate_and_a_resumed_training_knows(tmp_path: Path) -> None:
    """The best epoch is 2; after two epochs without a better one the rate is halved, and after two more again."""
    settings = Settings(
        1e-9, "val_score", True, 8, weight_decay=0.0, schedule="plateau", plateau_patience=2, warmup_epochs=1
    )
    script = [0.1, 0.5, 0.4, 0.4, 0.4, 0.5, 0.6, 0.6]
    expected = [0.5e-9, 1e-9, 1e-9, 1e-9, 0.5e-9, 0.5e-9, 0.25e-9, 0.25e-9]
    whole, first, second = Listener(), Listener(5), Listener()
    scripted(tmp_path / "whole", script, settings, listener=whole)
    assert [metrics["learning_rate"] for _, metrics in whole.reports] == pytest.approx(expected)
    with pytest.raises(Interrupted):
        scripted(tmp_path / "cut", script, settings, listener=first)
    scripted(tmp_path / "cut", script[5:], settings, listener=second)
    assert first.curve("learning_rate") | second.curve("learning_rate") == whole.curve("learning_rate")


def test_an_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    orders = [torch.cat(list(shuffled(10, 3, seed, epoch))).tolist() for seed, epoch in ((1, 1), (1, 2), (2, 1))]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [len(batch) for batch in shuffled(10, 3, 1, 1)] == [3, 3, 3, 1]


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt does not hold the weights of a trial"):
        load_weights(tmp_path / "other.pt", torch.device("cpu"))
