"""The audio_angle objective from its parameters to its numbers, on few and short generated sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.stats import kendalltau
from torch.nn import functional as F

from hpo.actions.evaluate import evaluate as score
from hpo.analysis.assessment import assess
from hpo.analysis.predictions import read_returned
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.trial import Interrupted, Job, ObjectiveRef, Trial
from objectives.audio_angle import data, evaluate, models, train
from objectives.audio_angle.generator import generate
from objectives.audio_angle.objective import DEFAULTS, criterion_of, losses_of
from objectives.losses.ghm_ranking import margin_ranking_loss
from objectives.recording import EPOCHS, STEPS, WEIGHTS, load_weights
from tests.objectives.trials import Reports, without_clocks

PARAMS = {"architecture": "resnet_small", "learning_rate": 3e-3, "batch_size": 16}
GHM = {"loss": "ghm_ranking", "bins": 10, "alpha": 0.75, "margin": 1.0, "momentum": 0.5}
DATA = {"clips": 60, "sample_rate": 8000, "seconds": 0.2, "n_fft": 256, "hop": 128, "bands": 16}
CONSTANTS = {"base_width": 4, "epochs": 3, "checkpoint_every": 1, "pairs_per_epoch": 50, "data": DATA}
CPU = torch.device("cpu")


def trial_in(folder: Path, reports: Reports, constants: dict[str, Any] = CONSTANTS, **params: Any) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    reference = ObjectiveRef(target="objectives.audio_angle:train", root=str(folder))
    return Trial(Job(0, PARAMS | params, 5, reference, constants, folder, ("val_pair_accuracy",)), reports)


def kept(folder: Path) -> dict[str, Any]:
    """The bits of the weights and of the arrays of a trial."""
    weights = load_weights(folder / WEIGHTS, CPU)["model"]
    arrays = {name: np.load(folder / name) for name in (STEPS, EPOCHS)}
    return {name: value.numpy().tobytes() for name, value in weights.items()} | {
        f"{file}/{name}": loaded[name].tobytes() for file, loaded in arrays.items() for name in loaded.files
    }


@pytest.mark.parametrize("loss", [{"loss": "hinge", "margin": 1.0}, GHM])
def test_twice_with_one_seed_and_once_interrupted_are_the_same_bits(tmp_path: Path, loss: dict[str, Any]) -> None:
    first, again, cut = Reports(), Reports(), Reports()
    expected = train(trial_in(tmp_path / "first", first, **loss))
    train(trial_in(tmp_path / "again", again, **loss))
    cut.stop_at = 2
    with pytest.raises(Interrupted):
        train(trial_in(tmp_path / "cut", cut, **loss))
    cut.stop_at = 0
    found = train(trial_in(tmp_path / "cut", cut, **loss))
    assert first.curves() == again.curves() == cut.curves()
    assert sorted(first) == [1, 2, 3]
    assert kept(tmp_path / "first") == kept(tmp_path / "again") == kept(tmp_path / "cut")
    assert without_clocks(found) == without_clocks(expected)
    best = max(first, key=lambda step: first[step]["val_pair_accuracy"])
    assert expected["best_epoch"] == best


def test_what_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, **GHM | {"margin": 10.0}))
    told = reports[1]
    both = {f"{split}_{name}" for split in ("train", "val") for name in ("loss", "original", "reweighted")}
    assert both <= told.keys()
    assert {"val_pair_accuracy", "val_kendall_tau", "train_pair_accuracy", "gradient_norm"} <= told.keys()
    assert told["train_pairs_per_batch"] == 16
    assert told["train_ghm_number"] == 50
    assert told["train_ghm_inert"] == 1
    # All in one bin: the weights are all 1.
    assert told["train_loss"] == told["train_reweighted"] == pytest.approx(told["train_original"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("generated sounds: train 48 clips of 6 ranks; val 12 clips")
    assert [line.startswith("gradient harmonising is inert: 100.0 % of") for line in said[1:]] == [True]
    epochs, steps = np.load(tmp_path / EPOCHS), np.load(tmp_path / STEPS)
    assert epochs["train_ghm_shares"].shape == epochs["train_ghm_weights"].shape == (3, 10)
    np.testing.assert_allclose(epochs["train_ghm_shares"].sum(1), 100)
    assert epochs["train_ghm_histogram"].shape == (3, 50)
    assert epochs["train_ghm_histogram"].sum(1).tolist() == [50] * 3
    assert steps["original"].shape == steps["reweighted"].shape == (12,)  # four batches of 50 pairs, three epochs
    np.testing.assert_allclose(
        np.average(steps["original"][:4], weights=[16, 16, 16, 2]), told["train_original"], rtol=1e-6
    )


def test_the_kept_weights_give_the_reported_numbers_on_held_out_clips(tmp_path: Path) -> None:
    """Computed here a second time, pair by pair, from the weights and the spectrograms. The momentum is of training:
    held-out pairs are weighted by their own density."""
    trial = trial_in(tmp_path, Reports(), **GHM)
    result = train(trial)
    assert result["train_reweighted"] != result["train_original"]
    dataset = data.load(None, **data.arguments(DEFAULTS["data"] | DATA))
    model = models.build("resnet_small", 4).eval()
    model.load_state_dict(load_weights(tmp_path / WEIGHTS, CPU)["model"])

    def again(clips: data.Spectrograms) -> dict[str, float]:
        with torch.no_grad():
            scores = model((clips.images - dataset.mean) / dataset.std).double().numpy()
        z = np.array([
            np.sign(clips.ranks[i] - clips.ranks[j]) * (scores[i] - scores[j])
            for i in range(len(scores)) for j in range(i) if clips.ranks[i] != clips.ranks[j]
        ])  # fmt: skip
        hinge, norms = np.maximum(0, 1 - z), 1 / (1 + np.exp(z - 1))
        counts = np.histogram(norms, 10, (0, 1))[0]
        weights = counts[np.minimum((norms * 10).astype(int), 9)] ** -0.75
        reweighted = (weights / weights.mean() * hinge).mean()
        return {
            "loss": reweighted, "original": hinge.mean(), "reweighted": reweighted, "pair_accuracy": (z > 0).mean(),
            "kendall_tau": kendalltau(clips.ranks, scores).statistic,
        }  # fmt: skip

    expected = again(dataset.val)
    assert {name: result[f"val_{name}"] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert dataset.test is not None
    held_out, expected = evaluate(trial, None), again(dataset.test)
    assert {name: held_out[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    found = assess(read_returned(held_out)).scores
    assert found["pair_accuracy"].low is not None
    assert found["kendall_tau"].low is not None


def test_own_sounds_and_a_folder_of_held_out_ones(tmp_path: Path) -> None:
    """`data.root` counts from the study's folder."""
    for folder, seed in (("sounds", 1), ("later", 2)):
        made = generate(36, seed, 8000, 0.2)
        for name, wave in zip(made.names, made.waves, strict=True):
            path = tmp_path / folder / name.split("_")[1] / "plastic" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(path, 8000, wave)
    own = {"root": "sounds", "n_fft": 256, "hop": 128, "bands": 16, "val_fraction": 0.34}
    trial = trial_in(tmp_path, Reports(), CONSTANTS | {"epochs": 1, "data": own})
    assert 0 <= train(trial)["val_pair_accuracy"] <= 1
    assert 0 <= evaluate(trial, tmp_path / "later")["pair_accuracy"] <= 1
    with pytest.raises(ValueError, match="the study's data has no test split"):
        evaluate(trial, None)


