"""How samples are split: by hand, by class, by patient, as a file says, and never otherwise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.splits import assign, check_classes


def test_each_class_has_its_share_in_each_split() -> None:
    labels = np.array([1] * 30 + [0] * 970)
    splits = assign(1000, 0.2, 0.1, seed=3, labels=labels)
    found = Counter(zip(labels.tolist(), splits.tolist(), strict=True))
    positives = {(1, "train"): 21, (1, "val"): 6, (1, "test"): 3}
    assert found == positives | {(0, "train"): 679, (0, "val"): 194, (0, "test"): 97}
    assert splits.tolist() == assign(1000, 0.2, 0.1, seed=3, labels=labels).tolist()
    assert splits.tolist() != assign(1000, 0.2, 0.1, seed=4, labels=labels).tolist()


def test_a_class_too_small_for_its_fraction_is_still_everywhere() -> None:
    labels = np.array([1] * 3 + [0] * 97)
    assert sorted(assign(100, 0.05, 0.05, seed=0, labels=labels)[:3]) == ["test", "train", "val"]
    only_two = np.array([1] * 2 + [0] * 98)
    assert sorted(assign(100, 0.05, 0.05, seed=0, labels=only_two)[:2]) == ["train", "val"]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=12, max_size=60),
    seed=st.integers(0, 99),
    test_fraction=st.sampled_from([0.0, 0.15]),
    data=st.data(),
)
def test_a_patient_is_never_divided(sizes: list[int], seed: int, test_fraction: float, data: st.DataObject) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(sizes), max_size=len(sizes))))[groups]
    splits = assign(len(groups), 0.2, test_fraction, seed, labels=labels, groups=groups)
    assert all(len(set(splits[groups == patient])) == 1 for patient in range(len(sizes)))
    assert {"train", "val"} <= set(splits)
    assert ("test" in splits) == bool(test_fraction)


def test_groups_of_equal_size_are_split_exactly() -> None:
    groups = np.repeat(np.arange(50), 4)
    labels = np.repeat((np.arange(50) < 10).astype(int), 4)
    splits = assign(200, 0.2, 0.2, seed=1, labels=labels, groups=groups)
    assert [int((splits[labels == 1] == split).sum()) for split in ("train", "val", "test")] == [24, 8, 8]
    assert [int((splits == split).sum()) for split in ("train", "val", "test")] == [120, 40, 40]


def test_what_a_file_says_wins_and_what_it_leaves_open_is_drawn() -> None:
    given_ = ["train"] * 80 + ["Test"] * 20
    splits = assign(100, 0.25, 0.5, seed=0, given=given_)
    assert (splits[80:] == "test").all()
    assert Counter(splits[:80].tolist()) == {"train": 60, "val": 20}
    whole = assign(4, 0.5, 0.5, seed=0, given=["training", "valid", "validation", "test"])
    assert whole.tolist() == ["train", "val", "val", "test"]


def test_mistakes_are_sentences() -> None:
    with pytest.raises(ValueError, match=r"labels\.csv: sample 2 is in split 'tset'; expected train, val or test"):
        assign(2, 0.2, 0.0, 0, given=["train", "tset"], where="labels.csv")
    with pytest.raises(ValueError, match=r"labels\.csv: patient 7 is in train and in test; expected each in one split"):
        assign(3, 0.2, 0.0, 0, groups=[7, 8, 7], given=["train", "train", "test"], where="labels.csv")
    with pytest.raises(ValueError, match=r"val_fraction is 1\.5; expected a number from 0 to below 1"):
        assign(3, 1.5, 0.0, 0)
    with pytest.raises(ValueError, match=r"of 10 samples nothing is left to compare trials by .* val_fraction 0"):
        assign(10, 0, 0.0, 0)
    with pytest.raises(ValueError, match=r"of 1 samples nothing is left to compare trials by"):
        assign(1, 0.2, 0.0, 0)
    with pytest.raises(ValueError, match=r"of 2 samples nothing is left to train on"):
        assign(2, 0.2, 0.0, 0, given=["val", "test"])


def test_a_class_that_a_split_lacks_is_named() -> None:
    splits = np.array(["train", "train", "val", "val"])
    check_classes([0, 1, 1, 0], splits, [0, 1], "labels.csv")
    with pytest.raises(ValueError, match=r"labels\.csv: none of the 2 val samples is of class 1; expected some"):
        check_classes([0, 1, 0, 0], splits, [0, 1], "labels.csv")
