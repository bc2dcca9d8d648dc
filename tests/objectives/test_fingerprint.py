from __future__ import annotations

import hashlib
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from objectives.fingerprint import fingerprint
from objectives.recording import write_data

SMALL = {
    "quickstart": {},
    "glaucoma": {"images": 300, "image_size": 16, "prevalence": 0.1},
    "mitochondria": {"slices": 4, "height": 64, "width": 64, "patch_size": 32},
    "audio_angle": {"clips": 40},
    "abr": {"records": 400},
}


def test_a_fingerprint_is_of_type_shape_and_values_in_order() -> None:
    a, b = np.array([[1, 2], [3, 4]], np.uint8), np.array([0.5], np.float32)
    said = hashlib.sha256(b"|u1(2, 2)" + bytes([1, 2, 3, 4]) + b"<f4(1,)" + b.tobytes()).hexdigest()
    assert fingerprint(2, [a, b]) == {"samples": 2, "sha256": said}
    others = [[b, a], [a.reshape(4), b], [a.astype(np.int8), b], [a[::-1], b], [a]]
    assert said not in {fingerprint(2, arrays)["sha256"] for arrays in others}
    # What counts is what is in an array, not how it lies in memory; and empty ones have a fingerprint.
    assert fingerprint(2, [np.asfortranarray(a), b])["sha256"] == said
    assert fingerprint(0, [np.empty((0, 3))])["samples"] == 0


@pytest.mark.parametrize("task", SMALL)
def test_data_of_every_task_are_known_by_seed_and_split(task: str) -> None:
    load = import_module(f"objectives.{task}.data").load
    first, again, other = (load(**SMALL[task], seed=seed).fingerprints for seed in (0, 0, 1))
    load.cache_clear()
    assert load(**SMALL[task], seed=0).fingerprints == first == again
    assert set(first) == {"train", "val"}
    assert first["train"]["sha256"] != first["val"]["sha256"]
    assert first["train"]["samples"] > first["val"]["samples"] * 0.99
    assert {first[split]["sha256"] for split in first}.isdisjoint(other[split]["sha256"] for split in other)


def test_they_are_written_into_the_folder_of_the_trial(tmp_path: Path) -> None:
    splits = {"train": fingerprint(3, [np.arange(3)]), "val": fingerprint(1, [np.arange(1)])}
    write_data(tmp_path, splits)
    assert json.loads((tmp_path / "data.json").read_text()) == splits
    assert list(tmp_path.iterdir()) == [tmp_path / "data.json"]