def test_each_loss_is_the_one_it_is_called() -> None:
    torch.manual_seed(0)
    scores, first, second = torch.randn(12), torch.randint(12, (40,)), torch.randint(12, (40,))
    sign = torch.randint(2, (40,)).float() * 2 - 1
    options = DEFAULTS | {"margin": 2.0}
    plain = margin_ranking_loss(scores[first], scores[second], sign, 2.0)
    reference = F.margin_ranking_loss(scores[first], scores[second], sign, margin=2.0)
    hinge = criterion_of(options | {"loss": "hinge"})
    assert torch.equal(hinge(scores[first], scores[second], sign), plain)
    torch.testing.assert_close(plain, reference)
    assert hinge.weights.unique().tolist() == [1]
    weighted = criterion_of(options | GHM)
    assert (weighted.bins, weighted.alpha, weighted.margin, weighted.momentum) == (10, 0.75, 1.0, 0.5)
    with pytest.raises(ValueError, match="loss is 'softmax'; expected hinge or ghm_ranking"):
        criterion_of(options | {"loss": "softmax"})


def test_losses_of_a_batch_by_hand() -> None:
    """The network is the mean of a clip: scores 1, 2, 4. Margin 1.5, pairs (0, 1), (2, 0), (1, 2) with these signs."""

    class Mean(torch.nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips.mean((1, 2, 3))

    clips = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None].expand(3, 1, 4, 4)
    sign = torch.tensor([-1.0, -1.0, -1.0])
    batch = (sign, torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2]), clips)
    criterion = criterion_of(DEFAULTS | {"loss": "hinge", "margin": 1.5})
    losses, outputs = losses_of(criterion, Mean(), batch)
    # z = 1, -3, 2; hinge 0.5, 4.5, 0; g = sigmoid(0.5), sigmoid(4.5), sigmoid(-0.5).
    assert {name: pytest.approx(value.item()) for name, value in losses.items()} == dict.fromkeys(
        ("loss", "original", "reweighted"), 5 / 3
    )
    assert outputs["lead"].tolist() == [1, -3, 2]
    assert outputs["gradient_norm"].tolist() == pytest.approx([0.62246, 0.98901, 0.37754], abs=1e-5)
    ranks = torch.tensor([0.0, 1.0, 2.0])
    _, outputs = losses_of(criterion, Mean().eval(), (*batch, ranks))
    assert outputs["score"].tolist() == [1, 2, 4]
    assert outputs["rank"].tolist() == [0, 1, 2]


