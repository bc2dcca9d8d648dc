"""Figures as image files, drawn by kaleido in the Chromium or Chrome that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from hpo.errors import ReportError
from hpo.machine.access import reason

FORMATS = ("png", "svg")
WIDTH = 760  # pixels; a PNG has twice as many
INK, PAPER = "#1c2128", "#ffffff"


def write_images(figures: Sequence[go.Figure], paths: Sequence[Path]) -> None:
    """Draw each figure into the file at its path, black on white; the suffix of the path is the format.

    Raises:
        ReportError: If kaleido or a browser is missing, or a file cannot be written.
    """
    try:
        import kaleido
        from kaleido.errors import ChromeNotFoundError
    except ImportError:
        raise ReportError("images need kaleido: pip install 'hpo[images]'") from None
    for figure in figures:
        figure.update_layout(font_color=INK, paper_bgcolor=PAPER, plot_bgcolor=PAPER)
    drawn = [
        {"fig": figure, "path": path, "opts": {"format": path.suffix[1:], **_size(figure)}}
        for figure, path in zip(figures, paths, strict=True)
    ]
    try:
        # No formulas are drawn, and MathJax would come from the network.
        kaleido.write_fig_from_object_sync(drawn, kopts={"mathjax": False})
    except ChromeNotFoundError:
        raise ReportError(
            "images need a Chromium or Chrome, and kaleido found none: install one (`apt install chromium`, or "
            "`plotly_get_chrome`), or set BROWSER_PATH to it"
        ) from None
    except OSError as error:
        raise ReportError(f"the images in {paths[0].parent} cannot be written: {reason(error)}") from error
    except Exception as error:  # kaleido and its browser have many classes, none of them documented
        message = error.args[0] if error.args else type(error).__name__
        raise ReportError(f"no image could be drawn: {message} Without --images a report needs no browser") from error
    for path in paths:
        if path.suffix == ".png":
            _shrink(path)


def _shrink(path: Path) -> None:
    """Reduce an image to a palette, a third of its size: such images are kept in repositories."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256)
    small.save(path, optimize=True)


def _size(figure: go.Figure) -> dict[str, float]:
    least = (figure.layout.meta or {}).get("least_width", 0)
    return {"width": max(WIDTH, least), "height": figure.layout.height, "scale": 2}
