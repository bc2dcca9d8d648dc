"""`hpo ensemble` and `hpo predict`: what is said and stored, and each way they can go wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tifffile import imread

from tests.cli.conftest import Hpo
from tests.conftest import TOYS

Write = Callable[..., Path]
Run = Callable[..., None]
TRIALS = [{"x": x} for x in (0.2, 0.8, 0.4, 0.6)]

# Four models whose errors are of their own: the mean of some is better than the best alone.
SCREENING = """
import numpy as np
from sklearn.metrics import roc_auc_score

N = {"val": 400, "test": 300, "new": 3}

def predict(trial, split, folder):
    n = N[split]
    rng = np.random.default_rng(len(split))
    target = rng.random(n) < 0.3
    noise = np.random.default_rng([len(split), round(10 * trial.params["x"])])
    score = 1 / (1 + np.exp(-noise.normal(target * (1 + trial.params["x"]), 1.0)))
    if split == "new":
        return {"name": ["a", "b", "c"], "score": score}
    return {"score": score, "target": target, "group": np.arange(n) // 2, "about": {"items": "eyes", "groups": "heads"}}

def train(trial):
    (trial.directory / "weights.pt").write_text("")
    found = predict(trial, "val", None)
    return {"val_auc": roc_auc_score(found["target"], found["score"]), "loss": 1.0}
"""


FIRST = "    n = N[split]\n"


@pytest.fixture
def screening(study_yaml: Write, hpo: Hpo, tmp_path: Path) -> Run:
    def run(code: str = SCREENING, metric: str = "val_auc", **keys: object) -> None:
        (tmp_path / "screen.py").write_text(code)
        metrics = [{"name": metric, "direction": "maximize"}]
        more = {"enqueue": TRIALS, "engine": "inline", "checkpoints": 4, "metrics": metrics} | keys
        path = study_yaml("keeps", **more)
        path.write_text(path.read_text().replace(f"{TOYS}:keeps", "screen.py:train"))
        assert hpo("run", path, "--quiet").code == 0

    return run


def auc_of(x: float) -> float:
    of = models("val")[x]
    return float(roc_auc_score(of["target"], of["score"]))


def share_in_order(scores: np.ndarray, positive: np.ndarray) -> float:
    """The AUC, fast: the share of pairs of a positive and a negative in which the positive has more."""
    ahead = np.sign(scores[positive][:, None] - scores[~positive][None])
    return float((1 + ahead.mean()) / 2)


def models(split: str) -> dict[float, np.ndarray]:
    found: dict[str, object] = {}
    exec(SCREENING, found)

    class Trial:
        def __init__(self, x: float) -> None:
            self.params = {"x": x}

    return {one["x"]: found["predict"](Trial(one["x"]), split, None) for one in TRIALS}  # type: ignore[operator]


def test_it_is_selected_on_validation_and_scored_on_held_out_data(hpo: Hpo, screening: Run) -> None:
    screening()
    said = hpo("ensemble", "toy", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    weights = {one["params"]["x"]: one["weight"] for one in found["members"]}
    assert len([weight for weight in weights.values() if weight]) > 1
    for split, alone, together in (
        ("val", found["validation"][0], found["validation"][1]),
        *(("test", one["single"]["value"], one["ensemble"]["value"]) for one in [found["held_out"]["scores"]["auc"]]),
    ):
        of = models(split)
        target = of[0.2]["target"]
        mean = sum(weight * of[x]["score"] for x, weight in weights.items())
        best = next(one["params"]["x"] for one in found["members"] if one["trial"] == found["single"])
        assert alone == pytest.approx(roc_auc_score(target, of[best]["score"]))
        assert together == pytest.approx(roc_auc_score(target, mean))
    auc = found["held_out"]["scores"]["auc"]
    assert auc["difference"]["value"] == pytest.approx(auc["ensemble"]["value"] - auc["single"]["value"])
    assert (found["held_out"]["n"], found["held_out"]["groups"], found["held_out"]["items"]) == (300, 150, "eyes")

    # The interval of the difference: both are scored on the same draws of heads.
    of = models("test")
    mean = sum(weight * of[x]["score"] for x, weight in weights.items())
    target, rng, differences = of[0.2]["target"], np.random.default_rng(0), []
    names = np.unique(np.arange(150).astype(str)).astype(int)  # groups are drawn in the order of their names
    for _ in range(1000):
        heads = names[rng.integers(0, 150, 150)]
        rows = np.concatenate([2 * heads, 2 * heads + 1])
        positive = target[rows]
        ensemble, single = (share_in_order(scores[rows], positive) for scores in (mean, of[best]["score"]))
        differences.append(ensemble - single)
    low, high = np.percentile(differences, [2.5, 97.5])
    assert (auc["difference"]["low"], auc["difference"]["high"]) == pytest.approx((low, high))


def test_it_is_said_stored_and_reported(hpo: Hpo, screening: Run) -> None:
    screening()
    said = hpo("ensemble")
    assert (said.code, said.err.count("warning")) == (0, 1)
    assert "these are all candidates" in said.err
    assert "The ensemble is better than trial" in said.out
    assert "auc, held out" in said.out
    (stored,) = Path("runs/toy/ensembles").glob("*.json")
    assert str(stored.absolute()) in said.out
    assert hpo("report", "toy").code == 0
    text = Path("runs/toy/report.md").read_text()
    assert "## On held-out data" in text
    assert "The ensemble is better than trial" in text
    assert len(json.loads(Path("runs/toy/report.json").read_text())["ensembles"]) == 1
    assert hpo("report", "toy", "--lang", "zh-TW").code == 0
    (stored.parent / "2020.json").write_text('{"format": 1, "members": 3}')
    stored.write_text(stored.read_text().replace('"x": 0.8', '"x": 0.81'))  # of a trial that there is no longer
    assert hpo("report", "toy").code == 0
    assert json.loads(Path("runs/toy/report.json").read_text())["ensembles"] == []


def test_held_out_data_are_predicted_only_after_the_choice(hpo: Hpo, screening: Run) -> None:
    asks = "    Path('asked').open('a').close(); Path('asked').write_text(Path('asked').read_text() + split + ' ')\n"
    screening("from pathlib import Path\n" + SCREENING.replace(FIRST, asks + FIRST))
    Path("asked").unlink()
    assert hpo("ensemble", "toy", "--top", 3).code == 0
    asked = Path("asked").read_text().split()
    assert asked[:3] == ["val"] * 3
    assert set(asked[3:]) == {"test"}


def test_without_replacement_weights_are_equal(hpo: Hpo, screening: Run) -> None:
    screening()
    found = json.loads(hpo("ensemble", "toy", "--without-replacement", "--json").out)
    taken = [one["weight"] for one in found["members"] if one["weight"]]
    assert len(set(taken)) == 1
    assert found["replacement"] is False


def test_an_ensemble_that_is_no_better_says_so(hpo: Hpo, screening: Run) -> None:
    screening(SCREENING.replace('round(10 * trial.params["x"])', "1"))  # all make the same errors
    said = hpo("ensemble")
    assert said.code == 0
    assert "No average is better on validation than trial 1 alone. Use trial 1." in said.out or (
        "The ensemble is no better than trial 1 alone" in said.out
    )


def test_without_held_out_data_nothing_is_claimed(hpo: Hpo, screening: Run) -> None:
    refused = "    if split == 'test': raise ValueError('there is no test split')\n"
    screening(SCREENING.replace(FIRST, refused + FIRST))
    said = hpo("ensemble")
    assert said.code == 0
    assert (
        "is not known: it was chosen on validation, and there are no held-out data (there is no test split)" in said.out
    )
    assert "held out" not in said.out
    Path("data").mkdir()
    said = hpo("ensemble", "--data", "data")
    assert (said.code, "predicting held-out data by trial" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def predict(", "def foretell("), "has no function 'predict'"),
        (('"target": target, ', ""), "expected score with target (0 or 1, or one of several classes) or with rank"),
        (('"score": score, "target"', '"score": score[:-1], "target"'), "(score 399, target 400"),
        (("score, \"target\"", "score * np.nan, \"target\""), "the column score holds NaN or infinity"),
        (('"target": target', '"target": target ^ (score > 0.9)'), "the column target of trial 1 and trial 3 differs"),
        (("    return {\"score\"", "    return 3\n    return {\"score\""), "predict returned 3"),
        ((FIRST, f"    raise KeyError('eye')\n{FIRST}"), "predicting the validation split by trial 1 failed: KeyError"),
    ],
)  # fmt: skip
def test_what_predict_does_wrong_is_a_sentence(
    hpo: Hpo, screening: Run, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    screening()
    # As if the objective had changed since; the training itself was right.
    assert change[0] in SCREENING
    (tmp_path / "screen.py").write_text(SCREENING.replace(*change))
    sys.modules.pop("screen", None)
    said = hpo("ensemble")
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert "def predict(trial, split, folder)" in said.err or "foretell" not in change[1]


def test_a_metric_that_predictions_do_not_give_needs_measure(hpo: Hpo, screening: Run, tmp_path: Path) -> None:
    screening(metric="loss")
    said = hpo("ensemble")
    assert said.code == 2
    assert "no metric of study 'toy' (loss) follows from the predictions, which give auc" in said.err.replace(
        "\n     ", " "
    ) or ("no metric of study 'toy' (loss) follows from the predictions" in said.err)
    sys.modules.pop("screen", None)
    own = "\ndef measure(trial, predictions):\n    return {'loss': float(np.mean(predictions['score']))}\n"
    (tmp_path / "screen.py").write_text(SCREENING + own)
    said = hpo("ensemble")
    assert said.code == 0
    assert "loss, held out" in said.out
    assert "kept weights do not give the loss that training reported" in said.err


def test_fewer_than_two_kept_weights(hpo: Hpo, screening: Run) -> None:
    screening(checkpoints=1)
    said = hpo("ensemble")
    assert said.code == 1
    assert "expected two at least for an ensemble: checkpoints.keep_best is 1, set it to 5 or more" in said.err
    Path("runs/toy/trials/1/weights.pt").unlink()
    said = hpo("ensemble")
    assert (said.code, "has kept weights" in said.err) == (1, True)


def test_the_winner_whose_weights_are_gone_is_said(hpo: Hpo, screening: Run) -> None:
    screening()
    best = max(range(4), key=lambda number: auc_of(TRIALS[number]["x"]))
    Path(f"runs/toy/trials/{best}/weights.pt").unlink()
    said = hpo("ensemble")
    assert said.code == 0
    assert f"the weights of the winner, trial {best}, are not kept" in said.err


def test_scores_of_new_files_as_csv(hpo: Hpo, screening: Run) -> None:
    screening()
    Path("new").mkdir()
    said = hpo("predict", "toy", 2, "--data", "new", "--out", "scores.csv")
    assert (said.code, said.err) == (0, "")
    assert "3 items, the columns name, score" in said.out
    lines = Path("scores.csv").read_text().splitlines()
    scores = models("new")[0.4]["score"]
    assert lines[0] == "name,score"
    assert [line.split(",")[0] for line in lines[1:]] == ["a", "b", "c"]
    assert [float(line.split(",")[1]) for line in lines[1:]] == pytest.approx(scores)

    found = json.loads(hpo("ensemble", "--json").out)
    said = hpo("predict", "--ensemble", "--data", "new", "--out", "mean.csv")
    assert said.code == 0
    of = models("new")
    mean = sum(one["weight"] * of[one["params"]["x"]]["score"] for one in found["members"])
    assert [float(line.split(",")[1]) for line in Path("mean.csv").read_text().splitlines()[1:]] == pytest.approx(mean)


def test_masks_of_new_files_as_tiff(hpo: Hpo, screening: Run) -> None:
    masks = SCREENING.replace(
        '"score": score}', '"score": np.stack([np.full((4, 5), 0.2), np.eye(4, 5), np.ones((4, 5))])}'
    )
    screening(masks)
    Path("new").mkdir()
    said = hpo("predict", "--data", "new", "--out", "masks.tif")
    assert said.code == 0
    assert "3 items, masks of 4 x 5 pixels, 0 and 255" in said.out
    pages = imread("masks.tif")
    assert (pages.dtype, pages.shape) == (np.uint8, (3, 4, 5))
    assert np.array_equal(pages, 255 * np.stack([np.zeros((4, 5)), np.eye(4, 5), np.ones((4, 5))]))


def test_each_way_that_out_can_be_wrong(hpo: Hpo, screening: Run) -> None:
    screening()
    Path("new").mkdir()
    Path("there.csv").write_text("mine")
    Path("folder.csv").mkdir()
    for out, message in (
        ("scores.txt", "expected a file that ends in .tif (masks) or .csv (all else)"),
        ("masks.tif", "expected a file that ends in .csv"),
        ("there.csv", "there.csv is there already; expected another name, or --overwrite"),
        ("folder.csv", "which is a folder; expected a file"),
        ("nowhere/a.csv", "there is no folder"),
    ):
        said = hpo("predict", "--data", "new", "--out", out)
        assert said.code == 1
        assert message in said.err
    assert Path("there.csv").read_text() == "mine"
    assert hpo("predict", "--data", "new", "--out", "there.csv", "--overwrite").code == 0
    assert Path("there.csv").read_text().startswith("name,score")
    said = hpo("predict", "--ensemble", "--data", "new", "--out", "a.csv")
    assert (said.code, "study 'toy' has no ensemble; `hpo ensemble toy` selects one" in said.err) == (1, True)
    said = hpo("predict", "toy", 1, "--ensemble", "--data", "new", "--out", "a.csv")
    assert (said.code, "leave out 1, or --ensemble" in said.err) == (2, True)
    said = hpo("predict", "toy", 9, "--data", "new", "--out", "a.csv")
    assert (said.code, "study 'toy' has no trial 9" in said.err) == (2, True)
    Path("runs/toy/trials/1/weights.pt").unlink()
    said = hpo("predict", "toy", 1, "--data", "new", "--out", "a.csv")
    assert (said.code, "the weights of trial 1 were not kept" in said.err) == (1, True)
    assert not Path("a.csv").exists()