def test_a_misspelt_constant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"constants\.data\.nfft is not known; .* Did you mean 'n_fft'\?"):
        train(trial_in(tmp_path, Reports(), {"data": {"nfft": 64}}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs_per_epoch": 0}, "pairs_per_epoch is 0; expected a whole number of at least 1 or none"),
        ({"batch_size": None}, "batch_size is None; expected a whole number of at least 1$"),
        ({"base_width": 1.5}, r"base_width is 1\.5; expected a whole number of at least 1$"),
        ({"data": DATA | {"validation_pairs": 0}}, r"data\.validation_pairs is 0; expected a whole number"),
        ({"ghm_statistics": "all"}, "ghm_statistics is 'all'; expected epoch or first_batch"),
    ],
)
def test_constants_out_of_range(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    params = {name: value for name, value in changed.items() if name in PARAMS}
    with pytest.raises(ValueError, match=message):
        train(trial_in(tmp_path, Reports(), CONSTANTS | changed, **params))


def test_held_out_losses_may_be_taken_over_some_of_the_pairs(tmp_path: Path) -> None:
    """Accuracies are over all of them all the same."""
    few = CONSTANTS | {"epochs": 1, "data": DATA | {"validation_pairs": 20}}
    some, whole = (
        train(trial_in(tmp_path / name, Reports(), constants, **GHM))
        for name, constants in (("some", few), ("whole", CONSTANTS | {"epochs": 1}))
    )
    assert some["val_pair_accuracy"] == whole["val_pair_accuracy"]
    assert some["val_original"] != whole["val_original"]
    assert some["val_original"] == pytest.approx(whole["val_original"], rel=0.5)


@pytest.mark.parametrize("architecture", ["resnet_small", "resnet_deep", "resnet_wide"])
def test_it_learns(tmp_path: Path, architecture: str) -> None:
    reports = Reports()
    constants = CONSTANTS | {"epochs": 6, "pairs_per_epoch": 100}
    train(trial_in(tmp_path, reports, constants, architecture=architecture, **GHM))
    assert reports[6]["train_original"] < 0.8 * reports[1]["train_original"]
    assert reports[6]["train_pair_accuracy"] > 0.75


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes on two free cores, many on busy ones
def test_the_small_study_ranks_angles_and_its_winner_holds_on_its_test_split(tmp_path: Path) -> None:
    spec = load_spec("audio_angle_small.yaml")
    result = run(spec, tmp_path)
    assert result.done
    assert result.progress.best is not None
    assert result.progress.best > 0.8
    assert score(tmp_path, "audio_angle_small").metrics["pair_accuracy"] > 0.8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_on_a_gpu_it_trains_in_each_precision_and_tells_its_memory(tmp_path: Path, precision: str) -> None:
    reports = Reports()
    train(trial_in(tmp_path, reports, CONSTANTS | {"precision": precision, "epochs": 6}, **GHM))
    assert reports[6]["peak_gpu_mib"] > 0
    assert reports[6]["train_original"] < reports[1]["train_original"]
    assert 0 <= evaluate(trial_in(tmp_path, reports, **GHM), None)["pair_accuracy"] <= 1
