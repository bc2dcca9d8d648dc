"""Clips as spectrograms in splits: the user's own files, or made-up sounds without any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.audio_angle.files import Clips, Layout, read_clips, read_waves, wav_files
from objectives.audio_angle.generator import RATE, SECONDS, generate
from objectives.audio_angle.spectrogram import fitted, spectrogram
from objectives.fingerprint import Fingerprint, fingerprint
from objectives.options import hashable
from objectives.splits import SPLITS, TEST_SEED_OFFSET, assign, check_classes

# A CSV of so few different ranks, each with so many clips on average, is taken to have them as classes.
MOST_LEVELS, LEAST_OF_LEVEL = 20, 5
CHUNK = 64  # clips that are transformed together


@dataclass(frozen=True)
class Picture:
    """Arguments of `spectrogram.spectrogram`, which makes a picture of a clip.

    Raises:
        ValueError: An argument is out of its range.
    """

    n_fft: int = 2048
    hop: int = 256
    window: int | None = None
    floor: float = 1e-10
    bands: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_fft", 16), ("hop", 1), ("window", 2), ("bands", 2)):
            value = getattr(self, name)
            optional = name in ("window", "bands")
            if not (isinstance(value, int) and value >= least) and not (optional and value is None):
                raise ValueError(
                    f"data.{name} is {value!r}; expected a whole number of at least {least}{' or none' * optional}"
                )
        if self.window is not None and self.window > self.n_fft:
            raise ValueError(f"data.window is {self.window}; expected at most data.n_fft, {self.n_fft}")
        if not isinstance(self.floor, float) or not 0 < self.floor < 1:
            raise ValueError(f"data.floor is {self.floor!r}; expected a number between 0 and 1, such as 1.0e-10")


PLAIN, PUBLISHED = Layout(), Picture()


@dataclass(frozen=True)
class Spectrograms:
    """Clips as pictures.

    Attributes:
        images: (n, 1, bins, frames) float32 decibels.
        ranks: (n,) float64.
        groups: The patient of each clip, or None where it is not known.
    """

    images: Tensor
    ranks: NDArray[np.float64]
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ranking:
    """The splits of a study's data.

    Attributes:
        train: The clips that train.
        val: The clips that validate.
        test: The clips of the test, if there are any.
        mean: Of the training spectrograms, decibels.
        std: Likewise.
        rate: Samples a second.
        samples: Of each clip, once cut or followed by silence.
        summary: What there is, one line.
        fingerprints: Of "train" and "val".
    """

    train: Spectrograms
    val: Spectrograms
    test: Spectrograms | None
    mean: float
    std: float
    rate: int
    samples: int
    summary: str
    fingerprints: dict[str, Fingerprint]


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load`, but for the folder, from the constants `data` of a study."""
    layout = {field.name: options[field.name] for field in fields(Layout)}
    layout["columns"] = hashable(options["columns"])
    if (classes := options["classes"]) is not None:
        named = isinstance(classes, Sequence) and not isinstance(classes, str)
        if not named or len(classes) < 2 or len(set(map(str, classes))) < len(classes):
            raise ValueError(f"data.classes is {classes!r}; expected at least two names, all different, or none")
        layout["classes"] = tuple(map(str, classes))
    rest = ("sample_rate", "seconds", "val_fraction", "test_fraction", "seed", "clips")
    return {
        "layout": Layout(**layout),
        "picture": Picture(**{field.name: options[field.name] for field in fields(Picture)}),
        **{name: options[name] for name in rest},
    }


@lru_cache(maxsize=2)  # once a worker process, not once a trial
def load(
    root: Path | None = None,
    layout: Layout = PLAIN,
    picture: Picture = PUBLISHED,
    sample_rate: int | None = None,
    seconds: float | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
    clips: int = 600,
) -> Ranking:
    """Return the splits of the user's folder, or of made-up sounds.

    Splits that the files name are those. What they leave open is cut from the training clips: `val_fraction` and
    `test_fraction` of each rank, drawn from `seed`. Without `root`, test sounds are made up from another seed.

    Args:
        root: The folder (its layouts: `objectives.audio_angle.files`); None: sounds are made up.
        layout: Which files to take, and how they are ranked.
        picture: How a clip becomes a spectrogram.
        sample_rate: See `files.read_clips`; of made-up sounds 16000 if it is None.
        seconds: What all clips are cut to, or brought to by silence after them; None: the longest clip.
        val_fraction: See above.
        test_fraction: See above; of made-up sounds 0 means as many as validate.
        seed: Of the splits and of made-up sounds.
        clips: How many are made up to train and validate on.

    Raises:
        ValueError: An argument is out of its range, files are wrong in any way, a split is without pairs, or a split
            lacks a rank where ranks are classes.
    """
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise ValueError(f"data.seconds is {seconds!r}; expected more than 0, or none for the longest clip")
    if root is None:
        origin = "generated sounds"
        made = sample_rate or RATE, seconds or SECONDS
        parts = _split(generate(clips, seed, *made), val_fraction, 0.0, seed, origin)
        n_test = round(test_fraction * clips) if test_fraction else len(parts["val"].waves)
        parts["test"] = generate(max(n_test, len(set(parts["train"].ranks))), seed + TEST_SEED_OFFSET, *made)
    else:
        origin = str(root)
        read = read_clips(root, layout, sample_rate, picture.n_fft)
        parts = _split(read, val_fraction, test_fraction, seed, origin)
    rate = parts["train"].rate
    longest = max(len(wave) for part in parts.values() for wave in part.waves)
    samples = longest if seconds is None else round(seconds * rate)
    if samples < picture.n_fft:
        raise ValueError(
            f"{origin}: {samples} samples, data.seconds {seconds} at {rate} a second, are fewer than one window of "
            f"the spectrogram; expected data.n_fft of {samples} at most, not {picture.n_fft}, or longer clips"
        )
    shown = {split: _shown(part, picture, samples) for split, part in parts.items()}
    std, mean = torch.std_mean(shown["train"].images.double(), correction=0)
    bins, frames = shown["train"].images.shape[2:]
    described = "; ".join(_described(split, part, samples) for split, part in parts.items())
    return Ranking(
        shown["train"],
        shown["val"],
        shown.get("test"),
        float(mean),
        float(std),
        rate,
        samples,
        f"{origin}: {described}; {rate} samples a second, spectrograms of {bins} bins x {frames} frames",
        {split: _fingerprint(parts[split]) for split in ("train", "val")},
    )


