"""Contract of an engine."""

from __future__ import annotations

from typing import Protocol

from hpo.oracle.oracle import Oracle


class Engine(Protocol):
    """Place jobs on processes, and decide nothing.

    The contract, which `tests/contracts/test_engines.py` checks on every engine:

    1. It asks for jobs while there is room for them. None means that there is none now: it asks again after a `tell`.
       When nothing runs, it returns if the Oracle has `no_more_jobs`; otherwise the study is paused, and it asks again
       a moment later.
    2. It delivers every report, in order, and obeys the answer: a trial that gets a Stop ends.
    3. It ends the trials in `control.trials_to_kill()` within a moment, also those that report nothing.
    4. It tells exactly one Outcome for each job, and survives a worker that dies.
    5. It calls the Oracle from the thread that called `run`, which may be called again after it has returned.
    6. It leaves no process behind, however it ends, and holds no GPU while the study is paused and nothing runs.

    The inline engine has no process to end: it ends a trial (3) at its next report, and a crash of the objective (4)
    is a crash of the driver. The replay engine has no time to wait in: it returns when the study is paused (1).
    """

    def run(self, oracle: Oracle) -> None:
        """Run trials until no more jobs come and nothing runs."""

    def halt(self) -> None:
        """End the running attempts now, each told as interrupted. Signal handlers call this."""
