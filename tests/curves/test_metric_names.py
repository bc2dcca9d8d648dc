"""What a metric measures, whichever data it is measured on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.curves.metric_names import without_split


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("loss", "loss"),
        ("val_loss", "loss"),
        ("train_loss", "loss"),
        ("val_loss_dice", "loss_dice"),
        # One prefix only: a training that logs everything below `train_`.
        ("train_val_loss", "val_loss"),
        ("val_train_loss", "train_loss"),
        # The split is a prefix, spelled so. Other spellings are made these when a log is read.
        ("loss_val", "loss_val"),
        ("validation_loss", "validation_loss"),
        ("valid_acc", "valid_acc"),
        ("epoch_val_auc", "epoch_val_auc"),
        ("training_loss", "training_loss"),
        ("Val_loss", "Val_loss"),
        # Nothing is left without the prefix.
        ("val", "val"),
        ("val_", "val_"),
        ("train", "train"),
        ("train_", "train_"),
        ("", ""),
    ],
)
def test_what_a_metric_measures(name: str, measured: str) -> None:
    assert without_split(name) == measured


@given(st.lists(st.sampled_from(["train_", "val_", "loss", "_", "auc"]), max_size=5).map("".join))
def test_a_name_is_found_again_from_what_it_measures(name: str) -> None:
    measured = without_split(name)
    assert name in (measured, f"train_{measured}", f"val_{measured}")
