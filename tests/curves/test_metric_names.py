"""What a metric measures, whichever data it is measured on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.curves.metric_names import direction_by_name, is_one_of, preference, without_split


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


def test_kinds_of_metrics_are_known_by_the_end_of_their_names() -> None:
    assert is_one_of("val_macro_f1", ("f1",))
    assert is_one_of("recall_2", ("recall",))  # as Keras counts
    assert not is_one_of("val_recall_malignant", ("recall",))
    assert not is_one_of("val_average_precision", ("precision",))
    assert [direction_by_name(name) for name in ("val_dice_loss", "val_dice", "mae", "val_angle", "val_ap")] == [
        "minimize", "maximize", "minimize", "", "maximize",
    ]  # fmt: skip
    names = ["val_recall", "val_accuracy", "val_dice", "val_kappa", "val_balanced_accuracy", "val_auc"]
    assert sorted(names, key=preference) == [
        "val_auc", "val_kappa", "val_balanced_accuracy", "val_dice", "val_accuracy", "val_recall",
    ]  # fmt: skip
