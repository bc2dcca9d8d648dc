"""The training loop on a small network: curves, resuming, early stopping, what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.trial import Interrupted, Job, ObjectiveRef, Pruned, Stop, Trial
from objectives import training
from objectives.training import Settings, fit, load_weights, shuffled, with_defaults

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


def train(directory: Path, listener: Listener, settings: Settings = SETTINGS) -> dict[str, float]:
    """A network with dropout on a made-up regression of 50 samples in batches of 16 (the last has 2)."""
    trial = trial_in(directory, listener)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=draws)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 0.1 * torch.randn(50, generator=draws)
    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in shuffled(40, 16, trial.seed, epoch):
            yield x[chosen], y[chosen]

    def losses(network: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        error = F.mse_loss(network(batch[0]).squeeze(1), batch[1])
        return {"loss": error, "half": error / 2}

    def validate(network: nn.Module) -> dict[str, float]:
        return {"val_loss": F.mse_loss(network(x[40:]).squeeze(1), y[40:]).item()}

    return fit(trial, model, settings, batches, losses, validate)


NAMES = ("train_loss", "train_half", "val_loss")


def test_epochs_are_reported_and_the_best_is_returned(tmp_path: Path) -> None:
    listener = Listener()
    result = train(tmp_path, listener)
    assert [step for step, _ in listener.reports] == [1, 2, 3, 4, 5, 6]
    curve = listener.curve(*NAMES)
    best = min(curve, key=lambda epoch: curve[epoch][2])
    assert (result["best_epoch"], result["val_loss"], result["epochs"]) == (best, curve[best][2], 6)
    for _, metrics in listener.reports:
        assert metrics["epoch_seconds"] > 0
        assert metrics["samples_per_second"] > 0
        assert "peak_gpu_mib" not in metrics or torch.cuda.is_available()
    assert result["training_seconds"] == pytest.approx(sum(m["epoch_seconds"] for _, m in listener.reports))


def test_every_step_is_kept_and_an_epoch_weighs_its_samples(tmp_path: Path) -> None:
    listener = Listener()
    train(tmp_path, listener)
    with np.load(tmp_path / training.STEPS) as steps:
        assert steps["epoch"].tolist() == [epoch for epoch in range(1, 7) for _ in range(3)]
        assert steps["half"] == pytest.approx(steps["loss"] / 2)
        for epoch, metrics in listener.reports:
            own = steps["loss"][steps["epoch"] == epoch]
            assert metrics["train_loss"] == pytest.approx((16 * own[0] + 16 * own[1] + 8 * own[2]) / 40)


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
        kept = [load_weights(tmp_path / run / training.WEIGHTS, torch.device("cpu"))[name] for run in ("whole", "cut")]
        torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    with np.load(tmp_path / "whole" / training.STEPS) as a, np.load(tmp_path / "cut" / training.STEPS) as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[name], b[name]) for name in a)


def scripted(directory: Path, values: Sequence[float], settings: Settings, loss: float = 1.0) -> dict[str, float]:
    """A training whose validation metric follows a script; the weight counts the epochs."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    script = iter(values)

    def batches(epoch: int) -> Iterator[tuple[Tensor]]:
        with torch.no_grad():
            model.weight.fill_(epoch)
        yield (torch.ones(1, 1),)

    return fit(
        trial_in(directory, Listener()), model, settings, batches,
        lambda network, batch: {"loss": 0 * network(batch[0]).sum() + loss}, lambda network: {"score": next(script)},
    )  # fmt: skip


def test_training_ends_when_patience_does(tmp_path: Path) -> None:
    settings = Settings(1e-9, "score", True, 20, patience=3, weight_decay=0.0)
    result = scripted(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.3, 0.9], settings)
    assert (result["epochs"], result["best_epoch"], result["score"]) == (5, 2, 0.5)  # an equal value is not better
    weights = load_weights(tmp_path / training.WEIGHTS, torch.device("cpu"))
    assert weights["epoch"] == 2
    assert weights["model"]["weight"].item() == pytest.approx(2)
    assert weights["metrics"]["score"] == 0.5


def test_without_patience_it_runs_to_its_end(tmp_path: Path) -> None:
    result = scripted(tmp_path, [0.9, 0.1, 0.2, 0.3], Settings(1e-9, "score", True, 4, weight_decay=0.0))
    assert (result["epochs"], result["best_epoch"]) == (4, 1)


def test_a_smaller_monitor_can_be_better_and_nan_never_is(tmp_path: Path) -> None:
    nan = float("nan")
    result = scripted(tmp_path, [nan, 0.5, 0.2, nan], Settings(1e-9, "score", False, 4, weight_decay=0.0))
    assert (result["best_epoch"], result["score"]) == (3, 0.2)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_gives_up_with_its_reason(tmp_path: Path, loss: float) -> None:
    with pytest.raises(Pruned, match=f"train_loss is {loss} in epoch 1: the training diverged"):
        scripted(tmp_path, [1.0], SETTINGS, loss=loss)


def test_bfloat16_trains_nearly_alike(tmp_path: Path) -> None:
    exact, rough = Listener(), Listener()
    train(tmp_path / "exact", exact)
    train(tmp_path / "rough", rough, Settings(0.02, "val_loss", False, 6, precision="bfloat16"))
    assert exact.curve("val_loss") != rough.curve("val_loss")
    for epoch, (value,) in exact.curve("val_loss").items():
        assert rough.curve("val_loss")[epoch][0] == pytest.approx(value, rel=0.05)


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'half'; expected auto, float32, bfloat16, float16"):
        train(tmp_path, Listener(), Settings(0.02, "val_loss", False, 6, precision="half"))


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


def test_a_schedule_lowers_the_learning_rate_of_each_epoch() -> None:
    cosine = training.SCHEDULES["cosine"]
    assert [cosine(done) for done in (0, 1 / 3, 0.5)] == pytest.approx([1, 0.75, 0.5])
    assert 0 < cosine(0.99) < 0.001
    assert {training.SCHEDULES["constant"](done) for done in (0, 0.5, 0.9)} == {1.0}


def test_an_unknown_schedule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="schedule is 'linear'; expected constant or cosine"):
        train(tmp_path, Listener(), Settings(0.02, "val_loss", False, 6, schedule="linear"))


def test_an_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    orders = [torch.cat(list(shuffled(10, 3, seed, epoch))).tolist() for seed, epoch in ((1, 1), (1, 2), (2, 1))]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [len(batch) for batch in shuffled(10, 3, 1, 1)] == [3, 3, 3, 1]


def test_defaults_are_overridden_by_name_and_misspelt_names_are_refused() -> None:
    defaults = {"epochs": 40, "data": {"root": None, "seed": 0}}
    assert with_defaults({"data": {"seed": 3}}, defaults) == {"epochs": 40, "data": {"root": None, "seed": 3}}
    assert defaults["data"] == {"root": None, "seed": 0}
    with pytest.raises(ValueError, match=r"constants\.epoch is not known; expected epochs, data\. .* 'epochs'\?"):
        with_defaults({"epoch": 3}, defaults)
    with pytest.raises(ValueError, match=r"constants\.data\.sed is not known; .* Did you mean 'seed'\?"):
        with_defaults({"data": {"sed": 3}}, defaults)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt does not hold the weights of a trial"):
        load_weights(tmp_path / "other.pt", torch.device("cpu"))
