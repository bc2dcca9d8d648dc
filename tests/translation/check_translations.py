"""Whether every text of a report is translated into every language: run before a release, by `make translations`.

`make test` does not collect this file, so that a new sentence can be tried before its translation is there. What lacks
a translation is listed with the file and line in which it is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from messages import OTHERS, places
from reading import LOSS, SCORE, ended_by, epochs, study, trial, with_distributions

from hpo import trial as causes
from hpo.analysis.records import RaisedFlag, StudyRecord, WarmOrigin
from hpo.analysis.study_comparison import Side, compare_sides
from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.training_log import TrainingLog
from hpo.red_flags.definitions import BUILT_IN, read_flags
from hpo.reports import figures
from hpo.reports.blocks import (
    Block,
    Cell,
    Chart,
    Explanation,
    Facts,
    Findings,
    Link,
    Report,
    Row,
    Table,
    Text,
    charts_of,
)
from hpo.reports.comparison_report import comparison_report
from hpo.reports.dashboard_note import note_of
from hpo.reports.study_report import study_report
from hpo.reports.training_report import training_report
from hpo.translation.catalogue import catalogue, language


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_is_translated(code: str) -> None:
    missing = []
    for forms, place in places().items():
        entry = catalogue(code).get(forms[0])
        texts = () if entry is None or entry.fuzzy else entry.string
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        if not texts or not all(texts):
            missing.append(f"{place} {forms[0]}")
    assert not missing, f"{len(missing)} messages lack a translation into {code}:\n" + "\n".join(missing)


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_has_nothing_that_is_no_longer_said(code: str) -> None:
    known = {entry.id if isinstance(entry.id, str) else entry.id[0] for entry in catalogue(code) if entry.id}
    unsaid = sorted(known - {forms[0] for forms in places()})
    assert not unsaid, f"said nowhere, but in the catalogue of {code}:\n" + "\n".join(unsaid)
    assert not catalogue(code).obsolete


# --- the report


NAMED = {
    *("architecture", "unet", "resnet", "learning_rate", "batch_size", "score", "loss", "val_loss", "train_loss"),
    *(
        "collapsed",
        "overfitting",
        "older",
        "train_recall",
        "train_samples",
        "val_samples",
        "min_complete",
        "study.yaml",
    ),
}
# Names, of methods and of programs, that are the same in every language, and texts of the user.
SAME = {
    *("epoch", "kendall", "holm", "weissman"),  # epoch: as Traditional Chinese has it
    *("anova", "optuna", "dashboard", "pareto", "levene", "hedges", "tukey", "kramer", "games", "howell", "kruskal"),
    *("wallis", "cohen", "json", "true", "false", "history", "jsonl", "output", "error", "weights", "report", "html"),
    *("runs", "hand", "made", "trials", "steps", "welch", "mann", "whitney", "holm", "dropout", "focal", "loss"),
    *("dice", "gamma", "alpha", "diagnose", "study", "vargha", "delaney", "fisher", "yaml", "flags"),
}
UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
RESNET = {"architecture": "resnet", "learning_rate": 2e-3, "batch_size": 16}


def many() -> StudyRecord:
    """A study with something in every section."""
    trials = []
    for k in range(24):
        setting = dict(UNET if k % 2 else RESNET, batch_size=8 if k % 4 < 2 else 16)
        final = -3.0 if k == 5 else 0.6 + k / 100
        history = epochs(1, score=[0.5, final], train_loss=[1.0, 0.5], val_loss=[1.0, 0.6], train_samples=[90.0])
        trials.append(trial(k, setting, final, history=history, started=100.0, seconds=9.0))
    for k, cause in enumerate(sorted({*causes.CAUSES["FAIL"], *causes.CAUSES["PRUNED"], ""}), start=24):
        state = "PRUNED" if cause in causes.CAUSES["PRUNED"] else "FAIL"
        trials.append(trial(k, UNET, state=state, cause=cause, requeued=cause in causes.EXTERNAL_CAUSES, curve=[0.1]))
    trials += [trial(40, RESNET, state="PRUNED", cause="pruner"), trial(41, RESNET, state="RUNNING")]
    high = {**UNET, "learning_rate": 5e-3}
    trials += [ended_by(k, high, "collapsed", 1, since=0, train_recall=0.0) for k in range(44, 50)]
    warned = (RaisedFlag("overfitting", "warn", 1, "", {"val_loss": 2.0}),)
    old = WarmOrigin("older", 3, 0.5)
    trials += [trial(k, RESNET, 0.7, history=epochs(1, score=[0.5, 0.7]), flags=warned, warm=old) for k in (50, 51)]
    trials += [trial(52, RESNET, 0.7, warm=old), trial(53, RESNET, state="RUNNING", flags=warned, warm=old)]
    trials += [trial(42, {"architecture": "unet"}, state="FAIL", cause="timeout"), trial(43, UNET, state="WAITING")]
    noted = {"studies": ["older"], "offered": 5, "started": 4, "trusted": False, "why": ""}
    return replace(with_distributions(study(trials)), warm_start=noted)


def hand_made() -> Iterator[StudyRecord]:
    yield many()
    yield study([trial(0, UNET, values={"score": 0.5, "loss": 1.0})], metrics=(SCORE, LOSS))
    yield study([trial(k, UNET, 0.5, curve=[0.5]) for k in range(12)], group_by=None)
    yield study([])
    yield study([trial(0, {"rate": 0.1}, 0.5)], space={"rate": {"low": 0.0, "high": 1.0}}, group_by=None)
    yield study([trial(0, {"loss": "dice"}, 0.5)], space={"loss": {"choices": ["dice"]}}, group_by=None)


def logs() -> Iterator[TrainingLog]:
    """A training of every kind, and two with the arrays of losses that reweight."""
    fall = [1.0 / (1 + k) for k in range(20)]
    rise = [0.5 - 0.02 * k if k < 8 else 0.36 + 0.04 * (k - 8) for k in range(20)]
    wild = [0.5 + 0.3 * (-1) ** k for k in range(20)]
    burst = [1.0 - 0.1 * k if k < 8 else 10.0**k for k in range(20)]
    still = [1.0 if k < 4 else 0.2 for k in range(20)]
    nan = [1.0 if k < 4 else math.nan for k in range(20)]
    mute = [0.0] * 20
    for name, train, val in [
        ("healthy", fall, fall),
        ("overfitting", fall, rise),
        ("noisy", fall, wild),
        ("diverged", burst, burst),
        ("plateau", still, still),
        ("lost", nan, nan),
        ("flat", [0.5] * 20, [0.5] * 20),
        ("unlearned", fall, [0.5] * 20),
    ]:
        yield TrainingLog(name, epochs(1, train_loss=train, val_loss=val), params={"learning_rate": 0.1}, metric=LOSS)
    yield TrainingLog("collapsed", epochs(1, train_loss=fall, val_loss=fall, val_recall=mute), state="PRUNED")
    yield TrainingLog("short", epochs(1, train_loss=[1.0]), state="RUNNING")
    more, sums = [9 * value for value in fall], [10 * value for value in fall]
    parts = {"train_dice_loss": fall, "train_bce_loss": more, "train_loss": sums}
    index = np.repeat(np.arange(1, 21), 4)
    steps = {"epoch": index, **{name: np.repeat(values, 4) for name, values in parts.items()}}
    yield TrainingLog("parts", epochs(1, val_loss=fall, **parts), steps=steps, state="FAIL")
    shares = np.vstack([np.full((10, 10), 10.0), np.tile([0.0] * 9 + [100.0], (10, 1))])
    ghm = {"epoch": np.arange(1, 21), "train_ghm_shares": shares, "train_ghm_weights": 2 - shares / 100}
    right = {"train_pair_accuracy": still, "val_pair_accuracy": still}
    losses = {"train_original": fall, "train_reweighted": fall}
    yield TrainingLog("ghm", epochs(1, train_loss=fall, **right, **losses), epochs=ghm)
    ones = np.ones((20, 2, 10))
    focal = {"epoch": np.arange(1, 21), "train_focal_count": ones, "train_focal_ce": ones, "train_focal_loss": ones / 4}
    settings = {"train_focal_gamma": np.full(20, 2.0), "train_focal_alpha": np.full(20, 0.25)}
    yield TrainingLog("focal", epochs(1, train_loss=fall, val_loss=fall), epochs=focal | settings)


def reports() -> Iterator[tuple[Report, set[str]]]:
    """In the current language, each with what the user named."""
    for record in hand_made():
        space = record.space.walk()
        yield study_report(record), NAMED | {p.name for p in space} | {p.distribution for p in record.space.walk()}
    one, other = many(), replace(many(), name="other", trials=many().trials[3:30])
    for pair in ((None, None), (one.trials[1], other.trials[0])):
        sides = [Side(name, record, trial) for name, record, trial in zip("AB", (one, other), pair, strict=True)]
        yield comparison_report(compare_sides(sides)), NAMED
    for log in logs():
        yield (
            training_report(diagnose(log)),
            NAMED | {log.name, *log.names} | {name.partition("_")[2] for name in log.names},
        )


def texts_of(report: Report) -> Iterator[str]:
    yield report.title
    yield report.subtitle
    for section in report.sections:
        yield section.title
        for block in section.blocks:
            yield from _block(block)
    for _, chart in charts_of(report):
        yield from _drawn(figures.figure(chart.data).to_plotly_json())


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, (Text, Explanation)):
        yield block.text
    elif isinstance(block, Findings):
        yield from (one.text for one in block.items)
    elif isinstance(block, Facts):
        yield from _cells(cell for item in block.items for cell in item)
    elif isinstance(block, Table):
        yield from (*block.columns, block.note, block.folded)
        yield from _cells(cell for row in block.rows for cell in row)
    elif isinstance(block, (Chart, Row)):
        yield from (block.title, block.caption)
        yield from _block(block.table) if block.table is not None else ()
        if isinstance(block, Row):
            for chart in block.charts:
                yield from _block(chart)


def _cells(cells: Iterable[Cell]) -> Iterator[str]:
    yield from (cell.text if isinstance(cell, Link) else cell for cell in cells)


SHOWN = ("text", "name", "ticktext", "customdata", "hovertemplate", "hovertext")


def _drawn(part: Any, shown: bool = False) -> Iterator[str]:
    """The texts of a figure, without plotly's tags and places for values."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _drawn(value, key in SHOWN)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _drawn(value, shown)
    elif isinstance(part, str) and shown:
        yield re.sub(r"%\{.*?\}|<.*?>|&\w+;", " ", part)


