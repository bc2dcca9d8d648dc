"""The contract of an engine, held by `tests/contracts/engine.py` on every implementation."""

from __future__ import annotations

from typing import Protocol

from hpo.oracle.oracle import Oracle


class Engine(Protocol):
    """Places jobs on processes and decides nothing.

    It drains `ask` (None means: nothing now; ask again after a `tell`, and when nothing runs end if the Oracle is
    `over`, else, for it is paused, ask again a moment later), delivers every report and obeys its answer, ends the
    trials that are `doomed` within a moment, also those that report nothing (inline: at their next report), tells
    exactly one Outcome a job, and survives a worker that dies. While it is paused and nothing runs, it holds no GPU.
    All calls of the Oracle come from the thread that called `run`, which may be called again after it has ended."""

    def run(self, oracle: Oracle) -> None:
        """Until the Oracle has no more jobs and nothing runs. Leaves no process behind, however it
        ends."""

    def halt(self) -> None:
        """End the running attempts now; each is told as interrupted. Called by signal handlers."""
