"""Red flags over a running trial: which rules its reports fulfil, and the numbers that led to it.

A rule looks at an epoch in which a metric that it needs was reported, and only there: an epoch without it neither
fulfils the rule nor breaks a row of epochs that did. Each rule is raised at most once in a trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.curves.metric_names import without_split
from hpo.red_flags.definitions import RedFlag, names_in
from hpo.red_flags.rules import Unknown, View, rule_of
from hpo.text import listing, nearest
from hpo.trial import Usage

if TYPE_CHECKING:
    pass

GIB = 2**30
# Names that a condition may use, unless a metric, parameter or constant has the same name.
OWN_NAMES = ("epoch", "seconds", "epoch_seconds", "memory_gib", "gpu_memory")


@dataclass(frozen=True)
class Raised:
    """A red flag that was raised by a trial.

    Attributes:
        name: the rule's name.
        action: `stop` or `warn`.
        step: the epoch.
        reason: the whole sentence.
        evidence: `metrics`, by name in that epoch; `since`, the first epoch of those in a row that fulfilled the rule;
            and
            what else the rule says.
    """

    name: str
    action: str
    step: int
    reason: str
    evidence: Mapping[str, Any]

    @property
    def stops(self) -> bool:
        """True if it ends the trial."""
        return self.action == "stop"

    def data(self) -> dict[str, Any]:
        """Return it as plain data for JSON, which has no NaN.

        Numbers that are not finite become the texts nan, inf and -inf.
        """
        evidence: dict[str, Any] = _plain(self.evidence)
        return {
            "name": self.name, "action": self.action, "step": self.step, "reason": self.reason, "evidence": evidence,
        }  # fmt: skip


def raised_from(data: Mapping[str, Any]) -> Raised:
    """Return the flag of which `Raised.data` returned `data`; the texts of its evidence stay texts."""
    return Raised(data["name"], data["action"], data["step"], data["reason"], data["evidence"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class RedFlagMonitor:
    """The rules of a study over one trial.

    Attributes:
        raised: the flags raised so far.

    Args:
        flags: the rules.
        params: the trial's parameters.
        constants: those of study.yaml.
        metric: the study's first metric.
        maximize: True if a higher value of it is better.
        started: when the trial began, by the clock of `observe`.
        seconds: time that earlier attempts at the trial took.
    """

    def __init__(
        self,
        flags: Sequence[RedFlag],
        params: Mapping[str, Any],
        constants: Mapping[str, Any],
        metric: str,
        maximize: bool,
        started: float = 0.0,
        seconds: float = 0.0,
    ) -> None:
        self.raised: list[Raised] = []
        self._flags = tuple(flags)
        self._rules = {flag.name: rule_of(flag) for flag in flags}
        self._view = View(params, metric, maximize)
        self._numbers = {**_numbers(constants), **_numbers(params)}
        self._held: dict[str, list[int]] = {flag.name: [] for flag in flags}
        self._observed: set[int] = set()
        self._started, self._last, self._before = started, started, seconds

    @property
    def stopping(self) -> Raised | None:
        """The flag that ends the trial, None if none does."""
        return next((flag for flag in self.raised if flag.stops), None)

    def observe_earlier(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> list[Raised]:
        """Take in the reports of earlier attempts.

        Rules about time and memory are silent, for these numbers are not known any more.

        Args:
            steps: the steps and their metrics.

        Returns:
            The flags that those reports should have raised and did not.
        """
        found = []
        for epoch, metrics in steps:
            found += self._observe(epoch, metrics, {})
        return found

    def observe(self, epoch: int, metrics: Mapping[str, float], now: float, usage: Usage) -> list[Raised]:
        """Take in a report. A step that was reported before raises nothing.

        Args:
            epoch: the step.
            metrics: numbers by name.
            now: the time, in seconds.
            usage: what the trial has taken so far.

        Returns:
            The flags that the report raises.
        """
        own = {"seconds": self._before + now - self._started, "epoch_seconds": now - self._last}
        self._last = now
        if usage.host_bytes:
            own["memory_gib"] = usage.host_bytes / GIB
        if usage.gpu_memory:
            own["gpu_memory"] = usage.gpu_memory
        return self._observe(epoch, metrics, own)

    def _observe(self, epoch: int, metrics: Mapping[str, float], own: Mapping[str, float]) -> list[Raised]:
        if epoch in self._observed:
            return []
        self._observed.add(epoch)
        view = self._view
        view.epoch, view.now = epoch, metrics
        view.known = {**own, "epoch": float(epoch), **self._numbers}
        for name, value in metrics.items():
            view.series.setdefault(name, []).append(value)
            view.epochs.setdefault(name, []).append(epoch)
        already = {flag.name for flag in self.raised}
        found = [raised for flag in self._flags if flag.name not in already and (raised := self._ask(flag))]
        self.raised += found
        return found

    def _ask(self, flag: RedFlag) -> Raised | None:
        epoch, held = self._view.epoch, self._held[flag.name]
        if epoch < flag.from_epoch + max((self._view.known.get(name, 0.0) for name in flag.after), default=0.0):
            return None
        try:
            found = self._rules[flag.name](self._view)
        except Unknown:
            return None
        if found is None:
            held.clear()
            return None
        held.append(epoch)
        if len(held) < flag.for_epochs:
            return None
        row = f", {len(held)} epochs in a row" if len(held) > 1 else ""
        reason = f"red flag '{flag.name}' at epoch {epoch}: {found.sentence}{row}"
        evidence = {"metrics": dict(found.metrics), "since": held[0], **found.more}
        return Raised(flag.name, flag.action, epoch, reason, evidence)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those values that are numbers; true and false are none."""
    found = {}
    for name, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                found[name] = float(value)
            except OverflowError:
                continue
    return found


# --- of a study that has run


def names_in_rule(flag: RedFlag) -> tuple[str, ...]:
    """Return the names that a rule refers to: those in its condition, and the metrics that were set."""
    if flag.when:
        return (*flag.condition().names, *flag.after)
    given = [flag.options.get(name) for name in ("metric", "metrics", "components", "train", "at")]
    given.append(flag.after)
    return tuple(name for each in given if not isinstance(each, int) for name in names_in(each))


def unreported_names(flags: Iterable[RedFlag], reported: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each rule with a name that no trial had. Such a rule was never raised, maybe for a typo.

    Args:
        flags: the rules.
        reported: names of metrics that trials reported.
        known: names of parameters and constants.
    """
    metrics, known = list(dict.fromkeys(reported)), list(known)
    names = {*metrics, *map(without_split, metrics), *known, *OWN_NAMES}
    sentences = []
    for flag in flags:
        missing = [name for name in names_in_rule(flag) if name not in names]
        if missing and metrics:
            sentences.append(
                f"red flag '{flag.name}': no trial reported '{missing[0]}'; reported are {listing(metrics, 20)}."
                f"{nearest(missing[0], [*metrics, *known])}"
            )
    return sentences
