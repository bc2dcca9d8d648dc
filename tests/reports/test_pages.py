from __future__ import annotations

import base64
import csv
import gzip
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import hypothesis.strategies as st
import pytest
from browser import measure
from hypothesis import example, given
from markdown_it import MarkdownIt
from reading import LOSS, SCORE, ended_by, epochs, study, trial, with_distributions

from hpo.analysis.records import StudyRecord, WarmOrigin
from hpo.analysis.training.curves import Curve
from hpo.errors import ReportError
from hpo.reports import html, markdown
from hpo.reports.blocks import Chart, Explanation, Facts, Link, Report, Row, Section, Table, Text
from hpo.reports.charts import LinePanel, LinePanels, NamedLine
from hpo.reports.figures.shared import log_axis
from hpo.reports.study_report import study_report
from hpo.reports.write import write_study_report
from hpo.spec.models import Metric
from hpo.translation.catalogue import LANGUAGES, language

NASTY = "<script>alert(1)</script>&|`*_x_*$y$</script><!--\n# head"
UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}


def searched(n: int = 72) -> StudyRecord:
    """Every state, both architectures, enough trials for importance."""
    trials = []
    for k in range(n):
        name = "unet" if k % 2 else "resnet"
        params = {"architecture": name, "learning_rate": 1e-4 * 100 ** (k / n), "batch_size": (8, 16)[k % 4 // 2]}
        if k % 8 == 3:
            trials.append(trial(k, params, state="PRUNED", cause="pruner", reason=f"at step {k}", curve=[0.1, 0.2]))
        elif k % 8 == 6:
            trials.append(trial(k, params, state="FAIL", cause="exception", reason=NASTY))
        else:
            trials.append(trial(k, params, 0.5 + 0.3 * (k * 5 % n) / n, curve=[0.3, 0.5], seconds=1.0, started=1.0 * k))
    return with_distributions(study(trials))


def all_failed() -> StudyRecord:
    return study([trial(k, UNET, state="FAIL", cause="exception", reason="ValueError") for k in range(3)])


def two_metrics() -> StudyRecord:
    trials = [trial(k, UNET, values={"score": 0.1 * k, "loss": 5.0 - k * k}) for k in range(4)]
    return study(trials, metrics=(SCORE, LOSS))


def trained() -> StudyRecord:
    """Histories of every kind: pruned, diverged, of one epoch, from epoch 0, and none."""
    nan, inf = math.nan, math.inf
    histories = [
        epochs(0, score=[0.1, 0.5, 0.6], train_loss=[9.0, 0.5, 0.01], val_loss=[8.0, 0.6, 0.61]),
        epochs(0, score=[0.2, nan, 0.4], train_loss=[nan, inf, -inf], val_loss=[1e300, nan, 1.0]),
        epochs(0, score=[0.3], train_loss=[0.5], val_loss=[0.5]),
        epochs(0, score=[nan, nan], val_loss=[1.7e308, -1.7e308]),
        epochs(0, other=[1.0, 2.0]),
        (),
    ]
    names = ["unet", "resnet"]
    trials = [
        trial(
            k,
            {"architecture": names[k % 2], "learning_rate": 1e-4 * (k + 1), "batch_size": 8},
            (0.5, 1e308, -1e308)[k % 3],
            history=history,
        )
        for k, history in enumerate(histories)
    ]
    stopped = [
        trial(k, {**UNET, "learning_rate": 1e-3}, state=state, cause="pruner", history=histories[k % 6])
        for k, state in ((6, "PRUNED"), (7, "FAIL"), (9, "PRUNED"))
    ]
    return study([*trials, *stopped])


def many_groups() -> StudyRecord:
    names = [f"architecture_with_a_long_name_{k}" for k in range(9)]
    space = {"architecture": {"choices": names}, "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    trials = []
    for k in range(60):
        params = {"architecture": names[k % 8], "learning_rate": 1e-4 * 100 ** (k / 60)}
        curve = [0.5 + 0.001 * k - 0.4 / (step + 1) for step in range(30)]
        history = epochs(1, score=curve, train_loss=[1 - v for v in curve], val_loss=[1.1 - v for v in curve])
        if k % 4 == 3:
            trials.append(trial(k, params, state="PRUNED", history=history[:5], cause="pruner"))
        else:
            trials.append(trial(k, params, curve[-1], history=history))
    return study(trials, space=space)


def flagged_and_warm() -> StudyRecord:
    """Trials that a red flag stopped where rates are high, and some that an earlier study proposed."""
    high, low = {**UNET, "learning_rate": 5e-3}, {**UNET, "learning_rate": 2e-4}
    trials = [ended_by(k, high, "collapsed", 4, since=2, train_recall=0.0) for k in range(9)]
    trials += [trial(k, low, 0.5 + k / 100, history=epochs(score=[0.4, 0.5] * 5)) for k in range(9, 20)]
    earlier = WarmOrigin("an-earlier-study-of-the-same-space", 12, 0.91)
    trials += [trial(20, UNET, 0.85, history=epochs(score=[0.6, 0.85]), warm=earlier)]
    told = {"studies": [earlier.study], "offered": 5, "started": 1, "trusted": False, "why": "they mislead"}
    return replace(study(trials), warm_start=told)


STUDIES: dict[str, Callable[[], StudyRecord]] = {
    "searched": searched,
    "empty": study,
    "trained": trained,
    "many-groups": many_groups,
    "minimized": lambda: study([trial(0, UNET, 1.0, metric="loss", curve=[2.0, 1.0])], metrics=(LOSS,)),
    "pruned-with-curves": lambda: study([trial(0, UNET, state="PRUNED", curve=[0.1, 0.2], cause="pruner")]),
    "all-failed": all_failed,
    "all-pruned": lambda: study([trial(k, UNET, state="PRUNED", cause="out_of_memory") for k in range(2)]),
    "running": lambda: study([trial(0, UNET, state="RUNNING"), trial(1, {}, state="WAITING")]),
    "single": lambda: study([trial(0, UNET, 0.5)]),
    "two-metrics": two_metrics,
    "two-metrics-empty": lambda: study(metrics=(SCORE, LOSS)),
    "flagged-and-warm": flagged_and_warm,
    "without-groups": lambda: study([trial(0, UNET, 0.5)], group_by=None),
    "fixed-space": lambda: study([trial(0, {"lr": 0.1}, 0.5)], space={"lr": 0.1}, group_by=None),
    "one-parameter": lambda: study([trial(0, {"x": 0.1}, 1e9)], space={"x": {"low": 0.0, "high": 1.0}}, group_by=None),
}


@pytest.fixture(params=STUDIES)
def record(request: pytest.FixtureRequest, tmp_path: Path) -> StudyRecord:
    made = STUDIES[request.param]()
    return StudyRecord(**{**vars(made), "directory": tmp_path / "runs" / made.name})


def test_every_study_has_a_report(record: StudyRecord) -> None:
    written = write_study_report(record)
    text, page = written.markdown, written.html
    assert text.read_text().startswith("# hand-made\n")
    source = page.read_text()
    for word in (
        "What was found",
        "Optimization history",
        "Parameter importance",
        "Failures and prunings",
        "Where the files",
    ):
        assert word in source
    for words in (re.sub(r"(?s)<script.*?</script>", "", source), text.read_text()):
        assert not re.search(r"(?i)\bnan\b", words)
        assert not re.search(r"\bNone\b", words)
    figures = re.search(r'(?s)<script type="application/json" id="figures">(.*?)</script>', source)
    if figures is not None:  # strict JSON: a page that holds NaN draws nothing
        json.loads(figures[1], parse_constant=pytest.fail)
    document = json.loads(written.json.read_text(), parse_constant=pytest.fail)
    assert (document["kind"], document["study"], len(document["trials"])) == ("study", record.name, len(record.trials))
    assert not list(page.parent.glob("*.partial"))


class Elements(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_other_file_and_holds_plotly_once() -> None:
    source = html.render(study_report(searched()))
    elements = Elements(source).found
    assert not [attrs for _, attrs in elements if "src" in attrs]
    assert [attrs["href"] for tag, attrs in elements if tag == "link"] == ["data:,"]
    assert elements[-1][0] == "script"
    packed = re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', source)
    assert packed is not None
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed[1]))[:200]
    assert len(source) < 2_500_000
    policy = next(attrs["content"] for tag, attrs in elements if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    heights = [attrs["style"] for tag, attrs in elements if attrs.get("class") == "plot"]
    # The colour scale, two heatmaps, comparison, pairs, history, importance; for each architecture two
    # effects, the best training, all curves.
    assert len(heights) == 7 + 2 * 4
    assert all(re.fullmatch(r"height:\d+px;min-width:\d+px", style or "") for style in heights)


def test_each_figure_has_its_numbers_as_csv() -> None:
    source = html.render(study_report(searched()))
    data = re.search(r'(?s)<script type="application/json" id="tables">(.*?)</script>', source)
    assert data is not None
    tables = dict(json.loads(data[1]))
    buttons = [attrs for tag, attrs in Elements(source).found if tag == "button"]
    plots = [attrs for tag, attrs in Elements(source).found if attrs.get("class") == "plot"]
    assert len(buttons) == len(tables) == len(plots) - 1  # the colour scale has no numbers of its own
    assert [attrs["data-table"] for attrs in buttons] == [str(k) for k in range(len(tables))]
    name = "hand-made-final-score-by-architecture.csv"
    finals = list(csv.DictReader(tables[name].splitlines()))
    expected = {(str(t.number), t.params["architecture"], t.values["score"]) for t in searched().complete(SCORE)}
    assert {(row["trial"], row["architecture"], float(row["score"])) for row in finals} == expected


def test_user_texts_are_shown_and_never_markup() -> None:
    architectures = [NASTY.replace("\n", " "), "unet"]
    space = {"architecture": {"choices": architectures}, "lr": {"low": 0.0, "high": 1.0}}
    trials = [
        trial(0, {"architecture": architectures[0], "lr": 0.5}, 0.5, metric="<b>m</b>"),
        trial(1, {"architecture": "unet", "lr": 0.5}, state="FAIL", cause="exception", reason=NASTY),
    ]
    metric = Metric(name="<b>m</b>", direction="maximize")
    report = study_report(study(trials, space=space, name=NASTY, metrics=(metric,)))
    source = html.render(report)
    elements = [tag for tag, _ in Elements(source).found]
    assert elements.count("script") == 5  # words, figures, tables, plotly, page.js
    assert "b" not in elements
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    data = re.search(r'(?s)<script type="application/json" id="figures">(.*?)</script>', source)
    assert data is not None
    drawn = json.dumps(json.loads(data[1]))
    assert "<script>" not in drawn
    assert "$y$" not in drawn  # plotly takes it for TeX
    assert "&lt;b&gt;m&lt;/b&gt;" in drawn

    text = markdown.render(report)
    assert "<script>" not in text
    assert "\n# head" not in text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></table><b>",
    "Tom & Jerry &amp; &lt;b&gt; &#60;",
    "{{ 7 * 7 }}{% raw %}{# x #}",
    "日本語 é \u202e\N{GRINNING FACE}",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_is_on_the_page_as_it_was_given_wherever_it_stands(name: str) -> None:
    """Also in attributes, and in a link's target: what a parser reads is the text, and no element comes of it."""

    def page(text: str) -> tuple[list[str], str]:
        folded = Table((text, text), ((text, Link(text, text)), (text, text)), frozenset({1}), text, text)
        facts = (Facts(((text, text),)), Facts(((text, Link(text, text)),), headline=True))
        data = LinePanels((LinePanel(text, (NamedLine("train", Curve(text, (1, 2), (0.5, 0.6))),)),), 1)
        charts = (Row((Chart(text, data, folded, text),), text, folded, text), Chart(text, data, folded, text))
        report = Report(text, text, (Section(text, "part", [Text(text), Explanation(text), folded, *facts, *charts]),))
        source = html.render(report)
        return [tag for tag, _ in Elements(source).found], source

    tags, source = page(name)
    assert tags == page("harmless")[0]
    texts, attributes = _texts_and_attributes(source)
    expected_texts, expected_attributes = _texts_and_attributes(page("harmless")[1])
    assert texts.count(name) == expected_texts.count("harmless") == 48
    assert attributes.count(name) == expected_attributes.count("harmless") == 7
    data_scripts = re.findall(r'(?s)<script type="application/json" id="(\w+)">(.*?)</script>', source)
    assert [key for key, _ in data_scripts] == ["words", "figures", "tables"]
    tables = json.loads(data_scripts[2][1])
    assert [list(csv.reader(text.splitlines()))[1][0] for _, text in tables] == [name, name]


def _texts_and_attributes(source: str) -> tuple[list[str], list[str]]:
    class Parser(HTMLParser):
        def handle_data(self, data: str) -> None:
            texts.append(data.strip())

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes.extend(value or "" for _, value in attrs)

    texts: list[str] = []
    attributes: list[str] = []
    Parser(convert_charrefs=True).feed(source)
    return texts, attributes


def test_markdown_tables_are_aligned_and_keep_their_columns() -> None:
    rows = (("a|b", "1"), ("日本", "12"), (Link("7", "trials/7"), "3"))
    table = Table(("name", "n"), rows, frozenset({1}), note="done")
    text = markdown.render(Report("t", "s", (Section("Part", "part", [Text("5 < 6 and _so_"), table]),)))
    assert text == (
        "# t\n\ns\n\n## Part\n\n5 < 6 and \\_so\\_\n\n"
        "| name          |   n |\n"
        "| ------------- | --: |\n"
        "| a\\|b          |   1 |\n"
        "| 日本          |  12 |\n"
        "| [7](trials/7) |   3 |\n\n"
        "done\n"
    )


def test_markdown_keeps_plain_names_plain() -> None:
    assert markdown.escape("val_jaccard of loss.focal.gamma") == "val_jaccard of loss.focal.gamma"
    assert markdown.escape("1. first") == "1\\. first"
    assert markdown.escape("12) twelfth") == "12\\) twelfth"
    assert markdown.escape("- x\ny") == "\\- x y"
    assert markdown.escape("p < 0.001, 3 > 2, R & D") == "p < 0.001, 3 > 2, R & D"


@given(st.text(st.sampled_from("<>&#;!?/a1 _*|`$\\[]()-+.\n"), max_size=12))
@example("1.")
@example("1) a")
@example("---")
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    shown = MarkdownIt("commonmark").render(markdown.escape(text))
    tags, texts = [tag for tag, _ in Elements(shown).found], _texts_and_attributes(shown)[0]
    assert tags in ([], ["p"])
    assert " ".join("".join(texts).split()) == " ".join(text.split())


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-4, 0.3, ["1e-4", "0.001", "0.01", "0.1"]),
        (0.3, 4, ["0.3", "1", "3"]),
        (0.02, 0.09, ["0.02", "0.03", "0.05", "0.07"]),
        (1e-9, 1e6, ["1e-9", "1e-6", "0.001", "1", "1000", "1e6"]),
    ],
)
def test_an_axis_of_logarithms_has_round_ticks(low: float, high: float, ticks: list[str]) -> None:
    assert log_axis(low, high)["ticktext"] == ticks


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"the report .*study cannot be written: Not a directory"):
        write_study_report(study(directory=tmp_path / "file" / "study"))


@pytest.mark.slow
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", STUDIES)
def test_nothing_is_cut_overlapping_or_blank_in_a_browser(name: str, lang: str, tmp_path: Path) -> None:
    made = STUDIES[name]()
    with language(lang):
        page = write_study_report(StudyRecord(**{**vars(made), "directory": tmp_path / "study"})).html
    for width, dark in ((1400, False), (400, True)):
        found = measure(page, tmp_path, width, dark)
        assert found.pop("plots") == page.read_text().count('class="plot"')
        assert found == {"beyond": [], "cut": [], "over": [], "blank": 0, "console": []}, width
