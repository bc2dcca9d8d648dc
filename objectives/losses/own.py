"""A loss of the user's own, named `package.module:loss` in a study."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from objectives.wording import first_line, meant

EXPECTED = "package.module:loss, such as my_losses:tversky"


class OwnLoss(nn.Module):
    """A loss of the user's own, with the parameters that the study gives it.

    If it is a class, such as a `torch.nn.Module`, it is made with the parameters; its state and its own parameters
    are then trained and saved with the network's. If it is a function, it is called with them.
    """

    def __init__(self, target: str, loss: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
        """Make the loss.

        Args:
            target: Its name in the study, for messages.
            loss: The function or the class.
            parameters: Its arguments by name, without tensors.
        """
        super().__init__()
        self.target = target
        self.loss: Any = loss(**parameters) if inspect.isclass(loss) else functools.partial(loss, **parameters)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the loss of a batch, 0-d.

        Raises:
            ValueError: The loss returned anything but one number in a tensor.
        """
        value = self.loss(*tensors)
        if not isinstance(value, Tensor) or value.ndim:
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss {self.target} returned {found}; expected a tensor of one number, such as a mean")
        return value


def is_own(name: object) -> bool:
    """Return True if the name of a loss is that of a user's own: it has a colon."""
    return isinstance(name, str) and ":" in name


def find_loss(target: str, root: Path) -> Callable[..., Any]:
    """Import a user's own loss.

    Args:
        target: `package.module:loss`.
        root: The study's folder, from which the module may be imported.

    Returns:
        The function or the class.

    Raises:
        ValueError: The name is no such name, or nothing of that name can be imported.
    """
    place, _, name = target.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in place.split(".")):
        raise ValueError(f"loss is {target!r}; expected {EXPECTED}")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(place)
    except Exception as error:  # The module is the user's: it may raise anything.
        if isinstance(error, ModuleNotFoundError) and error.name and f"{place}.".startswith(f"{error.name}."):
            beside = [path.stem for path in root.glob("*.py")]
            raise ValueError(
                f"loss is {target!r}, but there is no module {error.name} in {root.absolute()} nor among the installed "
                f"packages; expected {EXPECTED}.{meant(error.name, beside)}"
            ) from error
        problem = f"importing {place} raised {type(error).__name__}: {first_line(error)}"
        raise ValueError(f"loss is {target!r}, but {problem}; expected a module that can be imported") from error
    found = getattr(module, name, None)
    if not callable(found):
        names = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        problem = f"{place} has no {name}" if found is None else f"{name} of {place} is {type(found).__name__}"
        raise ValueError(f"loss is {target!r}, but {problem}; expected a function or a class.{meant(name, names)}")
    checked: Callable[..., Any] = found
    return checked


def parameters_of(loss: Callable[..., Any], tensors: int) -> dict[str, bool]:
    """Return the parameters of a loss that a study may give, each with True if it must.

    Args:
        loss: The function or the class.
        tensors: How many leading arguments of a function are tensors.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = list(inspect.signature(loss).parameters.values())[0 if inspect.isclass(loss) else tensors :]
    return {one.name: one.default is inspect.Parameter.empty for one in own if one.kind in kinds}


def make_loss(target: str, loss: Callable[..., Any], given: Mapping[str, Any], tensors: int) -> OwnLoss:
    """Make a user's own loss with those of the `given` options that it takes.

    Raises:
        ValueError: The study does not give a parameter that the loss needs.
    """
    parameters = parameters_of(loss, tensors)
    if missing := [name for name, needed in parameters.items() if needed and name not in given]:
        raise ValueError(
            f"loss {target} needs {' and '.join(missing)}, which the study does not give; expected a value in "
            "search_space, under the choice of this loss, or in constants"
        )
    return OwnLoss(target, loss, {name: given[name] for name in parameters if name in given})
