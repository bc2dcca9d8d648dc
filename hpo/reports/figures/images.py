"""Figures as image files, drawn by kaleido in the Chromium or Chrome that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import plotly.graph_objects as go

from hpo.errors import ReportError
from hpo.machine.access import reason

FORMATS = ("png", "svg")
WIDTH = 760  # pixels; a PNG has twice as many
INK, PAPER = "#1c2128", "#ffffff"


# A column of a paper and both of them, in inches; an inch has 96 pixels.
SINGLE, DOUBLE = 3.5, 7.2
_PIXELS = 96
# Figures draw most texts of 12 pixels, which are 9 points, and some of 10. Below this scale they would be hard to read.
READABLE = 0.7


@dataclass(frozen=True)
class Size:
    """Size of an image: pixels in which it is laid out, and the factor by which it is then scaled."""

    width: float
    height: float
    scale: float = 2

    @property
    def inches(self) -> float:
        """Its width on paper."""
        return self.width * self.scale / _PIXELS


def paper_size(figure: go.Figure, inches: float | None = None) -> Size:
    """Return the size of a figure as wide as a column of a paper.

    Args:
        figure: The figure.
        inches: The width; None: that of one column if the figure is readable in it, else that of both.
    """
    least, height = _least_width(figure), figure.layout.height
    if inches is None:
        inches = SINGLE if least <= SINGLE * _PIXELS else DOUBLE
    width = max(inches * _PIXELS, least)
    return Size(width, height, inches * _PIXELS / width)


def write_images(figures: Sequence[go.Figure], paths: Sequence[Path], sizes: Sequence[Size] | None = None) -> None:
    """Draw each figure into the file at its path, black on white; the suffix of the path is the format.

    Args:
        figures: The figures.
        paths: Their files: .png, .svg or .pdf.
        sizes: Their sizes; None: those of a page in a browser.

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
        {"fig": figure, "path": path, "opts": {"format": path.suffix[1:], **asdict(size)}}
        for figure, path, size in zip(figures, paths, sizes or map(_page_size, figures), strict=True)
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


def _page_size(figure: go.Figure) -> Size:
    return Size(max(WIDTH, _least_width(figure)), figure.layout.height)


def _least_width(figure: go.Figure) -> int:
    return int((figure.layout.meta or {}).get("least_width", 0))
