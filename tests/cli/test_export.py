"""`hpo export` as a user meets it: tables, another storage, and what a paper needs."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import optuna
import pytest

from hpo.analysis.records import StudyRecord, TrialRecord, read_study
from hpo.transfer.latex import LatexTable, escaped, name_text
from hpo.transfer.methods import methods

from .conftest import Hpo

ODD_NAMES = ["R&D 100%", "a_b", "x{y}\\z", "~^#$", "<i>", "naïve 'q' \"d\""]


def test_csv_has_every_trial_and_every_value(hpo: Hpo, finished, runs: Path, tmp_path: Path):
    said = hpo("export", "toy", "--csv", "out put")
    assert said.code == 0, said.err
    assert said.out.split("\n")[:3] == ["out put/trials.csv", "out put/histories.csv", "out put/study.yaml"]
    with Path("out put/trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    record = read_study(runs, "toy")
    assert [float(row["values_score"]) for row in rows] == [trial.values["score"] for trial in record.trials]
    assert [float(row["params_x"]) for row in rows] == [trial.params["x"] for trial in record.trials]
    printed = hpo("trials", "toy", "--csv", "--sort", "trial").out.splitlines()
    assert printed == Path("out put/trials.csv").read_text().splitlines()
    with Path("out put/histories.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == sum(len(s.metrics) for t in record.trials for s in t.history)


def test_out_and_in_again_by_the_commands(hpo: Hpo, finished, runs: Path):
    assert hpo("export", "toy", "--csv", "out", "--optuna", "sqlite:///plain.db", "--name", "my toy").code == 0
    plain = optuna.load_study(study_name="my toy", storage="sqlite:///plain.db")
    record = read_study(runs, "toy")
    assert [trial.value for trial in plain.trials] == [trial.values["score"] for trial in record.trials]
    assert "0 new trials; 4 were there already" in hpo("export", "--optuna", "plain.db", "--name", "my toy").out
    assert "itself" in hpo("import", "csv", "out", "--study", finished).err
    for source in (("csv", "out"), ("optuna", "plain.db")):
        said = hpo("import", *source, "--new-name", f"again-{source[0]}")
        assert said.code == 0, said.err
        again = read_study(runs, f"again-{source[0]}")
        for one, other in zip(again.trials, record.trials, strict=True):
            assert (one.params, one.values, one.seed) == (other.params, other.values, other.seed)
            assert one.seconds == pytest.approx(other.seconds, abs=2e-3)
            assert [(s.step, s.metrics, s.time) for s in one.history] == [
                (s.step, s.metrics, s.time) for s in other.history
            ]
    assert hpo("doctor").out.strip().endswith("nothing is wrong")


WRONG = (
    (("toy",), "nothing to export was named"),
    (("toy", "--csv", "study.yaml"), "study.yaml"),
    (("toy", "--csv", "study.yaml/x"), "cannot be written"),
    (("toi", "--csv", "out"), "Did you mean 'toy'?"),
    (("toy", "--name", "x", "--csv", "out"), "it goes with --optuna URL"),
    (("toy", "--width", "single", "--csv", "out"), "are about the figures of --latex"),
    (("toy", "--optuna", "nonsense://x"), "nonsense"),
    (("toy", "--optuna", "."), "it is a folder"),
)


def test_bad_input_is_answered_in_a_sentence(hpo: Hpo, finished):
    for arguments, said in WRONG:
        answer = hpo("export", *arguments)
        assert answer.code in (1, 2), arguments
        assert said in answer.err
        assert "Traceback" not in answer.err


@pytest.fixture
def grouped(hpo: Hpo, study_yaml) -> Path:
    """A study `toy` with groups whose names have every sign that is special in LaTeX."""
    path = study_yaml(
        "smooth",
        name="toy_1",
        search_space={"x": {"low": 0.0, "high": 1.0}, "the_group": {"choices": ODD_NAMES}},
        group_by="the_group",
        constants={"note": "50% & more_"},
        budget={"trials": 30},
    )
    assert hpo("run", path, "--quiet").code == 0
    return path


def test_a_paper_without_figures(hpo: Hpo, grouped, runs: Path):
    said = hpo("export", "toy_1", "--latex", "paper", "--no-figures")
    assert said.code == 0, said.err
    table = Path("paper/best.tex").read_text()
    body = table[table.index(r"\midrule") : table.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(ODD_NAMES)
    for row in rows:
        assert len(re.split(r"(?<!\\)&", row)) == 5
    assert r"R\&D 100\%" in body
    assert r"x\{y\}\textbackslash{}z" in body
    said = Path("paper/methods.md").read_text()
    assert "30 trials were trained: 30 completed, 0 were stopped early and 0 failed." in said
    assert "The budget was 30 trials;" in said
    assert "The sampler was random; no trial was pruned." in said
    assert "The 30 trials had 30 different seeds, made of the study's seed 1" in said
    assert "the_group (R&D 100% | a_b" in said
    assert "GPU" not in said.replace("without a GPU", "")
    assert "confidence" not in said
    record = read_study(runs, "toy_1")
    assert "Fixed for all trials: note 50% & more_." in said
    assert all(str(trial.number) in body for trial in _best_of_each(record))
    for file in ("methods.tex", "best.tex", "paper.tex"):
        text = Path("paper", file).read_text()
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}"), file


def _best_of_each(record: StudyRecord) -> list[TrialRecord]:
    of = {name: [one for one in record.trials if one.params["the_group"] == name] for name in ODD_NAMES}
    return [max(trials, key=lambda one: one.values["score"]) for trials in of.values()]


def test_a_missing_browser_is_said_in_words(hpo: Hpo, finished, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    monkeypatch.setenv("PATH", "/nowhere")
    said = hpo("export", "toy", "--latex", "paper")
    assert said.code == 1
    assert "the figures were not drawn" in said.err
    assert Path("paper/best.tex").exists()
    assert r"\includegraphics[" not in Path("paper/paper.tex").read_text()


def test_texts_are_escaped():
    assert escaped(r"50% of a_b & c{d} \x $5 #1 ~ ^") == (
        r"50\% of a\_b \& c\{d\} \textbackslash{}x \$5 \#1 \textasciitilde{} \textasciicircum{}"
    )
    assert name_text("val_auc") == r"\texttt{val\_\allowbreak{}auc}"
    table = LatexTable("t", "c", "l", ["h"], [["r"]]).text()
    assert table.count(r"\begin") == table.count(r"\end")


def test_an_empty_study_claims_nothing(hpo: Hpo, runs: Path, study_yaml):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    there = optuna.create_study(storage="sqlite:///old.db", study_name="s", direction="maximize")
    there.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert hpo("import", "optuna", "old.db", "--study", study_yaml()).code == 0
    from hpo.storage.load_study import load_study

    said = " ".join(methods(read_study(runs, "toy"), load_study(runs, "toy")[1]))
    assert "3 trials were trained elsewhere and imported (3 of s (optuna))" in said
    for claim in ("sampler", "budget was", "wall time", "seed", "ran on", "Software"):
        assert claim not in said, claim


@pytest.mark.slow
def test_the_document_compiles_with_figures_in_column_widths(hpo: Hpo, grouped):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    said = hpo("export", "toy_1", "--latex", "paper")
    assert said.code == 0, said.err
    drawn = sorted(Path("paper/figures").glob("*.pdf"))
    assert drawn
    for file in drawn:
        box = re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+)", file.read_bytes())
        assert box is not None
        assert float(box[1]) / 72 == pytest.approx(3.5, abs=0.02) or float(box[1]) / 72 == pytest.approx(7.2, abs=0.02)
        assert file.with_suffix(".svg").exists()
    built = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd="paper",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-3000:]
    assert Path("paper/paper.pdf").stat().st_size > 10_000
