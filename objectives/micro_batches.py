"""Batches that do not fit into memory, done in parts: gradients add up, losses are averaged over samples.

This module knows nothing of networks and optimizers but that modules have buffers, which a try that failed may have
changed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hpo import is_out_of_memory
from objectives.random_state import random_state, set_random_state

Batch = tuple[Tensor, ...]  # one sample a row of the first
# Scalars by name, `loss` among them, and what the network gave, by name, with a row a sample.
Result = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
# A batch in so many parts of nearly the same size, in order; the whole of it where that cannot be had.
Split = Callable[[Batch, int], Sequence[Batch]]


def rows(batch: Batch, parts: int) -> Sequence[Batch]:
    """Divide all tensors of a batch by rows; keep it whole if they have not all the same number of rows."""
    if len({len(tensor) for tensor in batch}) > 1:
        return [batch]
    return list(zip(*(tensor.tensor_split(parts) for tensor in batch), strict=True))


class MicroBatches:
    """Batches done whole until one runs out of memory, and from then on in parts.

    The batch that ran out is done again, and all after it are done, in parts of half the size, and so on down to parts
    of one sample; or of two where batch normalisation trains, since one sample has no variance to normalise by.

    Attributes:
        limit: The most samples at once; None while whole batches fit. (An odd number in twos has one part of three.)
    """

    def __init__(self, modules: Sequence[nn.Module], halving: bool, split: Split = rows) -> None:
        """Begin with whole batches.

        Args:
            modules: Those whose buffers, such as running statistics, training changes.
            halving: If False, whatever runs out of memory is raised as it comes.
            split: Divides a batch into parts.
        """
        self.limit: int | None = None
        self._modules = modules
        self._halving = halving
        self._split = split
        self._tried = 0  # samples at once, in the last try

    def run(
        self, batch: Batch, forward: Callable[[Batch, float], Result], begin: Callable[[], None] = lambda: None
    ) -> Result:
        """Do a batch, in parts where it must be.

        A try that failed leaves no trace: buffers and torch's random state are what they were before it.

        Args:
            batch: Its samples.
            forward: Does a part that has this share of the batch's samples. What it leaves behind, such as gradients,
                must add up over parts. Its errors are raised, out of memory too where there are no smaller parts.
            begin: Called before each try; it drops what `forward` left behind.

        Returns:
            The means over samples of the scalars and the joined outputs, without graphs.
        """
        before = self._state() if self._halving else None
        while True:
            begin()
            try:
                return self._joined(batch, forward)
            except Exception as error:
                if before is None or not is_out_of_memory(error) or not self._halve():
                    raise
            # Only out of `except` is its traceback gone, which held all that the failed try had allocated.
            gc.collect()
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.empty_cache()
            self._restore(before)

    def _joined(self, batch: Batch, forward: Callable[[Batch, float], Result]) -> Result:
        parts = self._parts(batch)
        sizes = [len(part[0]) for part in parts]
        self._tried = max(sizes)
        shares = [size / sum(sizes) for size in sizes]
        results = [_detached(forward(part, share)) for part, share in zip(parts, shares, strict=True)]
        if len(results) == 1:
            return results[0]
        scalars, outputs = zip(*results, strict=True)
        return (
            {name: sum(s * one[name] for s, one in zip(shares, scalars, strict=True)) for name in scalars[0]},
            {name: torch.cat([one[name] for one in outputs]) for name in outputs[0]},
        )

    def _parts(self, batch: Batch) -> Sequence[Batch]:
        samples = len(batch[0])
        if self.limit is None or samples <= self.limit:
            return [batch]
        most = samples // 2 if any(map(_normalises, self._modules)) else samples
        return self._split(batch, min(-(-samples // self.limit), most))

    def _halve(self) -> bool:
        """Halve the limit of what was just tried; return False if that is not possible."""
        limit = (self._tried + 1) // 2
        if self._tried <= 1 or (self.limit is not None and limit >= self.limit):
            return False
        self.limit = limit
        print(f"out of memory with {self._tried} samples at once; from here on at most {limit}", flush=True)
        return True

    def _state(self) -> tuple[list[Tensor], Mapping[str, Any]]:
        return [buffer.clone() for buffer in self._buffers()], random_state()

    def _restore(self, state: tuple[list[Tensor], Mapping[str, Any]]) -> None:
        copies, random = state
        with torch.no_grad():
            for buffer, copy in zip(self._buffers(), copies, strict=True):
                buffer.copy_(copy)
        set_random_state(random)

    def _buffers(self) -> Iterator[Tensor]:
        return (buffer for module in self._modules for buffer in module.buffers())


def _normalises(module: nn.Module) -> bool:
    """Return True if the module takes statistics from a batch now."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in module.modules())


def _detached(result: Result) -> Result:
    scalars, outputs = result
    return (
        {name: value.detach() for name, value in scalars.items()},
        {name: value.detach() for name, value in outputs.items()},
    )
