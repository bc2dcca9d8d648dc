"""A study tried with one short training before its hours are spent: the content of `hpo try`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hpo.actions import try_cost, try_output, try_reports, try_use
from hpo.actions.check_data import FUNCTION, check_data
from hpo.actions.cost_plan import CostPlan
from hpo.actions.obstacles import lacking_here
from hpo.actions.probe import drawn
from hpo.actions.try_finding import Finding, error, ok, warning
from hpo.actions.try_trial import Tried, train
from hpo.errors import HpoError, ObjectiveError
from hpo.objective.locate import locate, split_target
from hpo.search.samplers import warnings_for
from hpo.spec.models import StudySpec
from hpo.text import count, printable_line
from hpo.trial import OBJECTIVE, OUT_OF_MEMORY, TIMEOUT

# Lines of a traceback, or of what a command printed last, that are shown.
_LINES = 8


@dataclass(frozen=True)
class TryResult:
    """Result of one short training of a study.

    Attributes:
        study: Its name.
        source: Its file.
        params: The configuration.
        origin: Where that is from, in words.
        seed: The trial's seed.
        findings: What was looked at.
        reports: Step and metrics of each report.
        evidence: The end of a traceback, or of what a program printed, if it failed.
        plan: What the whole study costs; None if nothing was measured.
    """

    study: str
    source: str
    params: Mapping[str, Any]
    origin: str
    seed: int
    findings: tuple[Finding, ...]
    reports: tuple[tuple[int, Mapping[str, float]], ...]
    evidence: tuple[str, ...]
    plan: CostPlan | None

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(one.level == "error" for one in self.findings)

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return sum(one.level == "warning" for one in self.findings)

    def data(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {
            "study": self.study,
            "source": self.source,
            "params": dict(self.params),
            "origin": self.origin,
            "seed": self.seed,
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [asdict(one) for one in self.findings],
            "reports": [{"step": step, "metrics": dict(metrics)} for step, metrics in self.reports],
            "evidence": list(self.evidence),
            "plan": None if self.plan is None else self.plan.data(),
        }


def configuration(spec: StudySpec, which: int) -> tuple[Mapping[str, Any], str]:
    """Return the configuration to try, and in words where it is from: `enqueue`, counted from 1, else drawn."""
    if spec.enqueue:
        return spec.enqueue[which - 1], f"number {which} of enqueue" if which > 1 else "the first of enqueue"
    return drawn(spec.space, random.Random(spec.seed)), f"drawn from the space with seed {spec.seed}"


def try_study(
    spec: StudySpec,
    hints: Sequence[str],
    runs: Path,
    epochs: int,
    which: int,
    twice: bool,
    seconds: float,
    say: Callable[[str], None],
    reported: Callable[[int, Mapping[str, float], float], None] = lambda *_: None,
) -> TryResult:
    """Train one configuration for some epochs and look for what is not as it is meant. Nothing is kept.

    Args:
        spec: The study.
        hints: Sentences about what its file may not mean.
        runs: The runs folder; it is only read, for the estimate.
        epochs: Reported steps after which the training is ended.
        which: Configuration of `enqueue`, counted from 1.
        twice: Train it once more, with the same seed, and compare.
        seconds: Time after which a training is ended as too slow.
        say: Gets sentences for the user.
        reported: Gets the step, the metrics and the seconds of each report.

    Raises:
        ResourceError: This machine is too small.
        KeyboardInterrupt: It was interrupted.
    """
    params, origin = configuration(spec, which)
    findings = [*_study(spec, hints, runs), *_data(spec, say)]
    all_tried = train(spec, params, epochs, seconds, 2 if twice else 1, say, reported)
    first = all_tried[0]
    findings += _trial(spec, first, epochs, seconds)
    for check in (
        try_reports.steps,
        try_reports.names,
        try_reports.values,
        try_reports.returned,
        try_output.output,
        try_output.flags,
        try_use.parameters,
        try_use.constants,
        try_use.gpu,
        try_use.checkpoints,
    ):
        findings += check(spec, first)
    if twice:
        findings += try_use.seed(spec, first, all_tried[-1])
    findings += try_cost.times(spec, first)
    plan = None
    if first.end.state != "FAIL":
        try:
            plan = try_cost.plan_of(spec, first, runs)
            findings += try_cost.memory(first, plan)
        except HpoError as refused:  # of what lies in the runs folder
            findings.append(warning("cost", str(refused).rstrip(".")))
    return TryResult(
        study=spec.name,
        source=str(spec.source),
        params=first.job.params,
        origin=origin,
        seed=first.job.seed,
        findings=tuple(findings),
        reports=tuple((step, metrics) for _, step, metrics in first.reports),
        evidence=_evidence(first),
        plan=plan,
    )


def _study(spec: StudySpec, hints: Sequence[str], runs: Path) -> Iterator[Finding]:
    for sentence in (*hints, *warnings_for(spec), *lacking_here(spec, runs)):
        yield warning("study", sentence.rstrip("."))


def _data(spec: StudySpec, say: Callable[[str], None]) -> Iterator[Finding]:
    """Load the data as `hpo check --data` does, if the objective has a function for that."""
    if spec.objective is None:
        return
    ref = spec.objective_ref()
    try:
        locate(replace(ref, target=f"{split_target(ref.target)[0]}:{FUNCTION}"))
    except ObjectiveError:
        return
    say(f"loads the data ({FUNCTION})")
    try:
        lines = check_data(spec)
    except HpoError as refused:
        yield error("data", str(refused).rstrip("."), "`hpo check --data` looks at the data alone")
        return
    yield ok("data", "; ".join(lines) or "they were loaded")


def _trial(spec: StudySpec, tried: Tried, epochs: int, seconds: float) -> Iterator[Finding]:
    """Say how the training ended."""
    if spec.engine.address:
        yield ok("engine", f"the study runs on the cluster at {spec.engine.address}; it was tried on this machine")
    end, seen = tried.end, count(len(tried.steps), "epoch")
    if tried.went_on or (tried.ended_by_us and end.state == "COMPLETE"):
        yield error(
            "trial",
            "it was told to stop and went on: it catches hpo.Pruned, perhaps with `except Exception`, so that nothing "
            "can be pruned",
            "put `except hpo.Pruned: raise` before it",
        )
    elif tried.ended_by_us:
        yield ok("trial", f"it reported {seen} in {tried.reports[-1][0]:.1f} s, and stopped when it was told to")
    elif end.state == "COMPLETE":
        few = f", before the {epochs} that were asked for" if 0 < len(tried.steps) < epochs else ""
        yield ok("trial", f"it came to its end in {end.seconds:.1f} s, after {seen}{few}")
    elif end.cause == TIMEOUT:
        own = min(
            (limit for limit in (spec.engine.trial_timeout, spec.engine.report_timeout) if limit), default=seconds
        )
        longer = f"--minutes {max(1, round(seconds / 30))} waits longer"
        yield error(
            "trial",
            f"it was ended with {seen} reported; expected {count(epochs, 'epoch')}: {end.reason}",
            f"{longer if own >= seconds else 'raise the timeout of `engine`'}, or let it report earlier",
        )
    elif end.cause == OUT_OF_MEMORY:
        yield error("trial", f"it ran {end.reason}", "a smaller batch or model, or more of the machine for each trial")
    elif end.state == "PRUNED" and end.cause == OBJECTIVE:
        yield warning("trial", f"the objective gave this configuration up: {end.reason}", "try another one (--enqueue)")
    else:
        yield error("trial", f"it failed: {end.reason}")


def _evidence(tried: Tried) -> tuple[str, ...]:
    """Return the last lines of a traceback, or of what a program printed, of a training that failed."""
    if tried.end.state != "FAIL" or tried.went_on:
        return ()
    text = tried.end.error or tried.output
    lines = [printable_line(line) for line in text.splitlines() if line.strip()]
    return tuple(lines[-_LINES:])
