"""`hpo ensemble` and `hpo predict` of the built-in tasks, on tiny studies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from tifffile import imread, imwrite

from hpo.actions.ensemble import Ensembled, ensemble
from hpo.actions.evaluate import evaluate
from hpo.actions.predict import PredictionFile, predict
from hpo.errors import HpoError
from hpo.runner import run
from hpo.spec.load import load_spec
from objectives import mitochondria
from objectives.mitochondria.predictions import probabilities
from objectives.mitochondria.tiles import joined, tiled

STUDIES: dict[str, dict[str, Any]] = {
    "mitochondria": {
        "metric": "val_jaccard",
        "space": {"architecture": "unet", "learning_rate": {"low": 1e-3, "high": 4e-3}, "batch_size": 4},
        "constants": {
            "base_width": 4,
            "epochs": 3,
            "data": {"patch_size": 64, "slices": 8, "height": 128, "width": 128, "val_fraction": 0.25},
        },
    },
    "glaucoma": {
        "metric": "val_pauc",
        "space": {"architecture": "cnn", "learning_rate": {"low": 1e-3, "high": 1e-2}, "batch_size": 16},
        "constants": {
            "base_width": 2,
            "epochs": 3,
            "data": {"images": 120, "image_size": 16, "prevalence": 0.3, "val_fraction": 0.4},
        },
    },
    "audio_angle": {
        "metric": "val_pair_accuracy",
        "space": {"margin": {"low": 0.5, "high": 20.0}, "learning_rate": 3e-3, "batch_size": 16},
        "constants": {
            "base_width": 4,
            "epochs": 3,
            "pairs_per_epoch": 50,
            "data": {"clips": 60, "sample_rate": 8000, "seconds": 0.2, "n_fft": 256, "hop": 128, "bands": 16},
        },
    },
    "abr": {
        "metric": "val_score",
        "space": {"architecture": "tiny", "amplitude_unit": {"choices": ["uV", "nV"]}, "learning_rate": 3e-3},
        "constants": {"epochs": 2, "metric_records": 8, "settle_batches": 2, "data": {"records": 300, "seed": 0}},
    },
}


def study(folder: Path, task: str) -> Path:
    """Run three trials of a task, and return the runs folder."""
    of = STUDIES[task]
    written = {
        "name": task,
        "objective": f"objectives.{task}:train",
        "metrics": [{"name": of["metric"], "direction": "maximize"}],
        "search_space": of["space"],
        "constants": of["constants"],
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "budget": {"trials": 3},
        "engine": {"name": "inline"},
        "mlflow": False,
        "seed": 3,
    }
    (folder / "study.yaml").write_text(json.dumps(written))
    run(load_spec(folder / "study.yaml"), folder / "runs")
    return folder / "runs"


def selected(runs: Path, task: str) -> Ensembled:
    """Select an ensemble, and check what holds for each task."""
    found = ensemble(runs, task)
    of, single = found.ensemble, evaluate(runs, task)
    assert len(of.members) > 1
    assert all("these are all candidates" in note for note in found.notes)
    assert of.single == single.trial.number
    assert sum(member.weight for member in of.members) == pytest.approx(1)
    for member in of.members:  # what training reported follows from predictions too
        assert member.validation == pytest.approx(member.recorded, rel=1e-3)
    assert of.validation[1] >= of.validation[0] == of.members[0].validation
    assert of.held_out is not None
    metric = of.metric.removeprefix("val_")
    first, compared = next(iter(of.held_out.scores.items()))
    assert first == metric
    assert compared.single.value == pytest.approx(single.metrics[metric], rel=1e-3)
    difference = compared.difference
    assert difference.value is not None
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low <= difference.value <= difference.high
    return found


Predicted = Callable[..., PredictionFile]


@pytest.mark.slow
def test_mitochondria(tmp_path: Path) -> None:
    runs = study(tmp_path, "mitochondria")
    found = selected(runs, "mitochondria")
    assert found.ensemble.held_out is not None
    assert (found.ensemble.held_out.items, found.ensemble.held_out.grouped_by) == ("pixels", "slices")

    # Slices that are no multiple of a patch; the masks are those of the network on each patch.
    new, out = tmp_path / "new", tmp_path / "masks.tif"
    new.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 100, 90), np.uint8)
    imwrite(new / "images.tif", images, photometric="minisblack")
    written = predict(runs, "mitochondria", new, out)
    assert (written.items, written.what) == (3, "masks of 100 x 90 pixels, 0 and 255")
    masks = imread(out)
    assert masks.shape == images.shape
    assert set(np.unique(masks)) <= {0, 255}
    best = found.ensemble.single
    trained = mitochondria.load(runs / f"mitochondria/trials/{best}/weights.pt")
    with torch.no_grad():
        logits = trained.network(trained.scaled(torch.from_numpy(images[:, None, :64, :64].copy())))[:, 0]
    # The last patch of a row and of a column begins at 26 and at 36, and counts where two overlap.
    assert np.array_equal(masks[:, :36, :26] > 0, (logits > 0).numpy()[:, :36, :26])

    with pytest.raises(HpoError, match=r"masks\.tif is there already; expected another name, or --overwrite"):
        predict(runs, "mitochondria", new, out)
    predict(runs, "mitochondria", new, out, ensemble=True, overwrite=True)
    assert imread(out).shape == images.shape
    with pytest.raises(HpoError, match=r"ends in \.tif, since these are masks"):
        predict(runs, "mitochondria", new, tmp_path / "masks.csv")
    assert not (tmp_path / "masks.csv").exists()
    (new / "images.tif").write_bytes(b"no picture")
    with pytest.raises(HpoError, match=r"cannot be read as TIFF .*; is the file whole\?"):
        predict(runs, "mitochondria", new, tmp_path / "other.tif")
    assert [path.name for path in tmp_path.glob("other*")] == []


@pytest.mark.slow
def test_glaucoma(tmp_path: Path) -> None:
    runs = study(tmp_path, "glaucoma")
    found = selected(runs, "glaucoma")
    new, out = tmp_path / "new", tmp_path / "scores.csv"
    (new / "clinic").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "clinic/b.png"):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(new / name)
    predict(runs, "glaucoma", new, out, found.ensemble.members[1].trial)
    table = pandas.read_csv(out)
    assert list(table.columns) == ["name", "score"]
    assert list(table["name"]) == ["a.png", "clinic/b.png"]
    assert table["score"].between(0, 1).all()
    (new / "small.png").write_bytes((new / "a.png").read_bytes())
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(new / "small.png")
    with pytest.raises(HpoError, match=r"small\.png is 8 x 8 pixels; expected at least 16 x 16"):
        predict(runs, "glaucoma", new, out, overwrite=True)
    assert len(pandas.read_csv(out)) == 2  # what was there is left
    (tmp_path / "empty").mkdir()
    with pytest.raises(HpoError, match="empty is empty; expected images: PNG, JPEG or TIFF"):
        predict(runs, "glaucoma", tmp_path / "empty", out, overwrite=True)


@pytest.mark.slow
def test_audio_angle(tmp_path: Path) -> None:
    runs = study(tmp_path, "audio_angle")
    found = selected(runs, "audio_angle")
    # Margins from 0.5 to 20 give scores of other sizes, which are brought to one.
    assert len({member.scale for member in found.ensemble.members}) == 3
    new, out = tmp_path / "new", tmp_path / "scores.csv"
    new.mkdir()
    rng = np.random.default_rng(0)
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        wavfile.write(new / name, rate, rng.normal(0, 0.1, rate // 4).astype(np.float32))
    predict(runs, "audio_angle", new, out)
    assert list(pandas.read_csv(out)["name"]) == ["a.wav", "b.wav"]
    (new / "c.wav").write_bytes(b"no sound")
    with pytest.raises(HpoError, match=r"c\.wav"):
        predict(runs, "audio_angle", new, out, overwrite=True)


@pytest.mark.slow
def test_abr(tmp_path: Path) -> None:
    runs = study(tmp_path, "abr")
    selected(runs, "abr")
    rng = np.random.default_rng(0)
    new, out = tmp_path / "new.npz", tmp_path / "answers.csv"
    np.savez(new, waveforms=rng.normal(size=(5, 200)), age=np.full(5, 30.0))
    predict(runs, "abr", new, out, ensemble=True)
    table = pandas.read_csv(out)
    scores = [name for name in table.columns if name.startswith("score_")]
    assert scores == ["score_NORMAL", "score_NEUROPATHY", "score_SNIK", "score_TOTAL", "score_ITIK"]
    assert np.allclose(table[scores].sum(axis=1), 1)
    assert list(table["predicted"]) == [name.removeprefix("score_") for name in table[scores].idxmax(axis=1)]
    assert list(table.columns[6:]) == ["exists", "latency_ms", "amplitude_uv", "threshold_db", "predicted"]
    assert table["name"][4] == "new.npz record 5"
    columns = pandas.DataFrame(rng.normal(size=(2, 200)), columns=[f"s{index:03}" for index in range(200)])
    columns.to_csv(tmp_path / "new.csv", index=False)
    predict(runs, "abr", tmp_path / "new.csv", out, overwrite=True)
    assert list(pandas.read_csv(out)["name"]) == ["new.csv line 2", "new.csv line 3"]
    np.savez(new, waveforms=rng.normal(size=(5, 100)))
    with pytest.raises(HpoError, match="waveforms has 100 samples a record; expected 200"):
        predict(runs, "abr", new, out, overwrite=True)


def test_a_probability_stays_on_the_side_of_its_logit() -> None:
    logits = torch.tensor([-1e-6, 0.0, 1e-6, 1e-3, 4.0])
    found = probabilities(logits)
    assert found.dtype == torch.float16
    assert (found > 0.5).tolist() == (logits > 0).tolist()
    assert torch.allclose(found.float(), torch.sigmoid(logits), atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (65, 130), (20, 100), (10, 10)])
def test_tiles_cover_a_slice_and_give_it_back(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tiles, places = tiled(image, 64)
    assert tiles.shape[1:] == (1, 64, 64)
    assert np.array_equal(joined(tiles[:, 0], places, shape), image)
