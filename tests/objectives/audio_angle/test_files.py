"""Files of a user: each layout gives the same clips, and each mistake a sentence that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from objectives.audio_angle.files import CLASSES, Clips, Layout, read_clips

RATE = 8000
COLUMNS = {"file": None, "rank": None, "patient": None, "split": None}


def layout(**changed: object) -> Layout:
    if "columns" in changed:
        changed["columns"] = tuple((COLUMNS | changed["columns"]).items())  # type: ignore[operator]
    return Layout(**changed)  # type: ignore[arg-type]


def sound(number: int, samples: int = 300) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(-9999, 9999, samples).astype(np.int16)


def write(path: Path, number: int = 0, rate: int = RATE, samples: int = 300) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, sound(number, samples))
    return path


def write_classes(root: Path, classes: tuple[str, ...] = CLASSES, prefix: str = "", first: int = 0) -> None:
    """Two sounds of each class, of 3000hz of plastic, and one of 1000hz."""
    for rank, name in enumerate(classes):
        folder = root / f"{prefix}{name}" / "plastic"
        for sequence, frequency in ((1, "3000hz"), (2, "3000hz"), (1, "1000hz")):
            number = first + 10 * rank + sequence + 100 * (frequency == "1000hz")
            write(folder / f"plastic_{name}_{frequency}_{sequence:03d}.wav", number)


def write_table(root: Path, rows: str, name: str = "labels.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(rows)


def numbers_of(clips: Clips) -> list[int]:
    """Which sounds they are."""
    known = {(sound(k) / 32768).astype(np.float32).tobytes(): k for k in range(200)}
    return [known[wave.tobytes()] for wave in clips.waves]


def test_folders_of_classes(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "README.md").write_text("of other kinds")
    (tmp_path / "deg000" / "plastic" / ".DS_Store").write_bytes(b"of a file manager")
    (tmp_path / "deg000" / "plastic" / "._plastic_deg000_3000hz_001.wav").write_bytes(b"of a file manager")
    clips = read_clips(tmp_path, Layout())
    assert numbers_of(clips) == [1, 2, 11, 12, 21, 22, 31, 32, 41, 42, 51, 52]
    assert clips.ranks.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert clips.names[:2] == ("plastic_deg000_3000hz_001.wav", "plastic_deg000_3000hz_002.wav")
    assert (clips.rate, set(clips.splits), clips.groups, clips.levels) == (RATE, {""}, None, CLASSES)
    assert all(wave.dtype == np.float32 for wave in clips.waves)


def test_other_frequencies_materials_and_classes(tmp_path: Path) -> None:
    write_classes(tmp_path)
    assert numbers_of(read_clips(tmp_path, Layout(frequency="1000hz"))) == [101, 111, 121, 131, 141, 151]
    shutil.rmtree(tmp_path)
    for rank, name in enumerate(("far", "near")):
        write(tmp_path / name / "steel" / f"steel_{name}_3000hz_7.WAV", rank)
    clips = read_clips(tmp_path, Layout(classes=("near", "far"), material="steel"))
    assert numbers_of(clips) == [1, 0]
    assert clips.ranks.tolist() == [0, 1]


@pytest.mark.parametrize("prefix", ["test/", "test_"])
def test_folders_of_a_split(tmp_path: Path, prefix: str) -> None:
    write_classes(tmp_path)
    write_classes(tmp_path, prefix=prefix, first=5)
    clips = read_clips(tmp_path, Layout())
    assert clips.splits == ("",) * 12 + ("test",) * 12
    assert numbers_of(clips)[12:] == [6, 7, 16, 17, 26, 27, 36, 37, 46, 47, 56, 57]


TABLE = "file,rank,speaker,split\na.wav,0.5,ann,train\nb.wav,-2,bob,Validation\nc.wav,1e1,cem,test\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        write(tmp_path / f"{name}.wav", number)
    write_table(tmp_path, TABLE)
    return tmp_path


def test_a_table(table: Path) -> None:
    clips = read_clips(table, Layout())
    assert numbers_of(clips) == [0, 1, 2]
    assert clips.ranks.tolist() == [0.5, -2.0, 10.0]
    assert clips.splits == ("train", "val", "test")
    assert (clips.groups, clips.levels) == (None, None)
    assert read_clips(table, layout(columns={"patient": "speaker"})).groups == ("ann", "bob", "cem")


def test_a_table_with_names_of_its_own_beside_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "wav" / "one" / "a.wav", 3)
    write(tmp_path / "wav" / "b.wav", 4)
    write(tmp_path / "other" / "c.wav", 5)
    write_table(tmp_path, "clip,order\none/a.wav,high\nb.wav,low\n", "mine.csv")
    asked = layout(
        labels="mine.csv", audio="wav", columns={"file": "clip", "rank": "order"}, classes=("low", "middle", "high")
    )
    clips = read_clips(tmp_path, asked)
    assert numbers_of(clips) == [3, 4]
    assert clips.ranks.tolist() == [2, 0]
    assert clips.levels == ("low", "middle", "high")


def test_tables_of_a_split(table: Path) -> None:
    write_table(table, "file,rank\na.wav,1\nb.wav,2\n")
    write_table(table, "file,rank\nc.wav,3\n", "test_labels.csv")
    clips = read_clips(table, Layout())
    assert clips.splits == ("", "", "test")
    assert clips.ranks.tolist() == [1, 2, 3]


def test_resampled_to_one_rate(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 0, 16000, 1000)
    write(tmp_path / "b.wav", 1, 8000, 1000)
    write_table(tmp_path, "file,rank\na.wav,0\nb.wav,1\n")
    clips = read_clips(tmp_path, Layout(), sample_rate=8000)
    assert clips.rate == 8000
    assert [len(wave) for wave in clips.waves] == [500, 1000]
    with pytest.raises(ValueError, match=r"b\.wav has 8000 samples a second and a\.wav 16000; expected one rate"):
        read_clips(tmp_path, Layout())
    with pytest.raises(ValueError, match=r"data\.sample_rate is 'high'; expected a whole number"):
        read_clips(tmp_path, Layout(), sample_rate="high")  # type: ignore[arg-type]


def test_too_short_counts_after_resampling(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 0, 8000, 256)
    write_table(tmp_path, "file,rank\na.wav,0\n")
    assert len(read_clips(tmp_path, Layout(), shortest=256).waves[0]) == 256
    assert len(read_clips(tmp_path, Layout(), 16000, 512).waves[0]) == 512
    with pytest.raises(ValueError, match=r"a\.wav is too short: 128 samples at 4000 a second, and one window .* 256; "):
        read_clips(tmp_path, Layout(), 4000, 256)
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match=r"a\.wav is too short: 0 samples at 4000"):
        read_clips(tmp_path, Layout(), 4000, 256)


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def add(path: str) -> Callable[[Path], object]:
    return lambda root: write(root / path)


def move(path: str, to: str) -> Callable[[Path], object]:
    return lambda root: (root / path).rename(root / to)


PLASTIC = "deg072/plastic"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("deg072"), r"has no folder for class deg072, only for deg000, deg036, deg108, deg144, deg180; exp"),
        (move("deg036", "deg36"), r"deg36 is not a class; expected folders named .* Did you mean 'deg036'\?"),
        (move("deg036", "test_deg36"), r"test_deg36 is not a class; .* Did you mean 'deg036'\?"),
        (add("test/deg090/plastic/a.wav"), r"deg090 is not a class; expected folders named as in data\.classes"),
        (move(PLASTIC, "deg072/plastik"), r"deg072 holds plastik; expected a folder plastic .* Did you mean 'plastik'"),
        (remove(PLASTIC), r"deg072 is empty; expected a folder plastic \(data\.material\)\.$"),
        (add(f"{PLASTIC}/plastic_deg036_3000hz_001.wav"), r"plastic_deg036_3000hz_001\.wav is not named plastic_deg"),
        (add(f"{PLASTIC}/plastic_deg072_3000hz_x.wav"), r"_x\.wav is not named .*, such as plastic_deg072_3000hz_001"),
        (add(f"{PLASTIC}/plastic_deg072_001.wav"), r"plastic_deg072_001\.wav is not named .* data\.ignore_extra: true"),
        (add("deg000/a.wav"), r"deg000.a\.wav lies beside the folders; expected \{class\}/\{material\}/\{material\}_"),
        (add("a.wav"), r"a\.wav lies beside the folders; expected .* data\.ignore_extra: true"),
        (add("test/deg000/plastic/plastic_deg000_3000hz_1.wav"), r"has no folder for class deg036 in split test, only"),
    ],
)
def test_folders_that_are_wrong(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    write_classes(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_clips(tmp_path, Layout())


def test_extra_files_and_folders_may_be_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for extra in ("a.wav", "deg000/a.wav", f"{PLASTIC}/odd.wav", "deg090/plastic/a.wav", "train/a.wav"):
        write(tmp_path / extra)
    assert len(read_clips(tmp_path, Layout(ignore_extra=True)).waves) == 12


def test_a_class_twice(tmp_path: Path) -> None:
    write_classes(tmp_path, prefix="test/")
    write_classes(tmp_path, prefix="test_")
    with pytest.raises(ValueError, match=r"test.deg000 and .*test_deg000 are both there; expected one of them"):
        read_clips(tmp_path, Layout())


def test_a_frequency_that_is_not_there(tmp_path: Path) -> None:
    write_classes(tmp_path)
    expected = r"plastic has no sounds of 300hz \(data\.frequency\), only 1000hz, 3000hz; .* Did you mean '3000hz'\?"
    with pytest.raises(ValueError, match=expected):
        read_clips(tmp_path, Layout(frequency="300hz"))
    for path in (tmp_path / "deg144" / "plastic").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"deg144.plastic has no sounds of 3000hz .*, no wav files; expected some of"):
        read_clips(tmp_path, Layout())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "file,rank\na.wav,1\nb.wav,2\nd.wav,3\n",
            r"labels\.csv, line 4: there is no sound d\.wav in .*; .* mean '\w\.wav'\?",
        ),
        (
            "file,rank\na.wav,1\nb.wav,2\n",
            r"c\.wav has no row in .*labels\.csv; expected a row for each sound",
        ),
        ("file,rank\na.wav,1\nb.wav,high\nc.wav,2\n", r"line 3: the rank is 'high'; expected a number, or names in"),
        ("file,rank\na.wav,1\nb.wav,nan\nc.wav,2\n", r"line 3: the rank is 'nan'; expected a number"),
        (
            "file,rank,split\na.wav,1,trian\nb.wav,2,test\nc.wav,2,val\n",
            r"line 2: split 'trian' is .* 'train'\?",
        ),
        (
            "file,rank\na.wav,1\nb.wav,2\n./a.wav,1\nc.wav,2\n",
            r"line 4: \./a\.wav is the sound a\.wav of line 2; e",
        ),
        ("file,rank\na.wav,1\na.wav,2\n", r"a\.wav"),
        ("file,order\na.wav,1\n", r"labels\.csv.*rank"),
        ("", r"labels\.csv cannot be read as a CSV"),
    ],
)
def test_tables_that_are_wrong(table: Path, rows: str, message: str) -> None:
    write_table(table, rows)
    with pytest.raises(ValueError, match=message):
        read_clips(table, Layout())


def test_a_rank_that_is_not_in_the_list(table: Path) -> None:
    with pytest.raises(ValueError, match=r"line 3: the rank is '-2'; expected one of data\.classes: 0\.5, 2, 1e1\."):
        read_clips(table, layout(classes=("0.5", "2", "1e1")))


def test_files_that_no_table_names_may_be_passed_over(table: Path) -> None:
    write_table(table, "file,rank\nc.wav,1\na.wav,2\n")
    assert numbers_of(read_clips(table, layout(ignore_extra=True))) == [2, 0]


def test_places_that_are_wrong(table: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere does not exist; expected a folder of sounds"):
        read_clips(table / "nowhere", Layout())
    with pytest.raises(ValueError, match=r"a\.wav is a file; expected a folder of sounds"):
        read_clips(table / "a.wav", Layout())
    (table / "sounds").mkdir()
    with pytest.raises(ValueError, match=r"data\.audio: .*sound is no folder; .* Did you mean 'sounds'\?"):
        read_clips(table, layout(audio="sound"))
    with pytest.raises(ValueError, match=r"mine\.csv does not exist; .*labels\.csv"):
        read_clips(table, layout(labels="mine.csv"))
    with pytest.raises(ValueError, match=r"sounds is empty; expected a folder of sounds for each class \(deg000, "):
        read_clips(table / "sounds", Layout())


def test_a_damaged_file_is_named(table: Path) -> None:
    (table / "b.wav").write_bytes((table / "b.wav").read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"b\.wav cannot be read as wav \(Reached EOF prematurely"):
        read_clips(table, Layout())
