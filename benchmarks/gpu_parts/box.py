"""The time box of a part, and where it puts its rows."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.gpu_parts.results import Results
from objectives.training import pick_device


class Box:
    """What a part is given.

    Attributes:
        dry: Sizes are tiny and figures mean nothing.
        device: The GPU, in a dry run the CPU.
        left_out: What the part did not measure, each with its reason.
    """

    def __init__(self, part: str, until: float, dry: bool, results: Results) -> None:
        self.dry = dry
        self.device = torch.device("cpu") if dry else pick_device()
        self.left_out: list[str] = []
        self._part, self._until, self._results = part, until, results

    def add(self, **row: Any) -> None:
        """Write a row."""
        self._results.add(self._part, **row)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._until - time.monotonic()

    def fits(self, seconds: float, what: str) -> bool:
        """Return True if there are so many seconds left; else note that something is left out."""
        if self.left() >= seconds or self.dry:
            return True
        self.leave_out(what, f"{max(0.0, self.left()):.0f} s were left, it takes about {seconds:.0f}")
        return False

    def leave_out(self, what: str, why: str) -> None:
        """Note that something was not measured."""
        self.left_out.append(f"{what} ({why})")

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
