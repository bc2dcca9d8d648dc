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
    name = name_in(values)
    return None if name is None else int(values[name])


def name_in(values: Mapping[str, Any]) -> str | None:
    """Return the name of the number of epochs among parameters or constants; None if it is not among them."""
    return next((name for name in NAMES if name in values and _is_number(values[name])), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1


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
