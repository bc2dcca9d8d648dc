"""Assignment of samples to training, validation and test: as the user's file says, else drawn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
# Made-up data to test on come from another seed than those trained on: other tissue, eyes, sounds, patients.
TEST_SEED_OFFSET = 1_000_003
SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def assign(
    n: int,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    labels: Sequence[Hashable] | NDArray[Any] | None = None,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    given: Sequence[str] | NDArray[Any] | None = None,
    where: str = "",
) -> NDArray[np.str_]:
    """Return the split of each sample, (n,) of "train", "val" and "test".

    The same arguments give the same splits.

    Args:
        n: Number of samples.
        val_fraction: The part that is cut for validation from what trains, where `given` has no "val".
        test_fraction: The part that is cut for a test, where `given` has no "test".
        seed: Of what is drawn.
        labels: Each label has the same share of samples in all that is drawn, as far as whole groups allow.
        groups: A patient each, all of whose samples go together. A group counts with its rarest label.
        given: The split of each sample, as a file says it.
        where: The beginning of messages.

    Raises:
        ValueError: A fraction is out of its range, a split has another name, a group is in two splits, or nothing would
            be left to train on or drawn for validation.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise ValueError(f"{name} is {fraction!r}; expected a number from 0 to below 1")
    start = f"{where}: " if where else ""
    splits = np.full(n, "train") if given is None else _named(given, start)
    keys = np.arange(n) if groups is None else np.asarray(groups)
    _check_groups(keys, splits, start)
    drawn = [
        (split, fraction)
        for split, fraction in (("val", val_fraction), ("test", test_fraction))
        if fraction and not (splits == split).any()
    ]
    open_ = np.flatnonzero(splits == "train")
    for split, chosen in _draw(keys[open_], None if labels is None else np.asarray(labels)[open_], drawn, seed).items():
        splits[open_[chosen]] = split
    for split, why in (("train", "to train on"), ("val", "to compare trials by")):
        if not (splits == split).any():
            counts = ", ".join(f"{name} {int((splits == name).sum())}" for name in SPLITS)
            raise ValueError(
                f"{start}of {n} samples nothing is left {why} ({counts}; val_fraction {val_fraction}, test_fraction "
                f"{test_fraction}); expected more samples or other fractions"
            )
    return splits


def check_classes(
    labels: Sequence[Any] | NDArray[Any], splits: NDArray[Any], classes: Sequence[Any], where: str
) -> None:
    """Raise ValueError if a split lacks one of the classes, which could not be learnt or measured there."""
    for split in SPLITS:
        inside = np.asarray(labels)[splits == split]
        for one in classes:
            if len(inside) and not (inside == one).any():
                raise ValueError(
                    f"{where}: none of the {len(inside)} {split} samples is of class {one}; expected some of each "
                    "class in each split (other fractions, or more samples of it)"
                )


def _named(given: Sequence[str] | NDArray[Any], start: str) -> NDArray[np.str_]:
    known = [SPELLINGS.get(str(one).strip().lower(), "") for one in given]
    for index, split in enumerate(known):
        if not split:
            raise ValueError(
                f"{start}sample {index + 1} is in split {str(given[index])!r}; expected train, val or test"
            )
    return np.array(known, dtype="<U5")


def _check_groups(keys: NDArray[Any], splits: NDArray[np.str_], start: str) -> None:
    first: dict[Hashable, str] = {}
    for key, split in zip(keys.tolist(), splits.tolist(), strict=True):
        if first.setdefault(key, split) != split:
            raise ValueError(
                f"{start}patient {key} is in {first[key]} and in {split}; expected each in one split, since what is "
                "known of a patient from training would be measured as skill"
            )


def _draw(
    keys: NDArray[Any], labels: NDArray[Any] | None, drawn: Sequence[tuple[str, float]], seed: int
) -> dict[str, NDArray[np.intp]]:
    """Return the indices that go to each split of `drawn`, stratum after stratum of groups in a random order."""
    names, group_of = np.unique(keys, return_inverse=True)
    sizes = np.bincount(group_of, minlength=len(names))
    stratum = np.zeros(len(names), dtype=np.intp)
    if labels is not None:
        _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        rarity = np.argsort(np.argsort(counts, kind="stable"), kind="stable")  # 0: the rarest label
        stratum = np.full(len(names), len(counts))
        np.minimum.at(stratum, group_of, rarity[codes])
    rng = np.random.default_rng([seed, 20])
    taken: dict[str, list[int]] = {split: [] for split, _ in drawn}
    for one in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == one))
        # Where the sizes of the groups before it end; a group goes where its middle falls.
        middles = (np.cumsum(sizes[members]) - sizes[members] / 2) / sizes[members].sum()
        edge = 0.0
        for split, fraction in drawn:
            chosen = members[(middles >= edge) & (middles < edge + fraction)].tolist()
            edge += fraction
            if not chosen:  # the smallest stratum gives each split one, if that leaves it one to train on
                free = np.setdiff1d(members, np.concatenate([*taken.values(), []]), assume_unique=True)
                chosen = free[: len(free) > 1].tolist()
            taken[split] += chosen
    return {split: np.flatnonzero(np.isin(group_of, groups)) for split, groups in taken.items()}
