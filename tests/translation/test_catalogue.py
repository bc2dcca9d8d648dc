"""The catalogues of translations, and the functions that use them. Completeness: see check_translations.py."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import FIELD, KEYWORDS, OTHERS, SOURCE, places
from reading import study, trial

from hpo.analysis.formatting import duration, listed, number, numbers
from hpo.errors import LanguageError
from hpo.reports.dashboard_note import LAST_LINE, merge_notes, note_of
from hpo.runner import run
from hpo.spec.models import StudySpec
from hpo.translation.catalogue import LANGUAGES, catalogue, chosen, language, moment, sentences, tr, trn, whole

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}


# --- the source


def test_every_message_is_a_literal_that_is_found() -> None:
    """What stands within another message's call, or in an f-string, is not."""
    said = {form for forms in places() for form in forms}
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
            if name not in KEYWORDS:
                continue
            for message in call.args[: 2 if name == "trn" else 1]:
                known = isinstance(message, ast.Constant) and message.value in said
                # A constant that was marked where it was made.
                constant = name == "tr" and isinstance(message, (ast.Name, ast.Attribute, ast.Subscript))
                if not known and not constant:
                    wrong.append(f"{path.relative_to(SOURCE)}:{message.lineno} {ast.unparse(message)}")
    assert wrong == []


# --- the catalogues


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_placeholders_of_its_message(code: str) -> None:
    """Also a fuzzy one, and one of a message that is no longer in the source: either may be shown."""
    different = []
    for entry in catalogue(code):
        forms, texts = ((x,) if isinstance(x, str) else tuple(x) for x in (entry.id, entry.string))
        fields = set(FIELD.findall(" ".join(forms)))
        different += [text for text in texts if entry.id and text and set(FIELD.findall(text)) != fields]
    assert different == []


def test_a_catalogue_that_is_behind_the_source_is_read_and_falls_back_to_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has an empty text is English; what is obsolete or unknown to the source does no harm."""
    (tmp_path / "zh_Hant_TW.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\nPlural-Forms: nplurals=1; plural=0;\\n"\n\n'
        'msgid "trial"\nmsgstr ""\n\n'
        'msgid "{n} trial"\nmsgid_plural "{n} trials"\nmsgstr[0] ""\n\n'
        'msgid "said nowhere"\nmsgstr "無處"\n\n'
        'msgid "mean"\nmsgstr "平均值"\n\n'
        '#~ msgid "no longer said"\n#~ msgstr "舊"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("hpo.translation.catalogue.files", lambda package: tmp_path)
    catalogue.cache_clear()
    try:
        with language("zh-TW"):
            assert (tr("trial"), trn("{n} trial", "{n} trials", 2)) == ("trial", "2 trials")
            assert (tr("mean"), tr("no longer said")) == ("平均值", "no longer said")
    finally:
        catalogue.cache_clear()


def test_traditional_chinese_has_no_simplified_characters() -> None:
    """Taiwan's Big5 has none of those that are simplified only."""
    texts = (entry.string for entry in catalogue("zh-TW") if entry.id)
    ideographs = {c for text in texts for c in "".join(text) if "\u4e00" <= c <= "\u9fff"}
    assert len(ideographs) > 100
    assert {c for c in ideographs if not c.encode("cp950", "ignore")} == set()


# --- the report


def test_the_note_keeps_what_was_written_below_it_in_another_language() -> None:
    with language("zh-TW"):
        note = note_of(study([trial(0, UNET, 0.5)]))
    assert LAST_LINE not in note
    assert merge_notes("new", f"{note}\n\nmy words") == "new\n\nmy words"


def test_a_run_reports_in_the_language_of_the_environment(
    make_spec: Callable[..., StudySpec], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_LANG", "zh_TW")
    result = run(make_spec(engine={"name": "inline"}), runs)
    assert runs / "toy" / "report.zh-TW.html" in result.reports
    assert "最佳組態" in (runs / "toy" / "report.zh-TW.md").read_text(encoding="utf-8")
    monkeypatch.setenv("HPO_LANG", "klingon")
    with pytest.raises(LanguageError, match=r"\$HPO_LANG is 'klingon'"):
        run(make_spec(name="never", engine={"name": "inline"}), runs)
    assert not (runs / "never").exists()


# --- the functions


def test_the_language_is_the_one_given_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPO_LANG", raising=False)
    assert chosen() == "en"
    assert [chosen(given) for given in ("EN", "zh-tw", "zh_TW")] == ["en", "zh-TW", "zh-TW"]
    monkeypatch.setenv("HPO_LANG", "zh-TW")
    assert (chosen(), chosen("en")) == ("zh-TW", "en")
    with pytest.raises(LanguageError, match=r"--lang is 'zh-CN', .* expected en or zh-TW; did you mean zh-TW\?"):
        chosen("zh-CN")


def test_a_block_has_its_language_and_gives_it_back() -> None:
    with language("zh-TW"):
        assert (tr("trial"), trn("{n} trial", "{n} trials", 2)) == ("試驗", "2 個試驗")
        with language("en"):
            assert trn("{n} trial", "{n} trials", 1) == "1 trial"
        assert tr("mean") == "平均值"
    assert (tr("trial"), trn("{n} trial", "{n} trials", 0)) == ("trial", "0 trials")


def test_what_has_no_translation_stays_english() -> None:
    with language("zh-TW"):
        assert tr("no such message of {n}", n=3) == "no such message of 3"
        assert trn("{n} such", "{n} suches", 3) == "3 suches"


@pytest.mark.parametrize("code", LANGUAGES)
@given(name=st.text())
def test_values_are_taken_as_they_are(code: str, name: str) -> None:
    with language(code):
        assert name in tr("maximize {metric}", metric=name)
        assert tr("{metric} (maximize)", metric=f"{{{name}}}").startswith(f"{{{name}}}")


def test_lists_and_durations_by_language() -> None:
    assert (listed(["a", "b", "c"], "or"), listed(["a", "b"], "and no")) == ("a, b or c", "a and no b")
    with language("zh-TW"):
        assert (listed(["a", "b", "c"]), listed(["a"]), listed(["a", "b"], "or")) == ("a、b、c", "a", "a 或 b")
        assert [duration(s) for s in (None, 0.5, 200.4, 7500)] == ["—", "0.50 秒", "3 分 20 秒", "2 小時 05 分"]
        assert (number(math.inf), number(0.5)) == ("無限大", "0.5")
        assert numbers(range(13)).endswith("11 及另外 1 個")


def test_numbers_dates_and_sentences_by_language() -> None:
    when = datetime(2026, 3, 1, 9, 5)
    assert (whole(1234), whole(-12345), moment(when)) == ("1234", "-12,345", "1 March 2026, 09:05")
    assert sentences(["One.", "", "Two."]) == "One. Two."
    with language("zh-TW"):
        assert (whole(1234567), moment(when)) == ("1,234,567", "2026 年 3 月 1 日 09:05")
        assert sentences(["一。", "二。"]) == "一。二。"
