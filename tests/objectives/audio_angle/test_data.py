"""Splits of spectrograms: the same from files and from the generator, with no rank missing and no group divided."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from objectives.audio_angle import data
from objectives.audio_angle.data import Picture, load, load_folder
from objectives.audio_angle.files import Clips, Layout
from objectives.audio_angle.generator import generate
from objectives.audio_angle.objective import DEFAULTS
from objectives.audio_angle.spectrogram import spectrogram

SMALL = Picture(n_fft=256, hop=128, bands=16)
MADE: dict[str, Any] = {"picture": SMALL, "sample_rate": 8000, "seconds": 0.2, "clips": 60}


def write_table(root: Path, clips: Clips, name: str = "labels.csv", **columns: list[str]) -> None:
    """The clips as floats, which keep their bits, and a CSV of them."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [["file", "rank", *columns]]
    for k, (wave, rank) in enumerate(zip(clips.waves, clips.ranks, strict=True)):
        wavfile.write(root / f"{name[:-4]}{k}.wav", clips.rate, wave)
        rows.append([f"{name[:-4]}{k}.wav", f"{rank:g}", *(values[k] for values in columns.values())])
    (root / name).write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def clips() -> Clips:
    return generate(60, 4, 8000, 0.2)


def test_files_and_generator_give_the_same(tmp_path: Path, clips: Clips) -> None:
    write_table(tmp_path, clips)
    made, read = load(None, **MADE, seed=4, val_fraction=0.3), load(tmp_path, picture=SMALL, seed=4, val_fraction=0.3)
    for split in ("train", "val"):
        one, other = getattr(made, split), getattr(read, split)
        assert torch.equal(one.images, other.images)
        np.testing.assert_array_equal(one.ranks, other.ranks)
    assert (made.mean, made.std, made.rate, made.samples) == (read.mean, read.std, read.rate, read.samples)
    assert read.test is None
    assert made.test is not None
    assert len(made.test.ranks) == len(made.val.ranks) == 18
    assert len(load(None, **MADE, test_fraction=0.5).test.ranks) == 30  # type: ignore[union-attr]


def test_each_rank_has_its_share_of_each_split() -> None:
    dataset = load(None, **MADE, seed=1, val_fraction=0.2)
    for split, of_each in (("train", 8), ("val", 2), ("test", 2)):
        assert np.bincount(getattr(dataset, split).ranks.astype(int)).tolist() == [of_each] * 6
    assert dataset.train.images.shape == (48, 1, 16, 13)
    assert dataset.train.images.dtype == torch.float32


def test_no_clip_is_in_two_splits() -> None:
    dataset = load(None, **MADE, seed=1)
    seen = [image.numpy().tobytes() for split in ("train", "val", "test") for image in getattr(dataset, split).images]
    assert len(set(seen)) == len(seen)


def test_loaded_once_and_drawn_by_the_seed() -> None:
    first = load(None, **MADE, seed=1)
    assert load(None, **MADE, seed=1) is first
    assert torch.equal(load.__wrapped__(None, **MADE, seed=1).train.images, first.train.images)
    assert not torch.equal(load(None, **MADE, seed=2).train.images, first.train.images)


def test_decibels_are_measured_on_the_training_clips() -> None:
    dataset = load(None, **MADE, seed=1)
    values = dataset.train.images.double().numpy()
    assert (dataset.mean, dataset.std) == (pytest.approx(values.mean()), pytest.approx(values.std()))


