"""Results of an objective's `evaluate`: numbers alone, or numbers with the predictions that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hpo.errors import ObjectiveError
from hpo.text import brief, listing, nearest
from hpo.trial import check_metrics

PREDICTIONS, ABOUT, EXAMPLES = "predictions", "about", "examples"
# Columns with a meaning; any other one is an error, or another number, of each item, whose mean is a score.
TARGET, SCORE, PREDICTED, RANK, GROUP, COUNT = "target", "score", "predicted", "rank", "group", "count"
DESCRIPTIONS = ("items", "groups", "positive", "classes", "threshold")

Column = NDArray[Any]


@dataclass(frozen=True)
class Returned:
    """The result of an objective's `evaluate`.

    Attributes:
        scores: Its numbers.
        columns: The table of predictions, a row an item or a number of equal ones; empty if it gave none.
        items: What an item is, such as "photographs".
        groups: What a group of items is, such as "patients"; empty if the table has no groups.
        positive: The name of the class that counts as positive.
        classes: The names of the classes in their order; empty: those that are there.
        threshold: The score above which an item is called positive.
        examples: Images of single items; see docs/objectives.md.
    """

    scores: Mapping[str, float]
    columns: Mapping[str, Column] = field(default_factory=dict)
    items: str = "items"
    groups: str = ""
    positive: str = "positive"
    classes: tuple[str, ...] = ()
    threshold: float = 0.5
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def counts(self) -> NDArray[np.float64]:
        """Number of items that each row stands for, (rows,)."""
        return np.asarray(self.columns[COUNT], np.float64) if COUNT in self.columns else np.ones(self.rows)

    @property
    def units(self) -> NDArray[np.intp]:
        """The number of the group of each row, (rows,); without groups each row is one of its own."""
        if GROUP not in self.columns:
            return np.arange(self.rows)
        return np.unique(self.columns[GROUP].astype(str), return_inverse=True)[1]


def read_returned(returned: object) -> Returned:
    """Return what an objective's `evaluate` gave, checked.

    Raises:
        TypeError: A score is no number.
        ObjectiveError: It gave something else than docs/objectives.md says.
    """
    if not isinstance(returned, Mapping):
        raise ObjectiveError(f"evaluate returned {brief(returned)}; expected a mapping of names to numbers")
    rest = {name: value for name, value in returned.items() if name not in (PREDICTIONS, ABOUT, EXAMPLES)}
    scores = check_metrics(rest)
    about = returned.get(ABOUT) or {}
    if not isinstance(about, Mapping):
        raise ObjectiveError(f"'{ABOUT}' is {brief(about)}; expected a mapping with some of {listing(DESCRIPTIONS)}")
    for name in about:
        if name not in DESCRIPTIONS:
            expected = f"expected some of {listing(DESCRIPTIONS)}.{nearest(name, DESCRIPTIONS)}"
            raise ObjectiveError(f"'{ABOUT}' has a key '{name}'; {expected}")
    columns = _columns(returned.get(PREDICTIONS) or {})
    words = {name: str(about[name]) for name in ("items", "groups", "positive") if about.get(name)}
    if GROUP in columns:
        words.setdefault("groups", "groups")
    return Returned(
        scores,
        columns,
        **{name: word for name, word in words.items() if name != "groups" or GROUP in columns},
        classes=tuple(map(str, about.get("classes") or ())),
        threshold=float(about.get("threshold", 0.5)),
        examples=tuple(returned.get(EXAMPLES) or ()),
    )


def _columns(given: object) -> dict[str, Column]:
    if not isinstance(given, Mapping):
        raise ObjectiveError(f"'{PREDICTIONS}' is {brief(given)}; expected a mapping of columns of equal length")
    columns = {str(name): _array(str(name), values) for name, values in given.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ObjectiveError(f"the columns of '{PREDICTIONS}' are of different lengths ({told}); expected equal ones")
    if columns and not next(iter(lengths.values())):
        return {}
    for first, second in ((RANK, SCORE), (PREDICTED, TARGET)):
        if first in columns and second not in columns:
            raise ObjectiveError(f"'{PREDICTIONS}' has a column {first} and no {second}; expected both")
    if SCORE in columns and not {TARGET, RANK} & columns.keys():
        raise ObjectiveError(f"'{PREDICTIONS}' has a column {SCORE}, and neither {TARGET} (0 or 1) nor {RANK}")
    if SCORE in columns and TARGET in columns and PREDICTED not in columns:
        targets = np.unique(columns[TARGET]).tolist()
        if not set(targets) <= {0, 1}:
            raise ObjectiveError(
                f"the column {TARGET} of '{PREDICTIONS}' holds {listing(targets)}; expected 0 and 1 beside a column "
                f"{SCORE}, or a column {RANK} for an order, or {PREDICTED} for several classes"
            )
    for name in (SCORE, RANK, COUNT):
        if name in columns and not np.isfinite(columns[name]).all():
            raise ObjectiveError(f"the column {name} of '{PREDICTIONS}' holds NaN or infinity; expected numbers")
    return columns


def _array(name: str, values: Any) -> Column:
    """Return a column of numbers or of text; tensors count as arrays."""
    try:
        found = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    except Exception as error:
        raise ObjectiveError(f"the column {name} of '{PREDICTIONS}' is {brief(values)}; expected an array") from error
    if found.ndim != 1:
        raise ObjectiveError(f"the column {name} of '{PREDICTIONS}' is of shape {found.shape}; expected (rows,)")
    if name in (TARGET, PREDICTED, GROUP):
        return cast("Column", found)
    if found.dtype.kind not in "buif":
        raise ObjectiveError(
            f"the column {name} of '{PREDICTIONS}' holds {brief(found.tolist()[:1])}; expected numbers"
        )
    return found.astype(np.float64)
