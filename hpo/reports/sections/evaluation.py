"""Section on kept weights that were scored on held-out data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from hpo.analysis.evaluation_records import Confusion, Evaluation, evaluations_of
from hpo.analysis.evaluation_wording import (
    calibration_sentence,
    interval_sentence,
    interval_text,
    notes_of,
    sample_text,
    threshold_texts,
    value_text,
)
from hpo.analysis.formatting import number
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.reports.blocks import Block, Chart, Row, Section, Table, Text
from hpo.reports.charts import EvaluationCurve, Pictures
from hpo.reports.sections.ensemble import ensemble_blocks
from hpo.translation.catalogue import mark, moment, sentences, tr, trn, whole

KINDS = {"worst": mark("worst"), "best": mark("best")}
PICTURES = {"image": mark("image"), "mask": mark("mask"), "prediction": mark("prediction")}
MOST_SHOWN = 6  # evaluations with all that belongs to them; earlier ones are in report.json


def evaluation_section(study: StudyRecord) -> Section | None:
    """Return the last ensemble, then the latest evaluation of each trial and data set, the newest first; or None."""
    latest: dict[tuple[int, str | None], tuple[TrialRecord, Evaluation]] = {}
    for trial, evaluations in evaluations_of(study):
        latest |= {(trial.number, one.data): (trial, one) for one in evaluations}
    blocks = ensemble_blocks(study)
    if not latest and not blocks:
        return None
    newest = sorted(latest.values(), key=lambda pair: -pair[1].when)
    for trial, evaluation in newest[:MOST_SHOWN]:
        blocks += _blocks(trial, evaluation)
    if (left := len(newest) - MOST_SHOWN) > 0:
        blocks.append(Text(trn("{n} older one is left out here.", "{n} older ones are left out here.", left)))
    return Section(tr("On held-out data"), "evaluation", blocks)


def _blocks(trial: TrialRecord, evaluation: Evaluation) -> Iterator[Block]:
    where = tr("the study's test split") if evaluation.data is None else evaluation.data
    values = {"n": trial.number, "data": where, "when": moment(datetime.fromtimestamp(evaluation.when).astimezone())}
    head = tr("Trial {n} on {data} ({when}).", **values)
    if evaluation.n is not None:
        head = tr("Trial {n} on {data}: {sample} ({when}).", **values, sample=sample_text(evaluation))
    yield Text(sentences([head, *notes_of(evaluation), interval_sentence(evaluation)]))
    yield _scores(trial, evaluation)
    if said := sentences([*threshold_texts(evaluation), calibration_sentence(evaluation)]):
        yield Text(said)
    if evaluation.confusion is not None:
        yield _confusion(evaluation.confusion)
    charts = tuple(_charts(evaluation))
    if charts:
        yield Row(charts, tr("Trial {n}: curves", n=trial.number))
    for kind, title in (("worst", tr("The worst ones")), ("best", tr("The best ones"))):
        shown = [one for one in evaluation.examples if one.kind == kind]
        if shown:
            names = tuple(shown[0].images)
            columns = tuple(tr(PICTURES[name]) if name in PICTURES else name for name in names)
            rows = tuple(
                (f"{one.name}: {number(one.score, 3)}", tuple(one.images.get(n, "") for n in names)) for one in shown
            )
            yield Chart(title, Pictures(columns, rows))


def _scores(trial: TrialRecord, evaluation: Evaluation) -> Table:
    rows = []
    for name, score in evaluation.scores.items():
        validation = trial.values.get(name, trial.values.get(f"val_{name}"))
        shown = "—" if validation is None else number(validation)
        rows.append((name, value_text(score), interval_text(score) or "—", shown))
    columns = tr("metric"), tr("held out"), tr("95 % interval"), tr("validation")
    return Table(columns, tuple(rows), frozenset({1, 2, 3}))


def _confusion(confusion: Confusion) -> Table:
    corner = tr("true, predicted")
    if confusion.threshold is not None:
        corner = tr("true, predicted above {threshold}", threshold=number(confusion.threshold))
    rows = tuple(
        (name, *(whole(round(n)) for n in counts))
        for name, counts in zip(confusion.classes, confusion.counts, strict=True)
    )
    return Table((corner, *confusion.classes), rows, frozenset(range(1, len(confusion.classes) + 1)))


def _charts(evaluation: Evaluation) -> Iterator[Chart]:
    curves, confusion = evaluation.curves, evaluation.confusion
    if curves is not None and confusion is not None:
        (tn, fp), (fn, tp) = confusion.counts
        sensitivity = tp / (tp + fn)
        recall, precision = tr("recall"), tr("precision")
        yield Chart(
            tr("ROC curve"),
            EvaluationCurve(
                tr("false-positive rate"), tr("sensitivity"), ("false_positive_rate", "sensitivity"),
                curves.roc, ((0, 0), (1, 1)), (fp / (tn + fp), sensitivity),
            ),
        )  # fmt: skip
        yield Chart(
            tr("Precision and recall"),
            EvaluationCurve(
                recall, precision, ("recall", "precision"), curves.precision_recall,
                ((0, curves.prevalence), (1, curves.prevalence)),
                (sensitivity, tp / (tp + fp)) if tp + fp else None,
            ),
        )  # fmt: skip
    if evaluation.calibration is not None:
        bins = evaluation.calibration.bins
        points = tuple((score, rate) for n, score, rate in bins if n and score is not None and rate is not None)
        titles = tr("mean score"), tr("share of positives")
        names = ("mean_score", "share_of_positives")
        yield Chart(tr("Calibration"), EvaluationCurve(*titles, names, points, ((0, 0), (1, 1)), dots=True))
