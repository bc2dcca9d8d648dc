"""Number of epochs of a training, as far as a study says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

# Names of the parameter or constant that says it.
NAMES = ("epochs", "n_epochs", "num_epochs", "max_epochs")


def epochs_in(values: Mapping[str, Any]) -> int | None:
    """Return the number of epochs among parameters or constants; None if it is not among them."""
    found = (values[name] for name in NAMES if name in values)
    return next((int(n) for n in found if isinstance(n, (int, float)) and not isinstance(n, bool) and n >= 1), None)


def most_epochs(spec: StudySpec) -> int | None:
    """Return the most epochs that a trial of a study can have; None if the study does not say it."""
    constant = epochs_in(spec.constants)
    known = [*_searched(spec), *([] if constant is None else [constant])]
    return max(known, default=None)


def _searched(spec: StudySpec) -> Iterator[int]:
    for parameter in spec.space.walk():
        if parameter.name in NAMES:
            values = [*parameter.choices, parameter.value] if parameter.kind != "int" else [parameter.high]
            yield from (n for value in values if (n := epochs_in({parameter.name: value})) is not None)
