"""The numbers of an epoch, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives.audio_angle.measures import Measures, statistics_of


def outputs(leads: list[float], margin: float = 1.0) -> dict[str, torch.Tensor]:
    lead = torch.tensor(leads)
    return {"lead": lead, "gradient_norm": torch.sigmoid(margin - lead), "weight": torch.ones(len(leads))}


def test_statistics_by_hand() -> None:
    found = statistics_of(np.array([0.05, 0.07, 0.95, 1.0], np.float32), np.array([1.0, 3.0, 0.5, 0.7]), 10)
    assert (found["number"], found["min"], found["max"]) == (4, pytest.approx(0.05), 1)
    assert found["shares"].tolist() == [50, 0, 0, 0, 0, 0, 0, 0, 0, 50]
    np.testing.assert_allclose(found["weights"], [2, *[np.nan] * 8, 0.6])
    assert found["histogram"].shape == (50,)
    assert found["histogram"].nonzero()[0].tolist() == [2, 3, 47, 49]
    assert (found["most_populated"], found["least_populated"], found["inert"]) == (0, 1, 0)


def test_evenness_of_the_specification() -> None:
    """14 of 15 in one of 10 bins and 1 in another: 27.85 %; all in one: 30.00 %."""
    norms = np.array([0.95] * 14 + [0.15])
    assert statistics_of(norms, np.ones(15), 10)["evenness"] == pytest.approx(27.85, abs=0.005)
    assert statistics_of(norms[:14], np.ones(14), 10)["evenness"] == pytest.approx(30, abs=1e-9)


def test_an_epoch_of_training() -> None:
    found = Measures(10, 1.0, 2, "epoch", 0.75)(outputs([3.0, 0.0, -1.0, 2.0, 0.5]), "train")
    assert found["pair_accuracy"] == pytest.approx(0.7)  # three right, one tie, of five
    assert found["pairs_per_batch"] == 2
    assert found["ghm_number"] == 5
    assert found["ghm_max"] == pytest.approx(1 / (1 + np.exp(-2)))  # margin 1, behind by 1
    floats = {name for name, value in found.items() if isinstance(value, float)}
    moments = {f"ghm_{name}" for name in ("number", "mean", "median", "min", "max", "std")}
    bins = {f"ghm_{name}" for name in ("most_populated", "least_populated", "evenness", "inert")}
    assert floats == {"pair_accuracy", "pairs_per_batch"} | moments | bins
    shapes = {name: value.shape for name, value in found.items() if isinstance(value, np.ndarray)}
    settings: dict[str, tuple[int, ...]] = {"ghm_alpha": (), "ghm_margin": (), "ghm_momentum": ()}
    assert shapes == {"ghm_shares": (10,), "ghm_weights": (10,), "ghm_histogram": (50,), **settings}
    assert [found[name] for name in settings] == [0.75, 1.0, 0.0]


def test_statistics_of_the_first_batch_alone() -> None:
    found = Measures(10, 1.0, 2, "first_batch", 0.75)(outputs([3.0, 0.0, -1.0, 2.0, 0.5]), "train")
    assert found["ghm_number"] == 2
    assert found["ghm_max"] == pytest.approx(1 / (1 + np.exp(-1)))
    assert found["pair_accuracy"] == pytest.approx(0.7)
    with pytest.raises(ValueError, match="ghm_statistics is 'batch'; expected epoch or first_batch"):
        Measures(10, 1.0, 2, "batch", 0.75)


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_clips_are_compared_pair_by_pair(split: str) -> None:
    clips = {"rank": torch.tensor([0.0, 1.0, 1.0, 2.0]).double(), "score": torch.tensor([0.1, 0.3, 0.0, 0.3])}
    found = Measures(10, 1.0, 2, "epoch", 0.75)(clips, split)
    # Of five pairs of unequal rank: right 0-1, 0-3, 2-3; wrong 0-2; equal scores 1-3.
    assert found["pair_accuracy"] == pytest.approx(3.5 / 5)
    # tau-b: (3 - 1) / sqrt(5 x 5), 5 of 6 pairs are not tied in rank, 5 of 6 not in score.
    assert found["kendall_tau"] == pytest.approx(2 / 5)


def test_scores_that_are_none_have_no_accuracy() -> None:
    """The training went wrong in its last step: the next epoch's loss says so and ends the trial."""
    clips = {"rank": torch.arange(3.0), "score": torch.tensor([0.1, float("nan"), 0.3])}
    found = Measures(10, 1.0, 2, "epoch", 0.75)(clips, "val")
    assert np.isnan([found["pair_accuracy"], found["kendall_tau"]]).all()


def test_an_inert_mechanism_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    measures = Measures(10, 10.0, 4, "epoch", 0.75)
    for _ in range(2):
        assert measures(outputs([0.1, -0.2, 0.0, 0.3], margin=10), "train")["ghm_inert"] == 1
    said = capsys.readouterr().out
    assert said == (
        "gradient harmonising is inert: 100.0 % of the gradient norms lie in bin 10 of 10, from 0.9 to 1, and so have "
        "one weight; the loss is nearly the plain hinge. A smaller margin or more bins spread them (at a margin of 10, "
        "a pair of equal scores has a norm of 0.99995)\n"
    )


def test_so_is_one_whose_pairs_are_all_easy(capsys: pytest.CaptureFixture[str]) -> None:
    Measures(10, 0.5, 4, "epoch", 0.75)(outputs([9.0, 8.0, 12.0], margin=0.5), "train")
    assert "bin 1 of 10, from 0 to 0.1" in (said := capsys.readouterr().out)
    assert "in order by more than the margin of 0.5 and add nothing to the loss. Fewer epochs, or a larger" in said


def test_a_loss_without_weights_cannot_be_inert_and_is_recorded_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Measures(10, 10.0, 4, "epoch", 0.0)(outputs([0.1, -0.2, 0.0], margin=10), "train")["ghm_inert"] == 1
    assert not capsys.readouterr().out


def test_a_working_mechanism_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert Measures(10, 1.0, 4, "epoch", 0.75)(outputs([3.0, 0.0, -1.0]), "train")["ghm_inert"] == 0
    assert not capsys.readouterr().out