def load_folder(
    root: Path, rate: int, samples: int, layout: Layout, picture: Picture, sample_rate: int | None
) -> Spectrograms:
    """Return the clips of a held-out folder, of so many samples each: its test split, or else those of no split.

    Raises:
        ValueError: Files that are wrong in any way, and for a folder that has neither.
    """
    clips = read_clips(root, layout, sample_rate, picture.n_fft)
    if clips.rate != rate:
        raise ValueError(
            f"{root} has {clips.rate} samples a second and the study's data {rate}; expected the same (set "
            f"data.sample_rate: {rate} in the study)"
        )
    for split in ("test", ""):
        if chosen := [index for index, name in enumerate(clips.splits) if name == split]:
            held_out = _part(clips, np.array(chosen))
            _check_ranks(held_out, split or "no split", str(root))
            return _shown(held_out, picture, samples)
    raise ValueError(
        f"{root} has clips of train or val only; expected some of split test, or of no split: what was trained on is "
        "not held out"
    )


def new_clips(
    root: Path, rate: int, samples: int, picture: Picture, resampled: bool
) -> Iterator[tuple[list[str], Tensor]]:
    """Return the names and the spectrograms, (n, 1, bins, frames), of sounds without ranks, CHUNK at a time.

    Args:
        root: The folder; sounds may lie in folders of it.
        rate: Samples a second of the training clips.
        samples: Of each clip, once cut or followed by silence.
        picture: How a clip becomes a spectrogram.
        resampled: Whether clips of other rates are resampled, as those of the training were.

    Raises:
        ValueError: There are no sounds, or one cannot be used.
    """
    paths = wav_files(root)
    for start in range(0, len(paths), CHUNK):
        part = paths[start : start + CHUNK]
        waves, own = read_waves(part, rate if resampled else None, picture.n_fft)
        if own != rate:
            raise ValueError(
                f"{part[0]} has {own} samples a second and the study's data {rate}; expected the same (set "
                f"data.sample_rate: {rate} in the study)"
            )
        clips = Clips(tuple(waves), rate, np.zeros(len(part)), tuple(map(str, part)), ("",) * len(part), None, None)
        yield [path.relative_to(root).as_posix() for path in part], _shown(clips, picture, samples).images


def _split(clips: Clips, val_fraction: float, test_fraction: float, seed: int, where: str) -> dict[str, Clips]:
    """Return the clips of each split that there is."""
    given = [split or "train" for split in clips.splits] if any(clips.splits) else None
    values, counts = np.unique(clips.ranks, return_counts=True)
    if clips.levels is not None:
        values = np.arange(len(clips.levels), dtype=np.float64)
    classes = clips.levels is not None or (len(values) <= MOST_LEVELS and counts.mean() >= LEAST_OF_LEVEL)
    labels = clips.ranks if classes else None
    splits = assign(len(clips.ranks), val_fraction, test_fraction, seed, labels, clips.groups, given, where)
    if classes:
        names = clips.levels or tuple(f"{value:g}" for value in values)
        named = np.array(names)[np.searchsorted(values, clips.ranks)]
        check_classes(named, splits, names, where)
    parts = {split: _part(clips, np.flatnonzero(splits == split)) for split in SPLITS if (splits == split).any()}
    for split, part in parts.items():
        _check_ranks(part, split, where)
    return parts


def _part(clips: Clips, chosen: NDArray[np.intp]) -> Clips:
    def of(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[index] for index in chosen)

    groups = None if clips.groups is None else of(clips.groups)
    return Clips(
        of(clips.waves), clips.rate, clips.ranks[chosen], of(clips.names), of(clips.splits), groups, clips.levels
    )


def _fingerprint(clips: Clips) -> Fingerprint:
    return fingerprint(len(clips.ranks), (*clips.waves, clips.ranks))


def _check_ranks(clips: Clips, split: str, where: str) -> None:
    if not np.ptp(clips.ranks):
        raise ValueError(
            f"{where}, {split}: all {len(clips.ranks)} clips have rank {clips.ranks[0]:g}; expected two ranks at least "
            "in each split, to have pairs (more clips, or other fractions)"
        )


def _shown(clips: Clips, picture: Picture, samples: int) -> Spectrograms:
    waves = [torch.from_numpy(wave) for wave in clips.waves]
    drawn = [
        spectrogram(
            fitted(waves[first : first + CHUNK], samples),
            picture.n_fft, picture.hop, picture.window, picture.floor, picture.bands,
        )
        for first in range(0, len(waves), CHUNK)
    ]  # fmt: skip
    return Spectrograms(torch.cat(drawn)[:, None], clips.ranks, clips.groups)


def _described(split: str, clips: Clips, samples: int) -> str:
    lengths = np.array([len(wave) for wave in clips.waves])
    text = f"{split} {len(lengths):,} clips of {len(np.unique(clips.ranks))} ranks"
    if shorter := int((lengths < samples).sum()):
        text += f", {shorter:,} followed by silence"
    if longer := int((lengths > samples).sum()):
        text += f", {longer:,} cut"
    return text
