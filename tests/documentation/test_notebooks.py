"""The notebooks: executed as a reader would, and kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .blocks import ROOT, name_of

NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_outputs_are_left_out(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_it_runs_from_top_to_bottom(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="`make test-slow` installs nbclient")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("HPO_RUNS", raising=False)
    monkeypatch.setenv("PLOTLY_RENDERER", "json")  # figures are drawn as data: there is no browser to show them in
    book = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(book, timeout=None, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in outputs), "no frame is shown"
    assert any("application/json" in output.get("data", {}) for output in outputs), "no figure is drawn"
    assert (tmp_path / "runs" / "quickstart" / "report.html").exists()
