from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from reading import study, trial

from hpo.analysis.records import StudyRecord
from hpo.errors import ReportError
from hpo.reports.write import write_study_report

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    trials = [trial(k, {**UNET, "learning_rate": 1e-4 * (k + 1)}, 0.1 * k, curve=[0.1, 0.1 * k]) for k in range(4)]
    return study(trials, directory=tmp_path / "study")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_markdown_shows_an_image_of_every_figure(record: StudyRecord, suffix: str) -> None:
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
        pytest.skip("no Chromium on this machine")
    stale = record.directory / "report-images" / "99-gone.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    written = write_study_report(record, images=suffix)
    text = written.markdown.read_text()
    assert written.images
    for path in written.images:
        assert f"](report-images/{path.name})" in text
        assert path.stat().st_size > 3000
    assert sorted(stale.parent.iterdir()) == sorted(written.images)
    if suffix == "png":
        with Image.open(written.images[0]) as image:
            assert image.size[0] == 2 * 760
            assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10  # something is drawn
    else:
        assert written.images[0].read_text().startswith("<svg")


def test_without_kaleido_the_error_says_what_to_install(record: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kaleido", None)
    with pytest.raises(ReportError, match=r"pip install 'hpo\[images\]'"):
        write_study_report(record, images="png")


def test_a_browser_that_does_not_start_is_an_error_of_ours(
    record: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    broken = tmp_path / "chrome"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(ReportError, match=r"no image could be drawn: .* Without --images a report needs no browser"):
        write_study_report(record, images="png")