def english_in(texts: Iterable[str], names: Iterable[str]) -> set[str]:
    """Texts that, without the names, still have a word of four Latin letters."""
    left_out = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)), re.IGNORECASE)
    found = set()
    for text in texts:
        words = re.findall(
            r"[A-Za-z]{4,}", left_out.sub(" ", re.sub("`[^`]*`|hpo [a-z]+ hand-made", " ", text))
        )  # commands stay
        if any(word.lower() not in SAME for word in words):
            found.add(text)
    return found


@pytest.mark.parametrize("code", OTHERS)
def test_no_english_is_left_in_a_report(code: str) -> None:
    assert english_in(texts_of(study_report(many())), NAMED) != set()  # the test would find some
    with language(code):
        for report, names in reports():
            assert english_in(texts_of(report), names | NAMED) == set()
        for record in hand_made():
            said = [line for line in note_of(record).splitlines() if "report." not in line]  # that line has a path
            assert english_in(said, NAMED | {p.name for p in record.space.walk()}) == set()


RULES = [
    *(name for name, rule in BUILT_IN.items() if not rule.needs),
    {"name": "time", "rule": "too_slow", "seconds": 60, "epoch_seconds": 5, "action": "warn"},
    {"name": "memory", "rule": "too_much_memory", "gib": 8, "gpu": 0.5, "from_epoch": 2},
]


@pytest.mark.parametrize("code", OTHERS)
def test_every_built_in_rule_is_said_in_the_language(code: str) -> None:
    rules, wrong = read_flags(RULES)
    assert (len(rules), wrong) == (len(BUILT_IN), [])
    options = {str(value) for rule in rules if rule.rule for value in BUILT_IN[rule.rule].options}
    metrics = {"predicted_positive", "gradient_norm", "train_ghm_inert", "unfreeze_epoch"}
    with language(code):
        assert english_in([rule.words for rule in rules], NAMED | options | metrics) == set()
