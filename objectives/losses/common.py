"""Checks of a loss's input, masks, precision and the reduction of a batch, as the losses share them.

A wrong shape or value is refused by a ValueError. Values are checked on the CPU alone: the host would have to wait for
a GPU's at every step, and the labels were checked when the data were loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def check_shapes(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have the shape of the first."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            raise ValueError(
                f"{first} have shape {tuple(reference.shape)}, {name} {tuple(tensor.shape)}; expected the same"
            )


def check_mask(mask: Tensor | None, name: str, values: Tensor) -> None:
    """Raise ValueError unless there is no mask or it is a bool tensor of the shape of `values`."""
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}; expected torch.bool, True where a sample counts")
    if mask.shape != values.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, {name} {tuple(values.shape)}; expected the same")


def check_values(name: str, values: Tensor, allowed: tuple[int, int]) -> None:
    """Raise ValueError with the first entry that is neither of the two allowed values."""
    if values.device.type != "cpu":
        return
    right = (values == allowed[0]) | (values == allowed[1])
    if not right.all():
        raise ValueError(f"{name} hold {values[~right][0].item():g}; expected {allowed[0]} or {allowed[1]}")


def check_reduction(reduction: str) -> None:
    """Raise ValueError for a name that is none of REDUCTIONS."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")


def widened(values: Tensor) -> Tensor:
    """Return values in float32 at least.

    With 8 bits of mantissa, bins of a histogram would merge and the sum of a batch would be lost.
    """
    return values if values.is_floating_point() and values.dtype.itemsize >= 4 else values.float()


def blanked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return values with 0 where the mask is False, so that neither they nor their slopes can reach a loss, nor NaN."""
    return values if mask is None else values.masked_fill(~mask, 0)


def selected(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the entries that count, (n,), in their order. Under a mask the host waits for a GPU to know n."""
    return values.flatten() if mask is None else values[mask]


def classified(logits: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the logits, in float32 at least, and the targets, both 0 where masked.

    Raises:
        ValueError: They are not of one shape, or a target is neither 0 nor 1.
    """
    check_shapes(logits=logits, targets=targets)
    check_mask(mask, "logits", logits)
    logits, targets = blanked(widened(logits), mask), blanked(targets, mask)
    check_values("targets", targets, (0, 1))
    return logits, targets


def reduced(loss: Tensor, reduction: str, mask: Tensor | None = None) -> Tensor:
    """Return a loss as it is ("none"), its sum, or its mean over what the mask lets count.

    Where nothing counts the mean is 0 rather than 0 / 0, and still has a graph: `backward` works, with slopes of 0.
    """
    loss = blanked(loss, mask)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    count = max(loss.numel(), 1) if mask is None else mask.sum().clamp(min=1)
    return loss.sum() / count