def test_lengths(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = tuple(rng.standard_normal(300 + 100 * k).astype(np.float32) for k in range(6))
    write_table(tmp_path, Clips(waves, 8000, np.arange(6.0) % 3, ("",) * 6, ("",) * 6, None, None))
    longest = load(tmp_path, picture=SMALL, val_fraction=0.5)
    assert longest.samples == 800
    assert longest.train.images.shape[-1] == 800 // 128 + 1
    assert load(tmp_path, picture=SMALL, val_fraction=0.5, seconds=0.05).samples == 400
    padded = torch.zeros(1, 1000)
    padded[0, :300] = torch.from_numpy(waves[0])
    wide = load(tmp_path, picture=SMALL, val_fraction=0.5, seconds=0.125)
    images = torch.cat([wide.train.images, wide.val.images])[:, 0]
    expected = spectrogram(padded, 256, 128, bands=16)[0]
    assert any(torch.allclose(image, expected) for image in images)
    with pytest.raises(ValueError, match=r": 200 samples, data\.seconds 0\.025 at 8000 a second, are fewer than one"):
        load(tmp_path, picture=SMALL, val_fraction=0.5, seconds=0.025)


def test_splits_of_the_files_win(tmp_path: Path, clips: Clips) -> None:
    write_table(tmp_path, clips, split=["test"] * 24 + ["train"] * 36)
    dataset = load(tmp_path, picture=SMALL, val_fraction=0.5, test_fraction=0.5)
    assert dataset.test is not None
    np.testing.assert_array_equal(dataset.test.ranks, clips.ranks[:24])
    assert (len(dataset.train.ranks), len(dataset.val.ranks)) == (18, 18)
    assert dataset.summary == (
        f"{tmp_path}: train 18 clips of 6 ranks; val 18 clips of 6 ranks; test 24 clips of 6 ranks; 8000 samples a "
        "second, spectrograms of 16 bins x 13 frames"
    )


def test_no_group_is_divided(tmp_path: Path, clips: Clips) -> None:
    speakers = [f"s{k // 6}" for k in range(60)]  # each says all six
    write_table(tmp_path, clips, speaker=speakers)
    columns = (("file", None), ("patient", "speaker"), ("rank", None), ("split", None))
    dataset = load(tmp_path, Layout(columns=columns), SMALL, val_fraction=0.3)
    assert np.bincount(dataset.val.ranks.astype(int)).tolist() == [3] * 6  # whole speakers
    write_table(tmp_path, clips, speaker=speakers, split=["train"] * 33 + ["test"] * 27)
    with pytest.raises(ValueError, match=r"s5 is in (train and in test|test and in train); expected each in one split"):
        load(tmp_path, Layout(columns=columns), SMALL, val_fraction=0.31)


def test_a_class_that_a_split_lacks(tmp_path: Path, clips: Clips) -> None:
    write_table(tmp_path, clips, split=["test" if rank < 5 else "train" for rank in clips.ranks])
    with pytest.raises(ValueError, match=r"train samples is of class 0; expected some of each class in each split"):
        load(tmp_path, picture=SMALL)


def test_measured_ranks_are_not_classes(tmp_path: Path, clips: Clips) -> None:
    measured = Clips(clips.waves, 8000, np.arange(60) * 0.25, clips.names, clips.splits, None, None)
    write_table(tmp_path, measured)
    assert len(load(tmp_path, picture=SMALL).val.ranks) == 12


def test_a_split_without_pairs(tmp_path: Path, clips: Clips) -> None:
    ranks = np.concatenate([np.arange(50.0), np.full(10, 7.0)])
    measured = Clips(clips.waves, 8000, ranks, clips.names, clips.splits, None, None)
    write_table(tmp_path, measured, split=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    with pytest.raises(ValueError, match=r", test: all 10 clips have rank 7; expected two ranks at least in each"):
        load(tmp_path, picture=SMALL)


def test_a_held_out_folder(tmp_path: Path, clips: Clips) -> None:
    like = load(None, **MADE)
    write_table(tmp_path / "plain", clips)
    held_out = load_folder(tmp_path / "plain", like.rate, like.samples, Layout(), SMALL, None)
    np.testing.assert_array_equal(held_out.ranks, clips.ranks)
    assert held_out.images.shape[2:] == like.train.images.shape[2:]
    write_table(tmp_path / "split", clips, split=["test"] * 24 + ["train"] * 36)
    held_out = load_folder(tmp_path / "split", like.rate, like.samples, Layout(), SMALL, None)
    np.testing.assert_array_equal(held_out.ranks, clips.ranks[:24])
    write_table(tmp_path / "train", clips, split=["val"] * 24 + ["train"] * 36)
    with pytest.raises(ValueError, match=r"train has clips of train or val only; expected some of split test"):
        load_folder(tmp_path / "train", like.rate, like.samples, Layout(), SMALL, None)
    write_table(tmp_path / "fast", generate(12, 0, 16000, 0.2))
    with pytest.raises(ValueError, match=r"fast has 16000 samples a second and the study's data 8000; expected the"):
        load_folder(tmp_path / "fast", like.rate, like.samples, Layout(), SMALL, None)
    assert (
        load_folder(tmp_path / "fast", like.rate, like.samples, Layout(), SMALL, 8000).images.shape[2:]
        == like.train.images.shape[2:]
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_fft": 8}, r"data\.n_fft is 8; expected a whole number of at least 16"),
        ({"n_fft": None}, r"data\.n_fft is None; expected a whole number of at least 16$"),
        ({"hop": 0}, r"data\.hop is 0; expected a whole number of at least 1"),
        ({"window": 4096}, r"data\.window is 4096; expected at most data\.n_fft, 2048"),
        ({"bands": 1}, r"data\.bands is 1; expected a whole number of at least 2 or none"),
        ({"floor": 0}, r"data\.floor is 0; expected a number between 0 and 1, such as 1\.0e-10"),
        ({"floor": "1e-10"}, r"data\.floor is '1e-10'; expected a number"),
        ({"classes": "deg000"}, r"data\.classes is 'deg000'; expected at least two names, all"),
        ({"classes": ["a", "b", "a"]}, r"data\.classes is \['a', 'b', 'a'\]; expected at least two names, all"),
        ({"material": 7}, r"data\.material is 7; expected a name$"),
        ({"labels": ["a.csv"]}, r"data\.labels is \['a\.csv'\]; expected a name or none"),
        ({"columns": {"file": 1}}, r"data\.columns\.file is 1; expected a name or none"),
    ],
)
def test_constants_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.arguments(DEFAULTS["data"] | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seconds": -1}, r"data\.seconds is -1; expected more than 0"),
        ({"clips": 5}, r"clips is 5; expected a whole number of at least 6"),
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0; expected a number from 0 to below 1"),
        ({"picture": Picture()}, r"generated sounds: 1600 samples, .* are fewer than one window of the spectrogram"),
        ({"root": Path("nowhere")}, r"nowhere does not exist; expected a folder of sounds"),
    ],
)
def test_arguments_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**(MADE | changed))


def test_real_speech() -> None:
    root = Path(os.environ.get("HPO_TEST_DATA") or "unset") / "audio_fsdd"
    if not root.is_dir():
        pytest.skip("HPO_TEST_DATA names no folder with audio_fsdd (360 spoken digits in a ladder of noise)")
    columns = {"file": "file", "rank": "rank", "split": "split"}
    options = {"labels": "labels_snr.csv", "audio": "wav_snr", "columns": DEFAULTS["data"]["columns"] | columns}
    options |= {"n_fft": 256, "hop": 128, "bands": 32, "seconds": 0.4}
    dataset = load(root, **data.arguments(DEFAULTS["data"] | options))
    assert dataset.test is not None
    assert len(dataset.train.ranks) + len(dataset.val.ranks) == 240
    assert np.bincount(dataset.test.ranks.astype(int)).tolist() == [18, 24, 24, 24, 18, 12]
    assert dataset.train.images.shape[1:] == (1, 32, 26)
    assert (dataset.rate, dataset.samples) == (8000, 3200)
