"""Lines of one training by epoch, in panels above each other."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.training.curves import Curve
from hpo.translation.catalogue import mark

# What a line is of; its look and its name in the legend are the same in every figure.
TRAIN, VALIDATION = mark("train"), mark("validation")
PLAIN, CHANGED, SAMPLES = mark("original"), mark("reweighted"), mark("samples")
CROSS_ENTROPY, FOCAL = mark("cross-entropy"), mark("focal loss")


@dataclass(frozen=True)
class NamedLine:
    """`of`: one of the names above."""

    of: str
    curve: Curve


@dataclass(frozen=True)
class LinePanel:
    """log: on a logarithmic axis, where all values are positive."""

    title: str
    lines: tuple[NamedLine, ...]
    log: bool = False


@dataclass(frozen=True)
class LinePanels:
    """best: the epoch to be marked, or None."""

    panels: tuple[LinePanel, ...]
    best: int | None
